"""Roll-ups say exactly what the calls and deliveries themselves say."""

import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import store_lab as lab

from receiver.model import MICROSECONDS, UNKNOWN_KIND, Delivery, Outcome, Span
from receiver.statistics.tally import Arrivals
from receiver.store.interface import Dimension, Filters, HistogramOf
from receiver.store.sqlite import SqliteReader, StoreFiles

DAY = 86_400
ONE_BY_ONE = 2**62
"""As an upper bound of arrivals true of every call, but no part of the roll-ups' key."""


@asynccontextmanager
async def reading(directory: Path, **options: float) -> AsyncIterator[SqliteReader]:
    """A reader of whatever lies in a directory."""
    async with SqliteReader.open(StoreFiles(directory), **options) as reader:  # type: ignore[arg-type] # few options
        yield reader


def past(chance: random.Random, *, days: int, calls: int) -> list[Delivery]:
    """Calls of some days, most of them in the last one, so that every level of buckets is used."""
    found: list[Delivery] = []
    for number in range(calls):
        ended_at = lab.NOW - int(chance.choice([days * DAY, DAY, 4000, 90]) * chance.random())
        lateness = chance.choice([0, 2, 2, 30, 9000])
        arrival = {
            "received_us": (ended_at + lateness) * MICROSECONDS + chance.randrange(MICROSECONDS),
            "app": chance.choice(["demo", "other"]),
        }
        parties = {
            "call_from": chance.choice(["", "075583763333", "089831335739"]),
            "mobile": f"1380000{number % 7}000",
        }
        answered = ended_at - chance.randrange(60)
        times = {"start_calltime": answered - chance.randrange(40), "accept_time": answered, "end_calltime": ended_at}
        status = lab.report(
            f"call-{number}",
            kind=chance.choice(["voicecode_callback", "voiceprompt_callback"]),
            result=chance.choice("0012"),
            nationcode=chance.choice(["86", "852"]),
            **parties,
            **times,
        )
        found += [lab.delivery(status, **arrival)] * chance.choice([1, 1, 1, 2])
        if chance.random() < 0.5:
            found.append(lab.delivery(lab.failure(f"call-{number}", **parties), **arrival))
        if chance.random() < 0.1:
            found.append(lab.delivery(b"{}", kind=UNKNOWN_KIND, **arrival))
        if chance.random() < 0.1:
            found.append(lab.held(lab.key_press(f"call-{number}"), **arrival))
    return found


def spans(chance: random.Random, *, days: int) -> Iterable[Span]:
    """Spans that begin and end anywhere, or at round instants."""
    for _ in range(40):
        ends = sorted(lab.NOW + 60 - int((days + 1) * DAY * chance.random() ** 3) for _ in range(2))
        grain = chance.choice([1, 60, 3600, DAY])
        start, end = (at - (at + 8 * 3600) % grain for at in ends)
        if start < end:
            yield Span(start=start, end=end)


def some_filters(chance: random.Random) -> Filters:
    """Filters that are part of the roll-ups' key."""
    return Filters(
        carrier=chance.choice([None, "tencent"]),
        app=chance.choice([None, None, "demo", "none"]),
        kind=chance.choice([None, None, "code"]),
        caller=chance.choice([None, None, "", "075583763333"]),
        outcome=chance.choice([None, None, Outcome.ANSWERED, Outcome.PENDING]),
    )


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "Asia/Kolkata", "America/New_York", "UTC"])
@pytest.mark.parametrize("seed", range(3))
async def test_roll_ups_say_what_the_calls_say(tmp_path: Path, zone: str, seed: int) -> None:
    """Tallies and histograms from roll-ups and ragged ends equal those counted call by call, whatever is asked."""
    chance = random.Random(f"{zone}{seed}")  # noqa: S311 -- reproducible, not secret
    lab.keep(tmp_path, past(chance, days=9, calls=150))
    lab.fold(tmp_path, batches=[37], by=lab.rules(zone=ZoneInfo(zone)))
    dimensions = [None, Dimension.OUTCOME, Dimension.CALLER, Dimension.APP, Dimension.KIND, Dimension.CARRIER]

    async with reading(tmp_path) as reader, reader.snapshot() as view:
        for span in spans(chance, days=9):
            filters, group_by = some_filters(chance), chance.choice(dimensions)
            one_by_one = replace(filters, first_received_before_us=ONE_BY_ONE)
            edges = edges_of(chance, span)

            assert await view.tabulate(filters, span, edges=edges, group_by=group_by) == await view.tabulate(
                one_by_one, span, edges=edges, group_by=group_by
            )
            for of in HISTOGRAMS:
                assert await view.histogram(filters, span, of) == await view.histogram(one_by_one, span, of)


HISTOGRAMS: Sequence[HistogramOf] = ("time_to_answer", "talk")


def edges_of(chance: random.Random, span: Span) -> list[int] | None:
    """No buckets, or some that begin anywhere."""
    if chance.random() < 0.4:
        return None
    inside = {span.start + chance.randrange(span.end - span.start) for _ in range(chance.randrange(12))}
    return sorted({span.start, *inside})


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "Asia/Kolkata"])
async def test_arrivals_say_what_the_deliveries_say(tmp_path: Path, zone: str) -> None:
    """Deliveries, duplicates, held, unknown kinds and lags by arrival equal those counted one by one."""
    chance = random.Random(zone)  # noqa: S311 -- reproducible, not secret
    entries = past(chance, days=2, calls=200)
    lab.keep(tmp_path, entries)
    lab.fold(tmp_path, batches=[50], by=lab.rules(zone=ZoneInfo(zone)))

    async with reading(tmp_path) as reader, reader.snapshot() as view:
        for span in spans(chance, days=2):
            app = chance.choice([None, "demo"])
            filters = Filters(app=app, kind="code", outcome=Outcome.ANSWERED)  # the last two do not concern arrivals

            assert await view.arrivals(filters, span) == counted_arrivals(entries, span, app)
            minutes = Span(start=span.start - span.start % 60, end=span.end + -span.end % 60)
            assert await view.histogram(filters, span, "lag") == counted_lags(entries, minutes, app)


def counted_arrivals(entries: Iterable[Delivery], span: Span, app: str | None) -> Arrivals:
    """The arrivals of a span, counted by hand."""
    groups: defaultdict[tuple[str, bytes], list[Delivery]] = defaultdict(list)
    counts = Counter[str]()
    for entry in sorted(entries, key=lambda each: each.received_us):
        group = groups[entry.app, entry.sha256]
        group.append(entry)
        if app not in {None, entry.app} or not span.start <= entry.received_us // MICROSECONDS < span.end:
            continue
        if entry.disposition == "held":
            counts["held"] += 1
            continue
        counts["deliveries"] += 1
        counts["unknown_kind"] += entry.kind == UNKNOWN_KIND
        counts["duplicates"] += len(group) > 1 and entry.kind != UNKNOWN_KIND
    return Arrivals(
        deliveries=counts["deliveries"],
        duplicates=counts["duplicates"],
        held=counts["held"],
        unknown_kind=counts["unknown_kind"],
        quarantined=0,
    )


def counted_lags(entries: Iterable[Delivery], span: Span, app: str | None) -> dict[int, int]:
    """The lags of a span, counted by hand."""
    lags = Counter[int]()
    for entry in entries:
        received_at = entry.received_us // MICROSECONDS
        _, found, rest = entry.body.partition(b'"end_calltime": ')
        if found and app in {None, entry.app} and span.start <= received_at < span.end:
            lags[received_at - int(rest.split(b",")[0].split(b"}")[0])] += 1
    return dict(lags)
