"""A child's log on disk: whole lines, private, rotated, without URL keys. Knows no child."""

import os
import re
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

_GENERATIONS: Final = 3
_MOST_BYTES: Final = 16 * 1024 * 1024
_LONGEST_LINE: Final = 64 * 1024
_LAST_LINES: Final = 5
# nginx puts the request into its error lines, and with it the URL key. What follows `request: "` is foreign text that
# may hold any quote, so the line is cut there and only what cannot be a key is put back.
_REQUEST: Final = b', request: "'
_ADDRESS: Final = re.compile(rb"[A-Z]{1,16} (/callbacks/[a-z0-9_-]{1,32}/[A-Za-z0-9_-]{1,64})[/ ]")


def redacted(line: bytes) -> bytes:
    """The line without anything that could hold a URL key."""
    head, mark, request = line.partition(_REQUEST)
    if not mark:
        return line
    address = _ADDRESS.match(request)
    return b'%b%b%b"' % (head, mark, address[1] if address else b"(withheld)")


class LogFile:
    """Appends lines to a file of mode 0600; the last few can be shown when the child has died.

    On a full disk lines are lost: the child must not come to a halt because nobody empties its pipe.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        self._rest = b""
        rotate(path)
        self._file = _open(path)

    def write(self, chunk: bytes) -> None:
        """Take bytes as they come out of a pipe; what is not a whole line yet waits for its end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._append(line)
        with suppress(OSError):
            if os.fstat(self._file).st_size > _MOST_BYTES:
                self._rotate()

    def close(self) -> None:
        """Write what is left."""
        if self._rest:
            self._append(self._rest)
        os.close(self._file)

    def _append(self, line: bytes) -> None:
        line = redacted(line)
        self.last.append(line.decode("utf-8", "replace"))
        with suppress(OSError):
            os.write(self._file, line + b"\n")

    def _rotate(self) -> None:
        rotate(self.path)
        old, self._file = self._file, _open(self.path)
        os.close(old)


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def rotate(path: Path) -> None:
    """Make room for a new file: PATH becomes PATH.1, that PATH.2, and the oldest goes."""
    for number in reversed(range(_GENERATIONS)):
        older = path.with_name(f"{path.name}.{number + 1}")
        newer = path.with_name(f"{path.name}.{number}") if number else path
        if newer.exists():
            newer.replace(older)
