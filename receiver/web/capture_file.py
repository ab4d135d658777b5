"""A capture's file: one JSON line for each request, on disk before anybody is answered. Knows nothing of HTTP."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from receiver.errors import QuotaError, StoreError, UsageError

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700


class CaptureFile:
    """Appends records, each fsynced; bounded in number and bytes. `records` are those on disk.

    The bodies are in memory as well, for the report: both bounds hold for them too.
    """

    def __init__(self, path: Path, *, most_records: int, most_bytes: int) -> None:
        """Make the file, mode 0600, in a directory only its owner enters.

        Raises:
            UsageError: it is there already, or cannot be made.
        """
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._size = 0
        self._turn = asyncio.Lock()
        self._file = _made(path)

    async def keep(self, record: Mapping[str, Any]) -> None:
        """Append a record. On return it is on disk.

        Raises:
            QuotaError: the capture is full.
            StoreError: it could not be written; the file is as before.
        """
        line = orjson.dumps(record) + b"\n"
        async with self._turn:
            if len(self.records) >= self._most_records or self._size + len(line) > self._most_bytes:
                raise QuotaError("captured")
            await asyncio.to_thread(self._write, line)
            self._size += len(line)
            self.records.append(dict(record))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        try:
            self._append(line)
        except OSError as exc:
            # What was not answered with success must not look as if it had been.
            os.ftruncate(self._file, self._size)
            raise StoreError(f"{self.path}: cannot be written: {exc.strerror}") from None

    def _append(self, line: bytes) -> None:
        written = 0
        while written < len(line):
            written += os.pwrite(self._file, line[written:], self._size + written)
        os.fsync(self._file)


def write_private(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600.

    Raises:
        UsageError: it is there already, or cannot be written.
    """
    descriptor = _made(path)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor, not a path
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError as exc:
        raise UsageError(f"{path}: cannot be written: {exc.strerror}") from None


def _made(path: Path) -> int:
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise UsageError(f"{path}: cannot be made: {exc.strerror}") from None
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return descriptor
