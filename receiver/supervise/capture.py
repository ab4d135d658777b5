"""The nginx of `receiver capture`: rendered into a fresh private directory, started, watched, stopped."""

import asyncio
import os
import pwd
import re
import secrets
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from receiver import nginx_files
from receiver.config import Settings
from receiver.errors import UsageError
from receiver.supervise import place
from receiver.supervise.child import Child
from receiver.supervise.machine import nginx_binary, nginx_user, raise_open_files

_STOP: Final = ((signal.SIGQUIT, 7.0), (signal.SIGTERM, 3.0))
_START_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.05
_MOST_OPEN_FILES: Final = 4096
_BACKLOG: Final = 128
# nginx's words for a handshake that failed; the text behind the last colon is OpenSSL's.
_FAILED_HANDSHAKE: Final = re.compile(r"SSL_do_handshake\(\) failed \(SSL: error:[0-9A-F]+:[^:]*:[^:]*:([a-zA-Z0-9 ]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A running listener.

    Attributes:
        upstream: the listening Unix socket that nginx connects to.
        edge_key: what nginx adds to every request.
        uid: whom nginx's workers run as.
        nginx: the child.
    """

    upstream: socket.socket
    edge_key: str
    uid: int
    nginx: Child


@asynccontextmanager
async def listening(
    settings: Settings, *, port: int, certificate: Path, key: Path, log: Path
) -> AsyncIterator[Listener]:
    """Have nginx listen on a port of its own; on leaving it has ended.

    Raises:
        UsageError: the port is taken, nginx is missing, or it does not start.
        DiedError: it refuses its configuration.
    """
    host = settings.server.https_host
    place.check_port(host, port, "--port")
    user, binary, edge_key = nginx_user(settings), nginx_binary(settings), secrets.token_hex(32)
    with ExitStack() as stack:
        directory = stack.enter_context(place.private_directory(user))
        paths = nginx_files.EdgePaths(
            conf=directory,
            run=directory,
            access_log=directory / "access.log",
            server_certificate=certificate,
            server_key=key,
        )
        text = nginx_files.capture_file(
            settings,
            paths,
            port=port,
            edge_key=edge_key,
            user=user.name if user else None,
            open_files=min(raise_open_files(), _MOST_OPEN_FILES),
        )
        nginx_files.replace_file(directory / nginx_files.MAIN_FILE, text)
        upstream = stack.enter_context(_upstream(directory / "capture.sock", user.gid if user else None))
        command = [binary, "-e", "stderr", "-p", str(directory), "-c", str(directory / nginx_files.MAIN_FILE)]
        nginx = await Child.start("nginx", command, log=log, stop=_STOP)
        try:
            await _until_it_listens(nginx, "127.0.0.1" if host == "*" else host, port)
            uid = pwd.getpwnam(user.name).pw_uid if user else os.geteuid()
            yield Listener(upstream=upstream, edge_key=edge_key, uid=uid, nginx=nginx)
        finally:
            await nginx.stop()


def failed_handshakes(log: Path) -> Counter[str]:
    """How many handshakes failed, by OpenSSL's reason, as nginx's log tells."""
    with suppress(OSError):
        return Counter(_FAILED_HANDSHAKE.findall(log.read_text("utf-8", "replace")))
    return Counter()


def _upstream(path: Path, group: int | None) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(0o660)
    made.listen(_BACKLOG)
    return made


async def _until_it_listens(nginx: Child, host: str, port: int) -> None:
    died = asyncio.ensure_future(nginx.died())
    answered = asyncio.ensure_future(_connected(host, port))
    try:
        done, _ = await asyncio.wait({died, answered}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise UsageError(f"nginx does not listen on port {port} within {_START_SECONDS:.0f} seconds")
        for task in done:
            task.result()
    finally:
        died.cancel()
        answered.cancel()
        await asyncio.gather(died, answered, return_exceptions=True)


async def _connected(host: str, port: int) -> None:
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return
        await asyncio.sleep(_LOOK_SECONDS)
