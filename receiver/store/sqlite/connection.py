"""SQLite connections as this store wants them: durable, checked, one writer per file. Knows no table."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from receiver.errors import DamagedError, DiskFullError, StoreError

_CHECKPOINT_PAGES: Final = 1000
_WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
_BUSY_MS: Final = 5000
_CACHE_KIB: Final = 32 * 1024
# Strict tables came with 3.37, the operator ->> with 3.38.
_OLDEST_SQLITE: Final = (3, 38, 0)

# https://www.sqlite.org/rescode.html: the lower eight bits say what, the rest says which.
_PRIMARY_CODE: Final = 0xFF
_KINDS: Final = {
    sqlite3.SQLITE_FULL: DiskFullError,
    sqlite3.SQLITE_CORRUPT: DamagedError,
    sqlite3.SQLITE_NOTADB: DamagedError,
}

READ_ONLY_PRAGMAS: Final = (
    f"pragma busy_timeout = {_BUSY_MS}",
    "pragma query_only = on",
    # Only a file's writer checkpoints it: two at the same instant can corrupt it (sqlite.org/wal.html, section 11).
    "pragma wal_autocheckpoint = 0",
    "pragma mmap_size = 0",
    "pragma temp_store = memory",
)


class Synchronous(IntEnum):
    """When SQLite waits for the disk, in WAL mode."""

    # Never: only for a file that is thrown away unless it is finished and synchronised as a whole.
    OFF = 0
    # At checkpoints: a power cut may roll back the last commits.
    NORMAL = 1
    # At every commit: what is committed is on disk.
    FULL = 2


def open_writer(path: Path, *, synchronous: Synchronous) -> sqlite3.Connection:
    """Open the one writing connection of a file, making the file (0600) if need be.

    The connection commits nothing by itself: see `transaction`. It may be used from any one thread at a time.

    Raises:
        StoreError: the file cannot be opened, or does not become as durable as asked.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        oldest = ".".join(map(str, _OLDEST_SQLITE))
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old for this store; {oldest} or later is needed")
    with readable_errors(path.name):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _configure(connection, path, synchronous)
        except BaseException:
            connection.close()
            raise
    return connection


def _configure(connection: sqlite3.Connection, path: Path, synchronous: Synchronous) -> None:
    connection.execute(f"pragma busy_timeout = {_BUSY_MS}")
    (mode,) = connection.execute("pragma journal_mode = wal").fetchone()
    connection.execute(f"pragma synchronous = {synchronous:d}")
    (level,) = connection.execute("pragma synchronous").fetchone()
    # Asked and read back: a file system without shared memory, or an option at build time, may refuse quietly.
    if mode != "wal" or level != synchronous:
        raise StoreError(f"{path.name}: wants journal_mode=wal, synchronous={synchronous:d}; got {mode}, {level}")
    connection.execute(f"pragma wal_autocheckpoint = {_CHECKPOINT_PAGES}").fetchall()
    connection.execute(f"pragma journal_size_limit = {_WAL_LIMIT_BYTES}").fetchall()
    connection.execute("pragma mmap_size = 0").fetchall()
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma temp_store = memory")
    connection.execute(f"pragma cache_size = -{_CACHE_KIB}")


def read_only_uri(path: Path) -> str:
    """The URI under which a file is opened for reading."""
    return f"{path.absolute().as_uri()}?mode=ro"


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that can only read.

    Raises:
        StoreError: there is no such file, or it cannot be read.
    """
    with readable_errors(path.name):
        connection = sqlite3.connect(read_only_uri(path), uri=True, isolation_level=None, check_same_thread=False)
        for pragma in READ_ONLY_PRAGMAS:
            connection.execute(pragma).fetchall()
        # Nothing is read before the first question: ask one, so that a broken file is named here.
        connection.execute("select count(*) from sqlite_schema").fetchall()
    return connection


class Tables:
    """Some tables of a file, read and written through one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run statements as one transaction: all of them are kept, or on any error none."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def inserted(connection: sqlite3.Connection, statement: str, values: Sequence[Any]) -> int:
    """Insert, and give the number of the (last) new row."""
    row_id = connection.execute(statement, values).lastrowid
    assert row_id is not None  # noqa: S101 -- sqlite3 gives one after every insert
    return row_id


@contextmanager
def readable_errors(name: str) -> Iterator[None]:
    """Turn the errors of SQLite and of the file system into one clear line.

    Raises:
        StoreError: in place of either.
    """
    try:
        yield
    except sqlite3.Error as exc:
        raise store_error(name, exc) from exc
    except OSError as exc:
        raise StoreError(f"{name}: {exc.strerror or exc}") from exc


def store_error(name: str, exc: sqlite3.Error) -> StoreError:
    """Say what SQLite refuses, by its own name for it where there is one."""
    # Errors that the module raises by itself have no code.
    code, code_name = getattr(exc, "sqlite_errorcode", 0), getattr(exc, "sqlite_errorname", None)
    kind = _KINDS.get(code & _PRIMARY_CODE, StoreError)
    return kind(f"{name}: {exc} ({code_name})" if code_name else f"{name}: {exc}")
