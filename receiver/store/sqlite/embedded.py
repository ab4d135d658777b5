"""The embedded store: one directory, one serving process, one writing thread. Puts the parts together, adds nothing."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from receiver.model import Entry, Receipt
from receiver.store.interface import Quotas
from receiver.store.sqlite import derived_file, schema
from receiver.store.sqlite.connection import Synchronous, open_writer, readable_errors, transaction
from receiver.store.sqlite.journal_db import JournalDb
from receiver.store.sqlite.lock import locked
from receiver.store.sqlite.paths import StoreFiles
from receiver.store.sqlite.reader import SqliteReader
from receiver.store.sqlite.state import State
from receiver.store.sqlite.writer_thread import Job, WriterThread

_T = TypeVar("_T")

_NO_QUOTAS: Final = Quotas(unknown_kind=0, quarantine=0, held=0)


class SqliteStore:
    """What `open_store` opens."""

    def __init__(self, connection: sqlite3.Connection, quotas: Quotas, reader: SqliteReader) -> None:
        self.reader: Final = reader
        self._connection = connection
        self._journal = JournalDb(connection, quotas)
        self._state = State(connection, self._journal)
        self._thread = WriterThread()

    def post(self, job: Job) -> None:
        """Run a job on the writer's thread, after all that were posted before. The job raises nothing."""
        self._thread.post(job)

    def append(self, entries: Sequence[Entry]) -> list[Receipt | Exception]:
        """Keep a batch, as `interface.Commit` says. Only on the writer's thread, which `post` gives."""
        return self._journal.append(entries)

    async def commit(self, entries: Sequence[Entry]) -> list[Receipt | Exception]:
        """Keep a batch, as `interface.Commit` says; a caller that is cancelled does not stop it."""
        return await self._thread.call(lambda: self._journal.append(entries))

    async def write(self, function: Callable[[State], _T]) -> _T:
        """Run a function on the writer's thread, in a transaction of its own.

        Raises:
            StoreError: nothing was written.
        """
        return await self._thread.call(lambda: self._within_transaction(function))

    def _within_transaction(self, function: Callable[[State], _T]) -> _T:
        with readable_errors("journal.db"), transaction(self._connection):
            return function(self._state)

    async def checkpoint(self) -> None:
        """Move everything from the write-ahead log into the file, as far as readers let it."""
        await self._thread.call(lambda: _checkpoint(self._connection))

    async def _close(self) -> None:
        await asyncio.to_thread(self._thread.close)


@asynccontextmanager
async def open_store(directory: Path, *, quotas: Quotas) -> AsyncIterator[SqliteStore]:
    """Open the store for the one process that serves it, making it (0700) if need be; at the end it checkpoints.

    Raises:
        StoreLockedError: another process serves it.
        StoreError: it cannot be opened, is a newer version's, or does not become durable.
    """
    files = StoreFiles(directory)
    stack = ExitStack()
    try:
        connection = await asyncio.to_thread(_enter, files, stack)
        async with SqliteReader.open(files) as reader:
            store = SqliteStore(connection, quotas, reader)
            try:
                yield store
                await store.checkpoint()
            finally:
                await store._close()  # noqa: SLF001 -- its own opener
    finally:
        await asyncio.to_thread(stack.close)


def _enter(files: StoreFiles, stack: ExitStack) -> sqlite3.Connection:
    files.make()
    stack.enter_context(locked(files.lock))
    connection = stack.enter_context(_open_journal(files))
    derived_file.settle(files)
    return connection


@contextmanager
def offline(directory: Path) -> Iterator[State]:
    """The state of a store that nothing serves, made if need be: one transaction, kept when the block ends well.

    Raises:
        StoreLockedError: something serves the store.
        StoreError: it cannot be written.
    """
    files = StoreFiles(directory)
    files.make()
    with locked(files.lock), _open_journal(files) as connection, readable_errors("journal.db"), transaction(connection):
        yield State(connection, JournalDb(connection, _NO_QUOTAS))


@contextmanager
def _open_journal(files: StoreFiles) -> Iterator[sqlite3.Connection]:
    connection = open_writer(files.journal, synchronous=Synchronous.FULL)
    try:
        with readable_errors("journal.db"):
            schema.migrate(connection, schema.JOURNAL, name="journal.db")
        yield connection
    finally:
        connection.close()


def _checkpoint(connection: sqlite3.Connection) -> None:
    with readable_errors("journal.db"):
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
