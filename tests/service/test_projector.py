"""The process that folds: it keeps up, gives way, survives being killed, and ends with its parent."""

import asyncio
import os
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import store_lab as lab
from blockbuster import blockbuster_ctx

from receiver import config, control, projector
from receiver.board import Board
from receiver.carriers import PROFILES
from receiver.errors import DamagedError, StoreError, StoreLockedError
from receiver.home import Home
from receiver.journal import Journal, JournalLimits
from receiver.model import MICROSECONDS, DecisionKind, Delivery, Entry, Span
from receiver.projector_process import ProjectorProcess
from receiver.store.interface import Filters
from receiver.store.sqlite import SqliteStore, StoreFiles, folding, locked, needs_rebuild, open_store, rebuild
from receiver.store.sqlite.compare import fingerprint
from receiver.store.sqlite.connection import Synchronous, open_writer
from receiver.store.sqlite.derived_file import settle

LIMITS = JournalLimits(entries=10_000, bytes=10**8)


def files_of(home: Home) -> StoreFiles:
    """Where the store of a home lies."""
    return StoreFiles(config.store_directory(config.load(home.root), home.root))


@asynccontextmanager
async def serving(home: Home) -> AsyncIterator[tuple[SqliteStore, Journal, ProjectorProcess]]:
    """A store with its journal and its projector, as `serve` has them."""
    async with (
        open_store(files_of(home).directory, quotas=lab.AMPLE) as store,
        ProjectorProcess.running("--home", str(home.root)) as child,
        Journal.running(store.append, post=store.post, limits=LIMITS, on_commit=child.notify) as journal,
    ):
        yield store, journal, child


async def keep(journal: Journal, entries: Iterable[Entry]) -> None:
    """Put entries on disk."""
    await asyncio.gather(*[journal.keep(entry) for entry in entries])


async def folded(store: SqliteStore, *, seconds: float = 20.0) -> None:
    """Wait until everything is folded."""

    async def nothing_waits() -> bool:
        progress = await store.reader.progress()
        return progress.watermark == progress.last_seq

    await until(nothing_waits, seconds=seconds)


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 -- another process changes what is waited for
            await asyncio.sleep(0.01)


def some_deliveries(count: int, *, seed: int = 1, received_us: int | None = None) -> list[Delivery]:
    """Deliveries about few calls, some of them repeated."""
    chance = random.Random(seed)  # noqa: S311 -- reproducible, not secret
    now_us = time.time_ns() // 1000 if received_us is None else received_us
    bodies = [lab.report, lab.failure, lab.key_press]
    return [
        lab.delivery(chance.choice(bodies)(f"call-{chance.randrange(count)}"), received_us=now_us + n)
        for n in range(count)
    ]


def equals_a_rebuild(files: StoreFiles) -> bool:
    """Whether computing everything anew changes nothing."""
    return rebuild(files, lab.rules(), on_progress=lambda *_: None).differences == ()


async def test_what_is_committed_is_folded_at_once(tmp_path: Path) -> None:
    """A sleeping projector is woken by a commit, and takes everything that came."""
    home = lab.home(tmp_path)
    async with serving(home) as (store, journal, child):
        await keep(journal, [lab.delivery(lab.report("first"))])
        await folded(store)

        async def sleeps() -> bool:
            return child._board.is_waiting

        await until(sleeps)
        started = time.monotonic()
        await keep(journal, some_deliveries(50))
        await folded(store)
        seconds = time.monotonic() - started

    assert seconds < 1
    assert equals_a_rebuild(files_of(home))


async def test_kills_change_nothing(tmp_path: Path) -> None:
    """Killed at random moments while deliveries and decisions come, and started again, it ends where it would have."""
    chance = random.Random()  # noqa: S311 -- moments, not secrets
    home = lab.home(tmp_path)
    for round_ in range(5):
        entries = [*some_deliveries(400, seed=round_), lab.held(lab.report(f"held {round_}"))]
        await killed_after(0.3 * chance.random(), home, [*entries, lab.decision(DecisionKind.RELEASE, app="demo")])
    async with serving(home) as (store, _, _folding):
        await folded(store)
        progress = await store.reader.progress()

    assert progress.last_seq == 5 * 402
    assert equals_a_rebuild(files_of(home))


async def killed_after(seconds: float, home: Home, entries: Iterable[Entry]) -> None:
    """Serve, take entries, and have the projector killed."""
    async with serving(home) as (_, journal, child):
        await keep(journal, entries)
        await asyncio.sleep(seconds)
        assert child._process is not None
        child._process.kill()
        with pytest.raises(StoreError, match="ended by itself, with status -9"):
            await asyncio.wait_for(child.died, timeout=5)


async def test_nothing_blocks_the_event_loop(tmp_path: Path) -> None:
    """Opening, keeping, asking, commands and closing: whatever waits for a file or the disk does so elsewhere."""
    home = lab.home(tmp_path)
    directory = files_of(home).directory
    span = Span(start=0, end=lab.NOW + 1)
    with blockbuster_ctx("receiver"):
        async with (
            open_store(directory, quotas=lab.AMPLE) as store,
            ProjectorProcess.running("--home", str(home.root)) as child,
            Journal.running(store.append, post=store.post, limits=LIMITS, on_commit=child.notify) as journal,
            control.listening(control.serving(store, journal, child), path=tmp_path / "control.sock"),
        ):
            await keep(journal, [lab.delivery(), lab.undecodable(), lab.decision(app="other")])
            await folded(store)
            await store.write(lambda state: state.meta_set("name", "value"))
            cells = await store.reader.tabulate(Filters(), span)
            await store.reader.call("tencent", "demo", "call-1")
            await child.rebuild(lambda *_: None)

    assert len(cells) == 1


async def test_ingest_goes_first_for_a_while(tmp_path: Path) -> None:
    """While entries wait for the disk nothing is folded, until figures would be two seconds old."""
    home = lab.home(tmp_path)
    async with serving(home) as (store, journal, child):
        await keep(journal, [lab.delivery(lab.report("first"))])
        await folded(store)
        child._board.depth = 1
        started = time.monotonic()
        await store.commit([lab.delivery(lab.report("second"), received_us=time.time_ns() // 1000)])
        await asyncio.sleep(0.8)
        waiting = await store.reader.progress()
        await folded(store)
        seconds = time.monotonic() - started

    assert waiting.watermark == 1
    assert 1.2 < seconds < 2


PARENT = """
import asyncio, sys
from receiver.projector_process import ProjectorProcess

async def main():
    async with ProjectorProcess.running("--home", sys.argv[1]):
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """A killed server leaves no projector behind, and the next one gets its file."""
    home = lab.home(tmp_path)
    files = files_of(home)
    lab.keep(files.directory, [lab.delivery()])
    settle(files)

    async def is_folded() -> bool:
        return bool(lab.content(files.derived)["call"])

    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(home.root))
    try:
        await until(is_folded)
        with pytest.raises(StoreLockedError), locked(files.projector_lock):
            pass
    finally:
        parent.kill()
        await parent.wait()

    with locked(files.projector_lock, patience_seconds=5):
        pass


async def test_it_stops_when_told(tmp_path: Path) -> None:
    """Told to stop, it ends with status 0, and that is no death."""
    home = lab.home(tmp_path)
    async with serving(home) as (store, journal, child):
        await keep(journal, some_deliveries(20))
        await folded(store)
        process = child._process
    assert process is not None

    assert process.returncode == 0
    assert child.died.cancelled()


@pytest.mark.parametrize("harm", ["no key", "sums"])
async def test_what_it_cannot_mend_is_seen(tmp_path: Path, harm: str) -> None:
    """Without its key, or when its sums do not fit what it folds, it ends with an error instead of going on."""
    home = lab.home(tmp_path)
    files = files_of(home)
    lab.keep(files.directory, [lab.delivery(lab.key_press())])
    lab.fold(files.directory)
    if harm == "no key":
        home.callee_key.unlink()
    else:
        with closing(open_writer(files.derived, synchronous=Synchronous.NORMAL)) as connection:
            connection.execute("delete from rollup")

    async with serving(home) as (_, journal, child):
        await keep(journal, [lab.delivery(lab.report())])
        with pytest.raises(StoreError, match="status 1"):
            await asyncio.wait_for(child.died, timeout=10)


async def test_other_settings_mean_a_rebuild(tmp_path: Path) -> None:
    """Days of another zone need other roll-ups: they are computed by themselves at the next start."""
    home = lab.home(tmp_path, settings='[statistics]\nzone = "Asia/Kolkata"\nshort_prompt_seconds = 5\n')
    files = files_of(home)
    lab.keep(files.directory, some_deliveries(30, received_us=lab.NOW * MICROSECONDS))
    lab.fold(files.directory)
    rules = projector.rules_of(config.load(home.root), home)
    async with serving(home) as (store, _, _folding):

        async def is_rebuilt() -> bool:
            return not needs_rebuild(files, rules)

        await until(is_rebuilt)
        await folded(store)
    reference = files_of(lab.home(tmp_path / "reference"))
    shutil.copytree(files.directory, reference.directory, ignore=lambda *_: ["derived.db", "projector.lock"])
    lab.fold(reference.directory, by=rules)

    assert rules.zone == ZoneInfo("Asia/Kolkata")
    assert lab.content(files.derived) == lab.content(reference.derived)


async def test_a_rebuild_while_serving(tmp_path: Path) -> None:
    """Deliveries are taken during a rebuild, which reports its progress, says what differed, and is then caught up."""
    home = lab.home(tmp_path)
    steps: list[tuple[int, int]] = []
    async with serving(home) as (store, journal, child):
        await keep(journal, some_deliveries(100))
        await folded(store)
        equal = await child.rebuild(lambda done, rows: steps.append((done, rows)))
        with closing(open_writer(files_of(home).derived, synchronous=Synchronous.NORMAL)) as connection:
            connection.execute("update rollup set billed_minutes = billed_minutes + 1")
        rebuilding = asyncio.create_task(child.rebuild(lambda *_: None))
        await keep(journal, some_deliveries(100, seed=2))
        different = await rebuilding
        await folded(store)

    assert equal == {"rows": 100, "differences": [], "is_same_rules": True}
    assert steps == [(100, 100)]
    assert different["differences"] == ["rollup"]
    assert equals_a_rebuild(files_of(home))


def test_a_replacement_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    """A power cut between marking a rebuilt file and putting it in place leaves the rebuilt file, and no old log."""
    files = StoreFiles(tmp_path)
    lab.keep(tmp_path, some_deliveries(20))
    complete = lab.fold(tmp_path).rename(tmp_path / "derived.db.complete")
    expected = lab.content(complete)
    files.derived.write_bytes(b"old")
    (tmp_path / "derived.db-wal").write_bytes(b"the old one's")
    files.rebuilt.write_bytes(b"another one, unfinished")

    settle(files)

    assert lab.content(files.derived) == expected
    assert not files.rebuilt.exists()


def test_a_row_that_cannot_be_folded_is_passed_over(tmp_path: Path) -> None:
    """It counts as a delivery, is recorded with the reason, and folded once it can be read and a decision says so."""
    files = StoreFiles(tmp_path)
    lab.keep(tmp_path, [lab.delivery(b"[]"), lab.delivery(carrier="later"), lab.delivery(lab.report("2"))])
    lab.fold(tmp_path)
    before = lab.content(files.derived)
    lab.keep(tmp_path, [lab.decision(DecisionKind.REDECODE, seqs=(1, 2, 3))])
    known = lab.rules(profiles={**PROFILES, "later": PROFILES["tencent"]})
    lab.fold(tmp_path, by=known)

    assert len(before["fold_error"]) == 2
    assert [row[0] for row in before["call"]] == ["tencent"]
    assert "not configured" in str(before["fold_error"])
    after = lab.content(files.derived)
    assert [row[0] for row in after["call"]] == ["later", "tencent"]
    assert len(after["fold_error"]) == 1
    assert rebuild(files, known, on_progress=lambda *_: None).differences == ()


def test_a_void_also_takes_what_is_folded_later(tmp_path: Path) -> None:
    """A delivery whose arrival a void selects counts for nothing, whichever of the two is folded first."""
    early, late = lab.NOW * MICROSECONDS, (lab.NOW + 9) * MICROSECONDS
    void = lab.decision(app="demo", received_to_us=late)
    lab.keep(tmp_path, [lab.delivery(lab.report("1"), received_us=early), void])
    lab.fold(tmp_path)
    lab.keep(tmp_path, [lab.delivery(lab.report(f"{n}"), received_us=at) for n, at in ((2, early), (3, late))])
    derived = lab.fold(tmp_path)

    assert [row[5] for row in lab.content(derived)["call"]] == ["3"]


def test_a_later_release_undoes_a_discard(tmp_path: Path) -> None:
    """Of a held delivery's releases and discards the latest holds; a void wins over both, for good."""
    derived = None
    counted = []
    lab.keep(tmp_path, [lab.held()])
    for kind in (
        DecisionKind.RELEASE,
        DecisionKind.DISCARD,
        DecisionKind.RELEASE,
        DecisionKind.VOID,
        DecisionKind.RELEASE,
    ):
        lab.keep(tmp_path, [lab.decision(kind, seqs=(1,))])
        derived = lab.fold(tmp_path)
        counted.append(len(lab.content(derived)["call"]))

    assert counted == [1, 0, 1, 0, 0]


def test_the_projector_says_which_key_it_misses(tmp_path: Path) -> None:
    """A key of the wrong size is refused with its place."""
    home = lab.home(tmp_path)
    home.callee_key.write_bytes(b"short")

    with pytest.raises(StoreError, match=r"callee\.key: must hold 32 bytes, holds 5"):
        projector.rules_of(config.load(home.root), home)


@pytest.mark.parametrize("harm", ["damaged", "another version's", "another program's"])
async def test_tables_that_cannot_be_used_are_computed_anew(tmp_path: Path, harm: str) -> None:
    """Derived tables that this version cannot read give way to new ones, for all in them is in the journal."""
    home = lab.home(tmp_path)
    files = files_of(home)
    lab.keep(files.directory, some_deliveries(60))
    expected = lab.content(lab.fold(files.directory))
    if harm == "damaged":
        files.derived.write_bytes(b"SQLite format 3\0" + b"?" * 8000)
    else:
        pragma = "user_version = 99" if harm == "another version's" else "application_id = 7"
        with closing(open_writer(files.derived, synchronous=Synchronous.NORMAL)) as connection:
            connection.execute(f"pragma {pragma}")
    async with serving(home) as (store, _, _folding):
        await folded(store)

    assert lab.content(files.derived) == expected


async def test_a_long_past_is_folded_the_short_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal whose tables do not exist yet is rebuilt rather than followed, and ends the same."""
    monkeypatch.setattr("receiver.store.sqlite.rebuilding.BATCH_ROWS", 50)
    home = lab.home(tmp_path)
    files = files_of(home)
    lab.keep(files.directory, some_deliveries(120))
    settle(files)

    assert needs_rebuild(files, lab.rules())
    rebuilt = rebuild(files, lab.rules(), on_progress=lambda *_: None)
    assert (rebuilt.rows, rebuilt.differences) == (120, None)
    assert not needs_rebuild(files, lab.rules())
    assert equals_a_rebuild(files)


def test_a_full_disk_stops_the_figures_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room the projector waits and tries again; once there is room it goes on where it was."""
    monkeypatch.setattr(projector, "_FULL_SECONDS", 0)
    files = StoreFiles(tmp_path)
    lab.keep(tmp_path, some_deliveries(300))
    settle(files)
    read_end, write_end = os.pipe()
    with closing(Board.new()) as board, folding(files, lab.rules()) as (source, derived):
        child = projector.Projector(files, lab.rules(), board=board, wake=read_end, say=print)
        (pages,) = derived._connection.execute("pragma page_count").fetchone()
        derived._connection.execute(f"pragma max_page_count = {pages + 2}").fetchall()
        child._turn(source, derived)
        stuck = derived.cursor
        derived._connection.execute("pragma max_page_count = 100000").fetchall()
        child._turn(source, derived)
        cursor = derived.cursor
    for end in (read_end, write_end):
        os.close(end)

    assert (stuck, cursor) == (0, 300)
    assert equals_a_rebuild(files)


def test_a_damaged_file_can_be_rebuilt(tmp_path: Path) -> None:
    """Tables with a broken page are replaced, though there is nothing to compare the new ones with."""
    files = StoreFiles(tmp_path)
    lab.keep(tmp_path, some_deliveries(300))
    expected = lab.content(lab.fold(tmp_path))
    page, size = 4096, files.derived.stat().st_size
    with files.derived.open("r+b") as file:
        # The first page stays: it says that this is a database, and where its tables are.
        for number in range(2, size // page):
            file.seek(number * page)
            file.write(b"\xff" * 100)

    with pytest.raises(DamagedError):
        fingerprint(files.derived)
    rebuilt = rebuild(files, lab.rules(), on_progress=lambda *_: None)

    assert rebuilt.differences is None
    assert lab.content(files.derived) == expected
