"""Where nginx takes its server certificate from: one link tells which pair counts, so a change is whole or not at all.

nginx/server.pem -> server/current/fullchain.pem
nginx/server.key -> server/current/privkey.pem
nginx/server/current -> 20261122-5f3a9c01         one directory for each pair that was ever installed

A key is written once, into a directory of its own, and stays there.
"""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from receiver.errors import CertificateError
from receiver.pki import files
from receiver.pki.server_chain import ServerChain

_DIRECTORY: Final = "server"
_CURRENT: Final = "current"
_CERTIFICATE: Final = "fullchain.pem"
_KEY: Final = "privkey.pem"
_ROOT: Final = "root.pem"
_SERIAL_DIGITS: Final = 8


def install(chain: ServerChain, *, certificate: Path, key: Path, now: int) -> str | None:
    """Make nginx's two paths mean this pair; the answer is the name of the pair before, for `switch`.

    Raises:
        CertificateError: a file cannot be written; what was there still counts.
    """
    place = certificate.parent / _DIRECTORY
    try:
        with files.locked(place):
            pair = _kept(place, chain, now=now)
            previous = _adopted(place, certificate=certificate, key=key) or _current(place)
            _point(place / _CURRENT, pair if previous is None else previous)
            # Both mean what they meant before; the next step alone decides.
            _point(key, f"{_DIRECTORY}/{_CURRENT}/{_KEY}")
            _point(certificate, f"{_DIRECTORY}/{_CURRENT}/{_CERTIFICATE}")
            _point(place / _CURRENT, pair)
    except OSError as exc:
        raise CertificateError(f"{exc.filename}: cannot be written: {exc.strerror}") from None
    return previous


def own_root(certificate: Path) -> Path | None:
    """The roots that were given with the pair that counts, if any were."""
    path = certificate.resolve().with_name(_ROOT)
    return path if path.is_file() else None


def switch(certificate: Path, pair: str) -> None:
    """Have another pair count that was installed before.

    Raises:
        CertificateError: the link cannot be written.
    """
    try:
        _point(certificate.parent / _DIRECTORY / _CURRENT, pair)
    except OSError as exc:
        raise CertificateError(f"{exc.filename}: cannot be written: {exc.strerror}") from None


def _kept(place: Path, chain: ServerChain, *, now: int) -> str:
    """The directory of this pair: the one it has already, or a new one."""
    for directory in _candidates(place, chain, now=now):
        if not directory.exists():
            draft = directory.with_name(f".{directory.name}.{os.getpid()}")
            try:
                files.make_directory(draft)
                files.write_new(draft / _KEY, chain.key, mode=files.KEY_MODE)
                files.write_new(draft / _CERTIFICATE, chain.pem, mode=files.PUBLIC_MODE)
                if chain.root is not None:
                    files.write_new(draft / _ROOT, chain.root, mode=files.PUBLIC_MODE)
                draft.rename(directory)
            except BaseException:
                # Only our own copy of a key that the caller still has.
                shutil.rmtree(draft, ignore_errors=True)
                raise
            files.sync_directory(place)
            return directory.name
        if (directory / _KEY).read_bytes() == chain.key and (directory / _CERTIFICATE).read_bytes() == chain.pem:
            return directory.name
    raise AssertionError


def _candidates(place: Path, chain: ServerChain, *, now: int) -> Iterator[Path]:
    day = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d")
    serial = f"{chain.leaf.serial_number:0{_SERIAL_DIGITS}x}"
    name = f"{day}-{serial[-_SERIAL_DIGITS:]}"
    yield place / name
    turn = 2
    while True:
        yield place / f"{name}-{turn}"
        turn += 1


def _current(place: Path) -> str | None:
    path = place / _CURRENT
    return str(path.readlink()) if path.is_symlink() else None


def _adopted(place: Path, *, certificate: Path, key: Path) -> str | None:
    """Files that somebody put there by hand are kept under a second name before their first becomes a link."""
    found = [(path, name) for path, name in ((key, _KEY), (certificate, _CERTIFICATE)) if _is_plain(path)]
    if not found:
        return None
    status = found[0][0].stat()
    directory = place / f"found-{status.st_ino}-{status.st_mtime_ns}"
    files.make_directory(directory)
    for source, name in found:
        if not (directory / name).exists():
            os.link(source, directory / name)
    files.sync_directory(directory)
    is_pair = (directory / _KEY).exists() and (directory / _CERTIFICATE).exists()
    return directory.name if is_pair else None


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _point(link: Path, target: str) -> None:
    """Make a link, or let one mean something else, in one step."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    files.sync_directory(link.parent)
