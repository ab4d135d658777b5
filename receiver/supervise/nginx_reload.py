"""New files for a running nginx: tried first, then taken up, and whoever asked is told. Knows no process.

A request is a file in HOME/nginx with a word nobody used before; the answer is a file with that word and what came of
it. A root-owned systemd path unit can answer as well as the supervisor of a development home.
"""

import asyncio
import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from receiver import nginx_files
from receiver.config import Settings
from receiver.errors import ReceiverError, UsageError
from receiver.home import Home
from receiver.logs import printable
from receiver.supervise.machine import nginx_binary

_REQUEST: Final = "reload.request"
_ANSWER: Final = "reload.answer"
_LOOK_SECONDS: Final = 0.2
_ANSWER_SECONDS: Final = 15.0


def ask(home: Home) -> None:
    """Have nginx take up what settings and trust files say now; on return it was told to.

    Raises:
        UsageError: nginx would refuse the new files, and goes on with the old ones; or nobody answers.
    """
    word, deadline = secrets.token_hex(8), time.monotonic() + _ANSWER_SECONDS
    nginx_files.replace_file(home.nginx / _REQUEST, word)
    if os.geteuid() == 0:
        # Whoever answers reads it as the home's owner.
        owner = home.root.stat()
        with suppress(FileNotFoundError):
            os.chown(home.nginx / _REQUEST, owner.st_uid, owner.st_gid, follow_symlinks=False)
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS / 4)
        with suppress(FileNotFoundError, ValueError):
            answer = json.loads((home.nginx / _ANSWER).read_text("utf-8"))
            if answer["word"] == word:
                if answer["problem"]:
                    raise UsageError(answer["problem"])
                return
    (home.nginx / _REQUEST).unlink(missing_ok=True)
    raise UsageError(f"nobody answers for {home.root}: it does not run; it renders nginx's files when it starts")


async def answer_requests(home: Home, take_up: Callable[[], Awaitable[None]]) -> None:
    """Answer every request for a reload, for ever; `take_up` raises a ReceiverError when it cannot be done."""
    request = home.nginx / _REQUEST
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            word = request.read_text("utf-8")
            request.unlink()
        except OSError:
            continue
        problem = ""
        try:
            await take_up()
        except (ReceiverError, OSError) as exc:
            problem = str(exc)
        # On a full disk nobody hears the answer; that must not end the receiver.
        with suppress(OSError):
            nginx_files.replace_file(home.nginx / _ANSWER, json.dumps({"word": word, "problem": problem}))


def trial(home: Home, settings: Settings, *, certificate: Path, key: Path) -> None:
    """Render everything to a place of its own and have nginx judge it; nothing in the home changes.

    Raises:
        UsageError: nginx refuses it, or something it needs is missing.
        SettingsError: a path that nginx's syntax cannot hold.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        paths = nginx_files.EdgePaths(
            conf=directory,
            run=directory,
            access_log=directory / "access.log",
            server_certificate=certificate,
            server_key=key,
        )
        main = nginx_files.write(home, settings, paths, is_whole=True)
        command = [nginx_binary(settings), "-t", "-q", "-e", "stderr", "-p", name, "-c", str(main)]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 -- no foreign words
        if result.returncode:
            raise UsageError(f"nginx refuses it: {printable(' '.join(result.stderr.split()))}")
