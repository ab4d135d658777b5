"""A few read-only connections to both files of a store, each for one question at a time. Knows no question."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import aiosqlite

from receiver.errors import QueryError, StoreError
from receiver.store.sqlite.connection import READ_ONLY_PRAGMAS, read_only_uri, store_error
from receiver.store.sqlite.paths import StoreFiles

CONNECTIONS: Final = 3
TIME_LIMIT_SECONDS: Final = 5.0
# Steps of SQLite's machine between two looks at the clock: about a millisecond.
_STEPS: Final = 20_000
_LOOK_FOR_REPLACEMENT_SECONDS: Final = 0.2


class Connection:
    """One read-only connection to the derived tables, with the journal's file attached."""

    def __init__(self, files: StoreFiles, time_limit_seconds: float) -> None:
        self._files = files
        self._time_limit_seconds = time_limit_seconds
        self._deadline = 0.0
        self._looked = 0.0
        self._inode: int | None = None
        self._connection: aiosqlite.Connection | None = None

    async def rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """Ask one thing.

        Raises:
            QueryError: the time was up.
            StoreError: the file cannot be read.
        """
        if self._connection is None:
            raise StoreError("derived.db: not open")
        try:
            return list(await self._connection.execute_fetchall(statement, values))
        except sqlite3.OperationalError as exc:
            if time.monotonic() < self._deadline:
                raise store_error(self._files.derived.name, exc) from exc
            limit = f"{self._time_limit_seconds:g} s"
            raise QueryError("range", f"the answer took longer than {limit}; ask for a shorter range") from None
        except sqlite3.Error as exc:
            raise store_error(self._files.derived.name, exc) from exc

    async def begin(self) -> None:
        """Start the clock for one borrower; open the file that is there now."""
        self._deadline = time.monotonic() + self._time_limit_seconds
        if time.monotonic() - self._looked < _LOOK_FOR_REPLACEMENT_SECONDS:
            return
        self._looked = time.monotonic()
        inode = await asyncio.to_thread(_inode, self._files.derived)
        if inode != self._inode:
            await self.close()
            self._connection = await self._open()
            self._inode = inode

    async def end(self) -> None:
        """Give up the snapshot; what still runs for a borrower who left is stopped."""
        self._deadline = 0.0
        if self._connection is not None:
            await self._connection.rollback()

    async def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _open(self) -> aiosqlite.Connection:
        try:
            connection = await aiosqlite.connect(read_only_uri(self._files.derived), uri=True, isolation_level=None)
        except sqlite3.Error as exc:
            raise store_error(self._files.derived.name, exc) from exc
        try:
            for pragma in READ_ONLY_PRAGMAS:
                await connection.execute_fetchall(pragma)
            await connection.execute_fetchall("attach database ? as journal_file", [read_only_uri(self._files.journal)])
            await connection.set_progress_handler(self._is_late, _STEPS)
        except sqlite3.Error as exc:
            await connection.close()
            raise store_error(self._files.journal.name, exc) from exc
        return connection

    def _is_late(self) -> int:
        return int(time.monotonic() > self._deadline)


class Pool:
    """Connections to borrow. Whoever waits too long for one is turned away: ingest outranks questions."""

    def __init__(self, files: StoreFiles, *, connections: int, time_limit_seconds: float) -> None:
        self._all = [Connection(files, time_limit_seconds) for _ in range(connections)]
        self._free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        self._time_limit_seconds = time_limit_seconds
        self._returning: set[asyncio.Task[None]] = set()
        for connection in self._all:
            self._free.put_nowait(connection)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, files: StoreFiles, *, connections: int = CONNECTIONS, time_limit_seconds: float = TIME_LIMIT_SECONDS
    ) -> AsyncIterator[Self]:
        """Lend connections until the block ends."""
        pool = cls(files, connections=connections, time_limit_seconds=time_limit_seconds)
        try:
            yield pool
        finally:
            await asyncio.gather(*pool._returning)
            for connection in pool._all:
                await connection.close()

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[Connection]:
        """One connection for one question, or for several on one snapshot.

        Raises:
            StoreError: all are busy for too long, or the file cannot be opened.
        """
        try:
            async with asyncio.timeout(self._time_limit_seconds):
                connection = await self._free.get()
        except TimeoutError:
            raise StoreError("too many questions at once; ask again later") from None
        try:
            await connection.begin()
            yield connection
        finally:
            # A borrower who is cancelled leaves a statement running; the connection comes back when it has stopped.
            task = asyncio.create_task(self._give_back(connection))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)
            await asyncio.shield(task)

    async def _give_back(self, connection: Connection) -> None:
        try:
            await connection.end()
        finally:
            self._free.put_nowait(connection)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError as exc:
        raise StoreError(f"{path.name}: {exc.strerror}") from exc
