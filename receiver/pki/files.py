"""Files that hold keys and certificates: made once, replaced whole, never in between. Knows no certificate."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from receiver.errors import CertificateError

KEY_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644
DIRECTORY_MODE: Final = 0o700

_LOCK_FILE: Final = ".lock"
_LOCK_SECONDS: Final = 10.0
_LOCK_PAUSE_SECONDS: Final = 0.02
_SECOND_NS: Final = 1_000_000_000


def make_directory(path: Path) -> None:
    """Make a directory that only its owner enters; one that is there keeps its mode.

    Raises:
        CertificateError: it cannot be made.
    """
    try:
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as exc:
        raise CertificateError(f"{path}: cannot be made: {exc.strerror}") from None


def write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file that must not be there yet; the mode holds from the first moment, whatever the umask.

    Raises:
        CertificateError: it exists (and stays as it is), or cannot be written (and is not left half-written).
    """
    try:
        _write(path, content, mode=mode)
    except FileExistsError:
        raise CertificateError(f"{path}: exists already and is never overwritten") from None
    except OSError as exc:
        raise CertificateError(f"{path}: cannot be written: {exc.strerror}") from None
    sync_directory(path.parent)


def replace(path: Path, content: bytes, *, mode: int = PUBLIC_MODE) -> None:
    """Replace a public file as a whole, with a strictly newer modification time in seconds.

    nginx from 1.27.4 on tells by inode and second whether a CRL has changed.

    Raises:
        CertificateError: it cannot be written; the old file stays.
    """
    # One writer at a time holds the lock, but a crash may have left its file behind.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        _write(temporary, content, mode=mode)
        _make_newer(temporary, than=path)
        temporary.replace(path)
    except OSError as exc:
        with suppress(OSError):
            temporary.unlink()
        raise CertificateError(f"{path}: cannot be written: {exc.strerror}") from None
    sync_directory(path.parent)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Be the only one that changes a directory's register, its numbers and its CRLs.

    Raises:
        CertificateError: another command holds the lock for too long.
    """
    make_directory(directory)
    deadline = time.monotonic() + _LOCK_SECONDS
    descriptor = _open_lock(directory / _LOCK_FILE)
    try:
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise CertificateError(f"{directory}: another certs command is at work; try again when it has ended")
            time.sleep(_LOCK_PAUSE_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, KEY_MODE)
    except OSError as exc:
        raise CertificateError(f"{path}: cannot be opened: {exc.strerror}") from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(path: Path, content: bytes, *, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- a descriptor, not a path
            # Against a umask that takes more than it should: nginx and the receiver must read public files.
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


def _make_newer(path: Path, *, than: Path) -> None:
    try:
        old = than.stat().st_mtime_ns
    except FileNotFoundError:
        return
    newer = max(path.stat().st_mtime_ns, (old // _SECOND_NS + 1) * _SECOND_NS)
    os.utime(path, ns=(newer, newer))


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
