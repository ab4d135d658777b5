"""Commands that write, from a terminal to whoever serves the store; or done here when nobody does. JSON lines.

A request is `{"command": NAME, "arguments": {...}}`; the answers are any number of `{"progress": ...}`, then one of
`{"result": ...}` and `{"error": REASON, "message": ...}`. The socket is 0600, and only its owner and root are heard.
"""

import asyncio
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from receiver import commands, config
from receiver.errors import ReceiverError, StoreError, StoreLockedError, UsageError
from receiver.home import Home
from receiver.journal import Journal
from receiver.projector_process import ProjectorProcess
from receiver.store.sqlite import SqliteStore, offline

REBUILD: Final = "rebuild"
"""Computes the derived tables anew; the progress is `{"done": rows, "rows": of}`."""

Say: TypeAlias = Callable[[Any], None]

_LINE_BYTES: Final = 1024 * 1024
_CONNECT_SECONDS: Final = 5.0
_RUN_DIRECTORY: Final = Path("/run/receiver")
_SOCKET_NAME: Final = "control.sock"
# struct ucred: pid, uid, gid. See unix(7), SO_PEERCRED.
_UCRED: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Request:
    """One command of one caller. `say` sends progress; `actor` is for the audit."""

    arguments: Mapping[str, Any]
    actor: str
    say: Say


Handler: TypeAlias = Callable[[Request], Awaitable[Any]]
"""Carries a command out; gives what JSON can hold, or raises a ReceiverError."""


def socket_path(home: Home) -> Path:
    """Where the server of a home listens for commands."""
    try:
        directory = Path(home.run_file.read_text("utf-8").strip())
    except OSError:
        directory = _RUN_DIRECTORY
    return directory / _SOCKET_NAME


@asynccontextmanager
async def listening(
    handlers: Mapping[str, Handler], *, path: Path | None = None, sock: socket.socket | None = None
) -> AsyncIterator[None]:
    """Carry commands out until the block ends, on a socket made at the path (0600) or given.

    Raises:
        StoreError: the socket cannot be made.
    """
    sessions: set[asyncio.Task[None]] = set()

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve(handlers, reader, writer))
        sessions.add(task)
        task.add_done_callback(sessions.discard)

    if path is not None:
        sock = await asyncio.to_thread(_bound, path)
    server = await asyncio.start_unix_server(session, sock=sock, limit=_LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        for task in sessions:
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        await server.wait_closed()


def _bound(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        # Before the bind: on Linux the file that it makes gets the socket's own mode, so it is never open to others.
        os.fchmod(made.fileno(), 0o600)
        # The store's lock is ours, so a socket that lies there is one that nobody serves.
        path.unlink(missing_ok=True)
        made.bind(str(path))
    except OSError as exc:
        made.close()
        raise StoreError(f"{path}: {exc.strerror}") from exc
    return made


async def _serve(handlers: Mapping[str, Handler], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    def say(document: Mapping[str, Any]) -> None:
        writer.write(orjson.dumps(document, default=_plain) + b"\n")

    try:
        say(await _answer(handlers, await reader.readline(), _peer_uid(writer), say))
        await writer.drain()
    except (ConnectionError, ValueError):  # the caller went away, or sent a line without end
        pass
    finally:
        writer.close()


async def _answer(handlers: Mapping[str, Handler], line: bytes, uid: int, say: Say) -> Mapping[str, Any]:
    if uid not in {os.geteuid(), 0}:
        return _refusal(UsageError("commands are taken from the receiver's own user and root only"))
    try:
        asked = orjson.loads(line)
        handler, arguments = handlers[asked["command"]], dict(asked["arguments"])
    except (ValueError, KeyError, TypeError):
        return _refusal(UsageError("whatever serves this store does not know that command"))
    try:
        request = Request(arguments, commands.actor_of(uid), lambda progress: say({"progress": progress}))
        return {"result": await handler(request)}
    except ReceiverError as exc:
        return _refusal(exc)


def _refusal(exc: ReceiverError) -> Mapping[str, Any]:
    return {"error": exc.reason, "message": str(exc)}


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(peer)[1])


def _plain(value: object) -> Any:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError


def serving(store: SqliteStore, journal: Journal, projector: ProjectorProcess) -> dict[str, Handler]:
    """The commands as whoever serves the store carries them out."""

    def of(command: str) -> Handler:
        async def handler(request: Request) -> Any:
            now_us = time.time_ns() // 1000
            return await store.write(
                lambda state: commands.perform(state, command, request.arguments, actor=request.actor, now_us=now_us)
            )

        return handler

    async def decide(request: Request) -> int:
        now_us = time.time_ns() // 1000
        decision = commands.decision_of(request.arguments, actor=request.actor, now_us=now_us)
        receipt = await journal.keep(decision)
        await store.write(
            lambda state: commands.audit(state, commands.DECIDE, request.arguments, actor=request.actor, now_us=now_us)
        )
        return receipt.seq

    async def rebuild(request: Request) -> dict[str, Any]:
        return await projector.rebuild(lambda done, rows: request.say({"done": done, "rows": rows}))

    known = {name: of(name) for name in (*commands.QUESTIONS, *commands.CHANGES)}
    return known | {commands.DECIDE: decide, REBUILD: rebuild}


def call(home: Home, command: str, *, on_progress: Say = lambda _: None, **arguments: Any) -> Any:
    """Carry a command out: by whoever serves the home's store, or here and now when nobody does.

    Raises:
        ReceiverError: what went wrong, in one line.
    """
    directory = config.store_directory(config.load(home.root), home.root)
    try:
        with offline(directory) as state:
            result = commands.perform(
                state, command, arguments, actor=commands.actor_of(os.geteuid()), now_us=time.time_ns() // 1000
            )
    except StoreLockedError as locked:
        return _ask(home, command, arguments, on_progress, locked)
    return orjson.loads(orjson.dumps(result, default=_plain))


def _ask(home: Home, command: str, arguments: Mapping[str, Any], on_progress: Say, locked: StoreLockedError) -> Any:
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(_CONNECT_SECONDS)
        try:
            connection.connect(str(socket_path(home)))
        except OSError:
            # Not a server, then, but another command; it will not take long.
            raise locked from None
        # A rebuild takes its time.
        connection.settimeout(None)
        try:
            request = {"command": command, "arguments": arguments}
            connection.sendall(orjson.dumps(request, default=_plain) + b"\n")
            with connection.makefile("rb") as lines:
                for answer in map(orjson.loads, lines):
                    if "progress" not in answer:
                        return _result(answer)
                    on_progress(answer["progress"])
        except OSError as exc:
            raise StoreError(f"the receiver did not carry the command out: {exc}") from exc
    raise StoreError("the receiver ended before it had carried the command out; ask again")


def _result(answer: Mapping[str, Any]) -> Any:
    if "error" in answer:
        raise UsageError(answer["message"])
    return answer["result"]
