"""The parts every home has, whatever its mode: directories, the settings file, keys. Knows no certificate."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from receiver.errors import UsageError
from receiver.home import Home
from receiver.pki import files
from receiver.settings_file import commented


def make_home(home: Home, *, mode: str, given: Mapping[str, Mapping[str, object]] = MappingProxyType({})) -> None:
    """The parts every home has: directories, the settings file with what is given, keys. What is there stays.

    Raises:
        UsageError: the directory holds something else.
    """
    files.make_directory(home.root)
    if not home.settings.exists() and any(path.name != home.lock.name for path in home.root.iterdir()):
        raise UsageError(f"{home.root} is not empty and is no home of a receiver; choose another --home")
    if home.root.stat().st_uid == os.geteuid():
        home.root.chmod(files.DIRECTORY_MODE)
    # First of all: from here on it is a home, and a next start completes what this one may not finish.
    unless_there(home.settings, commented(mode=mode, given=given).encode())
    for directory in (home.nginx, home.log, home.trust, home.read_token.parent):
        files.make_directory(directory)
    unless_there(home.edge_key, f"{secrets.token_hex(32)}\n".encode())
    unless_there(home.callee_key, secrets.token_bytes(32))


def unless_there(path: Path, content: bytes) -> None:
    """Make a private file in one step: it is never seen half-written, and never overwritten."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    files.write_new(temporary, content, mode=files.KEY_MODE)
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
