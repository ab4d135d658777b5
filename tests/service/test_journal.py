"""The journal in front of the disk: groups, bounds, failures, and callers who leave."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import store_lab as lab

from receiver.errors import OverloadedError, QuotaError, RowRefusedError, StoreError
from receiver.journal import Journal, JournalLimits
from receiver.model import Delivery, Entry, Receipt
from receiver.store.interface import Quotas
from receiver.store.sqlite import open_store
from receiver.store.sqlite.writer_thread import WriterThread

AMPLE = JournalLimits(entries=10_000, bytes=10**8)


class Disk:
    """A commit that a test holds up, counts and lets fail. Gives every entry the next number."""

    def __init__(self) -> None:
        self.batches: list[list[Entry]] = []
        self.failure: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._last = 0

    def commit(self, entries: Sequence[Entry], /) -> list[Receipt | Exception]:
        """Do what a store does, when the gate is open."""
        self.gate.wait()
        self.batches.append(list(entries))
        if self.failure is not None:
            raise self.failure
        first = self._last + 1
        self._last += len(entries)
        return [Receipt(seq=seq) for seq in range(first, self._last + 1)]


@asynccontextmanager
async def running(
    disk: Disk, *, limits: JournalLimits = AMPLE, on_commit: Callable[[int], None] = lambda _: None
) -> AsyncIterator[Journal]:
    """A journal in front of a disk."""
    thread = WriterThread()
    try:
        async with Journal.running(disk.commit, post=thread.post, limits=limits, on_commit=on_commit) as journal:
            try:
                yield journal
            finally:
                disk.gate.set()
    finally:
        await asyncio.to_thread(thread.close)


async def settled(*waiting: "asyncio.Task[Receipt]") -> list[Any]:
    """What each task gave or raised."""
    return await asyncio.gather(*waiting, return_exceptions=True)


def keeping(journal: Journal, count: int, **changes: Any) -> "list[asyncio.Task[Receipt]]":
    """As many callers as that, each with one delivery."""
    return [asyncio.create_task(journal.keep(lab.delivery(**changes))) for _ in range(count)]


async def test_what_comes_during_a_commit_is_the_next_one() -> None:
    """Nothing waits for a timer: the first entry is committed alone, the rest together while it is under way."""
    disk = Disk()
    async with running(disk) as journal:
        disk.gate.clear()
        first = keeping(journal, 1)
        await asyncio.sleep(0.05)
        rest = keeping(journal, 9)
        await asyncio.sleep(0)
        depth = journal.depth
        disk.gate.set()
        receipts = await settled(*first, *rest)

    assert depth == 10
    assert [len(batch) for batch in disk.batches] == [1, 9]
    assert [receipt.seq for receipt in receipts] == list(range(1, 11))


async def test_a_batch_is_bounded() -> None:
    """However much has gathered, one commit holds a bounded number of entries and bytes."""
    disk = Disk()
    async with running(disk) as journal:
        disk.gate.clear()
        small, large = keeping(journal, 1000), keeping(journal, 20, body=b"x" * 1024 * 1024)
        await asyncio.sleep(0.01)
        disk.gate.set()
        await settled(*small, *large)

    assert max(len(batch) for batch in disk.batches) == 256
    sizes = [sum(len(entry.body) for entry in batch if isinstance(entry, Delivery)) for batch in disk.batches]
    assert max(sizes) <= 5 * 1024 * 1024


@pytest.mark.parametrize("limits", [JournalLimits(entries=3, bytes=10**6), JournalLimits(entries=99, bytes=3000)])
async def test_a_full_queue_refuses_at_once(limits: JournalLimits) -> None:
    """Past its bound of entries or bytes the journal takes nothing; when the queue has drained it takes again."""
    disk = Disk()
    async with running(disk, limits=limits) as journal:
        disk.gate.clear()
        taken = keeping(journal, 3, body=b"x" * 1000)
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError):
            await journal.keep(lab.delivery(b"x" * 1000))
        disk.gate.set()
        await settled(*taken)

        assert (await journal.keep(lab.delivery(b"x" * 1000))).seq == 4
        assert journal.depth == 0


async def test_a_caller_who_leaves_changes_nothing() -> None:
    """The entry of a cancelled caller is kept, and its neighbours get their receipts."""
    disk = Disk()
    async with running(disk) as journal:
        disk.gate.clear()
        waiting = keeping(journal, 3)
        await asyncio.sleep(0.01)
        waiting[1].cancel()
        await asyncio.sleep(0)
        disk.gate.set()
        results = await settled(*waiting)

    assert sum(len(batch) for batch in disk.batches) == 3
    assert [type(result) for result in results] == [Receipt, asyncio.CancelledError, Receipt]


async def test_a_failing_disk_refuses_the_batch_until_it_works() -> None:
    """An error of the disk refuses every entry of the batch and shows, until a commit succeeds."""
    disk = Disk()
    async with running(disk) as journal:
        disk.failure = StoreError("journal.db: database or disk is full (SQLITE_FULL)")
        results = await settled(*keeping(journal, 5))
        was_failing = journal.is_failing
        disk.failure = None
        receipt = await journal.keep(lab.delivery())
        is_failing = journal.is_failing
        is_alive = not journal.died.done()

    assert {type(result) for result in results} == {StoreError}
    assert len({id(result) for result in results}) == 5
    assert (was_failing, is_failing, is_alive) == (True, False, True)
    assert receipt.seq == 1


async def test_the_writers_death_is_seen() -> None:
    """An error that no disk and no row can cause ends the journal: callers are refused, and `died` says why."""
    disk = Disk()
    async with running(disk) as journal:
        disk.failure = ZeroDivisionError("a bug")
        results = await settled(*keeping(journal, 3))
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(journal.died, timeout=1)
        with pytest.raises(StoreError):
            await journal.keep(lab.delivery())

    assert {type(result) for result in results} == {StoreError}


async def test_closing_commits_what_was_taken() -> None:
    """The journal ends only when everything it took is on disk; from then on it takes nothing."""
    disk = Disk()
    depths: list[int] = []
    async with running(disk, on_commit=depths.append) as journal:
        waiting = keeping(journal, 600)
        await asyncio.sleep(0)

    assert all(isinstance(result, Receipt) for result in await settled(*waiting))
    assert depths[-1] == 0
    with pytest.raises(StoreError):
        await journal.keep(lab.delivery())


async def test_the_wait_is_estimated_from_recent_commits() -> None:
    """The longer commits take and the more is waiting, the longer an entry that comes now would wait."""
    disk = Disk()
    async with running(disk) as journal:
        fast = journal.estimated_wait_seconds
        for _ in range(10):
            disk.gate.clear()
            waiting = keeping(journal, 1)
            await asyncio.sleep(0.02)
            disk.gate.set()
            await settled(*waiting)
        alone = journal.estimated_wait_seconds
        disk.gate.clear()
        queued = keeping(journal, 100)
        await asyncio.sleep(0.01)
        behind = journal.estimated_wait_seconds
        disk.gate.set()
        await settled(*queued)

    assert fast == 0
    assert 0.01 < alone < 0.1
    assert behind > 50 * alone


async def test_errors_of_one_row_reach_their_caller_alone(tmp_path: Path) -> None:
    """On a real store, a row that cannot be held and one past its quota are refused; the rest of the batch is kept."""
    quotas = Quotas(unknown_kind=0, quarantine=10, held=10)
    entries: list[Entry] = [
        lab.delivery(b"1"),
        lab.delivery(received_us=2**63),
        lab.delivery(b"{}", kind="unknown"),
        lab.undecodable(),
        lab.decision(app="nothing"),
        lab.delivery(b"2"),
    ]
    async with (
        open_store(tmp_path, quotas=quotas) as store,
        Journal.running(store.append, post=store.post, limits=AMPLE) as journal,
    ):
        results = await settled(*[asyncio.create_task(journal.keep(entry)) for entry in entries])
        found = await store.reader.callbacks(after=0, limit=9)

    assert [type(each) for each in results] == [Receipt, RowRefusedError, QuotaError, Receipt, Receipt, Receipt]
    assert [row.body for row in found] == [b"1", b"2"]


async def test_state_functions_get_their_turn_under_load(tmp_path: Path) -> None:
    """While deliveries keep the disk busy, a function on the writer's thread waits for few commits, not for ever."""
    async with (
        open_store(tmp_path, quotas=lab.AMPLE) as store,
        Journal.running(store.append, post=store.post, limits=AMPLE) as journal,
    ):

        async def deliver_for_ever() -> None:
            while True:
                await journal.keep(lab.delivery())

        busy = [asyncio.create_task(deliver_for_ever()) for _ in range(64)]
        await asyncio.sleep(0.1)
        await asyncio.wait_for(store.write(lambda state: state.meta_set("a", "b")), timeout=2)
        for task in busy:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*busy)

        assert await store.reader.meta("a") == "b"
