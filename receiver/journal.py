"""Deliveries and decisions onto the disk, in groups: all that came during one commit is the next one. Folds nothing.

There is no timer. While the disk works on one batch, the next one gathers; alone, a delivery waits for its own commit.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from receiver.errors import OverloadedError, StoreError
from receiver.model import Decision, Entry, Receipt
from receiver.store.interface import Commit

Post = Callable[[Callable[[], None]], None]
"""Runs a job on the writer's thread, after those posted before; returns at once."""

OnCommit = Callable[[int], None]
"""Told on the event loop, after each commit, how many entries wait for the next ones."""

# A commit in progress is what a waiting delivery waits for: bounded, however much has gathered.
_BATCH_ENTRIES: Final = 256
_BATCH_BYTES: Final = 4 * 1024 * 1024
# How much the last commit counts in the running estimate of a commit's time.
_WEIGHT: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLimits:
    """How many entries, and how many bytes of bodies, may wait."""

    entries: int
    bytes: int


class _Waiting(NamedTuple):
    entry: Entry
    size: int
    receipt: "asyncio.Future[Receipt]"


class Journal:
    """The only way into the store for whatever must be on disk before it is answered."""

    def __init__(self, commit: Commit, *, post: Post, limits: JournalLimits, on_commit: OnCommit) -> None:
        self._commit = commit
        self._post = post
        self._limits = limits
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiting] = deque()
        self._is_draining = False
        self._is_closed = False
        self._entries = 0
        self._bytes = 0
        self._batch_seconds = 0.0
        self._batch_entries = 1.0
        self._empty = asyncio.Event()
        self._empty.set()
        self.is_failing = False
        self.died: Final[asyncio.Future[None]] = self._loop.create_future()
        """Ends with an exception when the writer itself fails, which is no fault of any entry and never mends."""

    @classmethod
    @asynccontextmanager
    async def running(
        cls, commit: Commit, *, post: Post, limits: JournalLimits, on_commit: OnCommit = lambda _: None
    ) -> AsyncIterator[Self]:
        """Take entries until the block ends; then everything taken is still committed.

        `commit` runs on the thread that `post` gives, and nowhere else.
        """
        journal = cls(commit, post=post, limits=limits, on_commit=on_commit)
        try:
            yield journal
        finally:
            journal._is_closed = True
            await journal._empty.wait()
            journal.died.cancel()

    @property
    def depth(self) -> int:
        """How many entries are not on disk yet, those of the commit in progress included."""
        return self._entries

    @property
    def estimated_wait_seconds(self) -> float:
        """How long an entry that comes now would wait, by the pace of recent commits."""
        return (self._entries + 1) * self._batch_seconds / self._batch_entries

    async def keep(self, entry: Entry) -> Receipt:
        """Wait until an entry is on disk. A caller that is cancelled stops waiting; the entry is kept all the same.

        Raises:
            OverloadedError: too much is waiting; the entry was not taken.
            QuotaError: the application's quota for such entries is used up.
            RowRefusedError: the store cannot hold this entry.
            StoreError: nothing can be stored now.
        """
        size = 0 if isinstance(entry, Decision) else len(entry.body)
        if self._is_closed or self.died.done():
            raise StoreError("the journal takes nothing any more")
        if self._entries >= self._limits.entries or self._bytes + size > self._limits.bytes:
            raise OverloadedError("too many callbacks wait for the disk")
        receipt: asyncio.Future[Receipt] = self._loop.create_future()
        self._queue.append(_Waiting(entry, size, receipt))
        self._entries += 1
        self._bytes += size
        self._empty.clear()
        if not self._is_draining:
            self._is_draining = True
            self._post(self._drain)
        return await receipt

    def _drain(self) -> None:
        """Commit one batch; on the writer's thread. While entries wait another job follows: others get turns."""
        batch = self._take()
        if batch:
            started = time.monotonic()
            try:
                results = self._commit([each.entry for each in batch])
            except StoreError as exc:
                self._loop.call_soon_threadsafe(self._refuse, batch, exc)
            except BaseException as exc:  # noqa: BLE001 -- a writer's death must be seen, whatever it died of
                self._loop.call_soon_threadsafe(self._die, batch, exc)
            else:
                self._loop.call_soon_threadsafe(self._settle, batch, results, time.monotonic() - started)
        # Lowered before the look at the queue: whoever adds to it later sees that a job is needed.
        self._is_draining = False
        if self._queue:
            self._is_draining = True
            self._post(self._drain)

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < _BATCH_ENTRIES and size < _BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        return batch

    def _settle(self, batch: Sequence[_Waiting], results: Sequence[Receipt | Exception], seconds: float) -> None:
        self.is_failing = False
        self._batch_seconds += _WEIGHT * (seconds - self._batch_seconds)
        self._batch_entries += _WEIGHT * (len(batch) - self._batch_entries)
        for waiting, result in zip(batch, results, strict=True):
            if waiting.receipt.done():  # its caller was cancelled
                continue
            if isinstance(result, Receipt):
                waiting.receipt.set_result(result)
            else:
                waiting.receipt.set_exception(result)
        self._leave(batch)

    def _refuse(self, batch: Sequence[_Waiting], error: StoreError) -> None:
        self.is_failing = True
        for waiting in batch:
            if not waiting.receipt.done():
                waiting.receipt.set_exception(StoreError(str(error)))
        self._leave(batch)

    def _die(self, batch: Sequence[_Waiting], exc: BaseException) -> None:
        if not self.died.done():
            self.died.set_exception(exc)
        self._refuse(batch, StoreError("the journal's writer failed"))

    def _leave(self, batch: Sequence[_Waiting]) -> None:
        self._entries -= len(batch)
        self._bytes -= sum([each.size for each in batch])
        if not self._entries:
            self._empty.set()
        self._on_commit(self._entries)
