"""Which file holds the derived tables: makes it, and puts a rebuilt one in its place. Folds nothing."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from receiver.errors import DamagedError, StoreError
from receiver.store.sqlite import schema
from receiver.store.sqlite.connection import Synchronous, open_reader, open_writer, readable_errors
from receiver.store.sqlite.derived_db import Watermark, watermark
from receiver.store.sqlite.lock import locked
from receiver.store.sqlite.paths import StoreFiles

PROJECTOR_PATIENCE_SECONDS: Final = 10.0
"""How long the projector of a killed server may take to notice."""

_READERS_PATIENCE_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 0.1
_CHECKPOINT: Final = "pragma wal_checkpoint(truncate)"


def settle(files: StoreFiles) -> None:
    """See that there is a file to read, finishing a replacement that was interrupted.

    A file that this version cannot use gives way to an empty one: all that was in it can be computed again.

    Raises:
        StoreError: it cannot be made, or a projector holds on to it.
    """
    with locked(files.projector_lock, patience_seconds=PROJECTOR_PATIENCE_SECONDS):
        finish_replacement(files)
        if present(files.derived) is None:
            discard(files.derived)
            connection = open_writer(files.derived, synchronous=Synchronous.NORMAL)
            try:
                with readable_errors(files.derived.name):
                    schema.migrate(connection, schema.DERIVED, name=files.derived.name)
            finally:
                connection.close()


def present(path: Path) -> Watermark | None:
    """How far a file is; None when there is none, or it is damaged or another version's.

    Raises:
        StoreError: it cannot be read now.
    """
    if not path.exists():
        return None
    try:
        connection = open_reader(path)
    except DamagedError:
        return None
    try:
        with readable_errors(path.name):
            return watermark(connection) if schema.is_present(connection, schema.DERIVED) else None
    except DamagedError:
        return None
    finally:
        connection.close()


def complete(files: StoreFiles) -> None:
    """Mark a rebuilt file as complete, and put it in the place of the old one. Only under the projector's lock.

    Raises:
        StoreError: readers of the old file did not finish.
    """
    _synchronise(files.rebuilt)
    _empty_log(files.derived)
    # From here on the new file is the one that counts: `finish_replacement` ends what is begun.
    files.rebuilt.rename(_completed(files))
    _synchronise(files.directory)
    finish_replacement(files)


def finish_replacement(files: StoreFiles) -> None:
    """Put a completed file in its place, and drop one that was not. Only under the projector's lock."""
    discard(files.rebuilt)
    if _completed(files).exists():
        # A log beside the file belongs to the old one; SQLite would apply it to the new one.
        _drop_companions(files.derived)
        _completed(files).rename(files.derived)
        _synchronise(files.directory)


def discard(path: Path) -> None:
    """Delete a file and its log, if they are there."""
    path.unlink(missing_ok=True)
    _drop_companions(path)


def _completed(files: StoreFiles) -> Path:
    return files.rebuilt.with_suffix(".complete")


def _drop_companions(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _empty_log(path: Path) -> None:
    """Move the old file's log into it, so that whoever opens it until it is replaced finds a whole file."""
    if present(path) is None:
        return
    with suppress(DamagedError), closing(open_writer(path, synchronous=Synchronous.NORMAL)) as connection:
        deadline = time.monotonic() + _READERS_PATIENCE_SECONDS
        while _is_busy(connection, path.name):
            if time.monotonic() > deadline:
                raise StoreError(f"{path.name}: a reader holds on to it; stop it and rebuild again")
            time.sleep(_RETRY_SECONDS)


def _is_busy(connection: sqlite3.Connection, name: str) -> bool:
    with readable_errors(name):
        return bool(connection.execute(_CHECKPOINT).fetchone()[0])


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
