"""A demonstration's past is written once, says that it is simulated, and touches nobody's real callbacks."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from receiver.errors import UsageError
from receiver.home import Home
from receiver.model import MICROSECONDS, Delivery, Entry
from receiver.simulate import demo
from receiver.simulate.history import History
from receiver.store.interface import DeliveryRow, Quotas
from receiver.store.sqlite import open_store

NOW = 1_763_784_000
DAY = 86_400
QUOTAS = Quotas(unknown_kind=100, quarantine=100, held=100)


def new_home(root: Path, settings: str = "") -> Home:
    root.mkdir()
    home = Home(root)
    home.settings.write_text(settings)
    return home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path / "home")


def journal(home: Home) -> list[DeliveryRow]:
    async def read() -> list[DeliveryRow]:
        async with open_store(home.root / "store", quotas=QUOTAS) as store:
            return await store.reader.callbacks(after=0, limit=100_000)

    return asyncio.run(read())


def stamp(home: Home) -> str | None:
    async def read() -> str | None:
        async with open_store(home.root / "store", quotas=QUOTAS) as store:
            return await store.reader.meta(demo.STAMP)

    return asyncio.run(read())


def keep(home: Home, entry: Entry) -> None:
    async def write() -> None:
        async with open_store(home.root / "store", quotas=QUOTAS) as store:
            await store.commit([entry])

    asyncio.run(write())


def test_a_past_is_written_and_stamped(home: Home) -> None:
    """A week of deliveries of two applications in order of arrival, none of them in the future."""
    written = demo.fill(home, now=NOW)
    rows = journal(home)

    assert written > len(rows) > 4000
    assert all(NOW - 8 * DAY < row.received_us / MICROSECONDS < NOW for row in rows)
    assert [row.received_us for row in rows] == sorted(row.received_us for row in rows)
    assert {row.app for row in rows} == {"demo", "demo-2"}
    assert stamp(home)


def test_a_past_repeats_itself(home: Home, tmp_path: Path) -> None:
    """Two fresh homes filled for the same instant hold the same bytes."""
    other = new_home(tmp_path / "other")
    for each in (home, other):
        demo.fill(each, now=NOW)

    assert [row.body for row in journal(home)] == [row.body for row in journal(other)]


def test_filling_again_adds_only_what_happened_since(home: Home) -> None:
    """A demonstration that starts again the next day has no hole and nothing twice."""
    demo.fill(home, now=NOW)
    before = journal(home)

    assert demo.fill(home, now=NOW) == 0
    assert demo.fill(home, now=NOW + DAY) > 100
    after = journal(home)
    assert after[: len(before)] == before
    assert all(NOW <= row.received_us / MICROSECONDS < NOW + DAY for row in after[len(before) :])


def test_real_callbacks_are_left_alone(home: Home) -> None:
    """A home that received something nobody simulated is not made a demonstration."""
    delivery = next(each for each in demo.entries(History(now=NOW)) if isinstance(each, Delivery))
    keep(home, replace(delivery, received_us=NOW * MICROSECONDS))

    with pytest.raises(UsageError, match="not simulated"):
        demo.fill(home, now=NOW)
    assert len(journal(home)) == 1
    assert stamp(home) is None


def test_a_production_home_is_refused(tmp_path: Path) -> None:
    """Nothing simulated gets into a home that counts real calls."""
    production = new_home(tmp_path / "production", 'mode = "production"\n')

    with pytest.raises(UsageError, match="production home"):
        demo.fill(production, now=NOW)
    assert not (production.root / "store").exists()
