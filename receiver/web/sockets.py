"""The listening sockets: inherited from whoever started us, or made here. Knows where they lie, not who comes."""

import os
import socket
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from receiver.errors import SettingsError

# sd_listen_fds(3).
_FIRST_DESCRIPTOR: Final = 3
_BACKLOG: Final = 4096
# sun_path has 108 bytes, the last one is 0; unix(7).
_PATH_BYTES: Final = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """Where requests and reports come in; `control` is None when whoever serves it makes its own."""

    edge: socket.socket
    audit: socket.socket
    ops: socket.socket
    control: socket.socket | None


@contextmanager
def listening(
    run: Path, *, ops: tuple[str, int], group: int | None, environ: MutableMapping[str, str] = os.environ
) -> Iterator[Sockets]:
    """Take the sockets that were passed (`edge`, `audit`, `ops`, `control`) and make those that were not.

    `group` is nginx's, which then owns the sockets that nginx connects to.

    Raises:
        SettingsError: one of them cannot be opened.
    """
    with ExitStack() as stack:
        given = {name: stack.enter_context(each) for name, each in _inherited(environ).items()}
        yield Sockets(
            edge=given.get("edge") or stack.enter_context(_unix(run / "edge.sock", socket.SOCK_STREAM, group)),
            audit=given.get("audit") or stack.enter_context(_unix(run / "audit.sock", socket.SOCK_DGRAM, group)),
            ops=given.get("ops") or stack.enter_context(_tcp(*ops)),
            control=given.get("control"),
        )


def _inherited(environ: MutableMapping[str, str]) -> Mapping[str, socket.socket]:
    """Sockets by the names they were passed under; the variables are taken away, for they are not our children's."""
    for_whom = environ.pop("LISTEN_PID", None)
    count = int(environ.pop("LISTEN_FDS", "0"))
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if for_whom not in {None, str(os.getpid())}:
        return {}
    found = {}
    for name, descriptor in zip(names, range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count), strict=False):
        found[name] = socket.socket(fileno=descriptor)
        # The projector must not keep our sockets open when we are gone.
        found[name].set_inheritable(False)
    return found


def _unix(path: Path, kind: socket.SocketKind, group: int | None) -> socket.socket:
    if len(os.fsencode(path)) > _PATH_BYTES:
        raise SettingsError(f"{path}: a socket's path has at most {_PATH_BYTES} bytes; choose a shorter --run-dir")
    made = socket.socket(socket.AF_UNIX, kind)
    try:
        # The store's lock is ours, so a socket that lies there is one that nobody serves.
        path.unlink(missing_ok=True)
        made.bind(str(path))
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(0o660)
        if kind is socket.SOCK_STREAM:
            made.listen(_BACKLOG)
    except OSError as exc:
        made.close()
        raise SettingsError(f"{path}: cannot be opened: {exc.strerror}") from None
    return made


def _tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        raise SettingsError(f"server.ops_port = {port}: cannot listen on {host}: {exc.strerror}") from None
