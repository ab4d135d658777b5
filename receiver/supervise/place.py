"""Where a development home meets the machine: its run directory, its listening sockets, its ports. Starts nothing."""

import errno
import fcntl
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from receiver.config import Settings
from receiver.errors import UsageError
from receiver.home import Home
from receiver.supervise.machine import NginxUser

_PREFIX: Final = "receiver-"
# sun_path has 108 bytes, the last one is 0.
_SOCKET_PATH_BYTES: Final = 107
_LONGEST_SOCKET_NAME: Final = "control.sock"
# nginx reads a comma in a syslog address as its end, and other characters have meanings too.
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9/._-]+")
_BACKLOG: Final = 4096
_RETRY_SECONDS: Final = 0.1


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Be the only one that runs this home.

    Raises:
        UsageError: somebody else does.
    """
    descriptor = os.open(home.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            raise UsageError(
                f"{home.root} is running already, as process {holder}; stop it, or choose another --home and ports"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def run_directory(home: Home, user: NginxUser | None) -> Iterator[Path]:
    """A fresh short directory for the sockets, named in the home while it exists."""
    _remove_stale(home)
    with private_directory(user) as path:
        try:
            home.run_file.write_text(f"{path}\n", "utf-8")
            yield path
        finally:
            home.run_file.unlink(missing_ok=True)


@contextmanager
def private_directory(user: NginxUser | None) -> Iterator[Path]:
    """A fresh short directory for sockets that only we, and nginx's workers, enter; gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_base()))
    try:
        if user:
            os.chown(path, -1, user.gid)
            path.chmod(0o750)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def check_port(host: str, port: int, option: str) -> None:
    """Is a port free for nginx, whose own complaint would come late and name no option?

    Raises:
        UsageError: it is not; names the option that chooses another.
    """
    _listener("" if host == "*" else host, port, option, time.monotonic()).close()


def _base() -> Path:
    # Root's runtime directory is closed to nginx's workers.
    runtime = os.environ.get("XDG_RUNTIME_DIR", "") if os.geteuid() else ""
    for base in (runtime, tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes a private directory in it
        name = f"{base}/{_PREFIX}12345678/{_LONGEST_SOCKET_NAME}"
        if _PLAIN_PATH.fullmatch(base) and len(name) <= _SOCKET_PATH_BYTES and os.access(base, os.W_OK | os.X_OK):
            return Path(base)
    raise UsageError("no place for sockets: neither XDG_RUNTIME_DIR nor /tmp is short, plain and writable")


def _remove_stale(home: Home) -> None:
    """Clear away what a killed run left; only what certainly is such a directory of ours."""
    with suppress(OSError):
        path = Path(home.run_file.read_text("utf-8").strip())
        status = path.lstat()
        if path.name.startswith(_PREFIX) and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def listening(
    settings: Settings, run: Path, user: NginxUser | None, *, patience_seconds: float
) -> Iterator[Mapping[str, socket.socket]]:
    """The sockets we own, by name: a receiver that restarts finds its connections waiting in them.

    A port that is taken is tried again for as long as the patience lasts: a killed run may still be ending.

    Raises:
        UsageError: a port is taken; which, and the option that chooses another.
    """
    server, deadline = settings.server, time.monotonic() + patience_seconds
    # Asked before nginx does: its own complaint would come late and name no option.
    https_host = "" if server.https_host == "*" else server.https_host
    _listener(https_host, server.https_port, "--https-port", deadline).close()
    with ExitStack() as stack:
        ops = stack.enter_context(_listener(server.ops_host, server.ops_port, "--ops-port", deadline))
        edge = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        audit = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        for each, path in ((edge, run / "edge.sock"), (audit, run / "audit.sock")):
            each.bind(str(path))
            if user:
                os.chown(path, -1, user.gid)
            path.chmod(0o660)
        edge.listen(_BACKLOG)
        yield {"edge": edge, "ops": ops, "audit": audit}


def _listener(host: str, port: int, option: str, deadline: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        try:
            return socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise _port_error(exc, host, port, option) from None
        time.sleep(_RETRY_SECONDS)


def _port_error(error: OSError, host: str, port: int, option: str) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(f"port {port} is in use; choose another with {option}")
    if error.errno == errno.EACCES:
        return UsageError(f"port {port} may only be opened by root; choose one above 1023 with {option}")
    return UsageError(f"cannot listen on {host or '*'} port {port}: {error.strerror or error}")
