"""One process per store: an advisory lock that the kernel takes back when its holder dies. Knows only a file."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from receiver.errors import StoreError, StoreLockedError

_RETRY_SECONDS: Final = 0.05


@contextmanager
def locked(path: Path, *, patience_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file (made 0600 if need be), which names the holding process for people to read.

    Raises:
        StoreLockedError: another holder did not let go within the patience.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreError(f"{path}: {exc.strerror}") from exc
    try:
        _acquire(descriptor, path, deadline=time.monotonic() + patience_seconds)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, *, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _in_use(descriptor, path) from None
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _in_use(descriptor: int, path: Path) -> StoreLockedError:
    holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
    return StoreLockedError(f"the store {path.parent} is in use by process {holder or 'unknown'}")
