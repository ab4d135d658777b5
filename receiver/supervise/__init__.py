"""The parent of a development home: opens the sockets, starts receiver and nginx, and ends all of it together."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from receiver import nginx_files
from receiver.config import Settings
from receiver.errors import UsageError
from receiver.home import Home
from receiver.supervise import place, probe
from receiver.supervise.child import Child, DiedError
from receiver.supervise.log_file import rotate
from receiver.supervise.machine import NginxUser, nginx_binary, nginx_user, raise_open_files
from receiver.supervise.place import locked

__all__ = [
    "Credentials",
    "DiedError",
    "NginxUser",
    "Plan",
    "Running",
    "edge_paths",
    "locked",
    "nginx_binary",
    "nginx_user",
    "raise_open_files",
    "run",
]

_READY_SECONDS: Final = 60.0
# nginx gives its busy connections ten seconds (worker_shutdown_timeout), the receiver drains its queue.
_NGINX_STOP: Final = ((signal.SIGQUIT, 12.0), (signal.SIGTERM, 3.0))
_RECEIVER_STOP: Final = ((signal.SIGTERM, 30.0),)
_COMPANION_STOP: Final = ((signal.SIGTERM, 3.0),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The files of the development PKI that a run and its first client need."""

    server_cert: Path
    server_key: Path
    server_ca: Path
    client_cert: Path
    client_key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A development home that answers; what `ready.json` says."""

    callbacks_url: str
    ops_url: str
    token_file: Path
    server_ca: Path
    client_cert: Path
    client_key: Path
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run, and what to do when it answers.

    Attributes:
        patience_seconds: how long a port that is taken is tried again.
        companion: one more of our commands, with its arguments but for --home, that runs beside the others once they
            are ready; nobody minds when it ends.
    """

    home: Home
    settings: Settings
    credentials: Credentials
    on_ready: Callable[[Running], Awaitable[None]]
    patience_seconds: float = 0.0
    companion: Sequence[str] = ()


async def run(plan: Plan) -> None:
    """Run a development home until it is told to stop; on return everything has ended well.

    Raises:
        UsageError: a port is taken, nginx is missing, or nothing answers in time.
        DiedError: the receiver or nginx ended by itself, or had to be killed.
    """
    children: list[Child] = []
    stop = _stop_event(children)
    with ExitStack() as stack:
        user = nginx_user(plan.settings)
        directory = stack.enter_context(place.run_directory(plan.home, user))
        patience = plan.patience_seconds
        sockets = stack.enter_context(place.listening(plan.settings, directory, user, patience_seconds=patience))
        nginx_command = _nginx_command(plan, directory)
        try:
            children.append(await _start_receiver(plan.home, directory, sockets))
            children.append(await _start_nginx(plan.home, nginx_command))
            await _watch(children, stop, _get_ready(plan, children))
        finally:
            plan.home.ready.unlink(missing_ok=True)
            await _stop(children)


def _nginx_command(plan: Plan, directory: Path) -> list[str | Path]:
    home, settings, credentials = plan.home, plan.settings, plan.credentials
    binary = nginx_binary(settings)
    paths = edge_paths(home, directory, certificate=credentials.server_cert, key=credentials.server_key)
    rotate(paths.access_log)
    user = nginx_user(settings)
    configuration = nginx_files.write(
        home, settings, paths, user=user.name if user else None, open_files=raise_open_files()
    )
    # -e: before it has read its configuration, nginx logs to a place that only root may write.
    return [binary, "-e", "stderr", "-p", directory, "-c", configuration]


def edge_paths(home: Home, directory: Path, *, certificate: Path, key: Path) -> nginx_files.EdgePaths:
    """Where the nginx of a development home has things, with its sockets in this directory."""
    return nginx_files.EdgePaths(
        conf=home.nginx,
        run=directory,
        access_log=home.log / "nginx-access.log",
        server_certificate=certificate,
        server_key=key,
    )


async def _start_receiver(home: Home, directory: Path, sockets: Mapping[str, socket.socket]) -> Child:
    return await Child.start(
        "receiver",
        [sys.executable, "-m", "receiver", "serve", "--home", home.root, "--run-dir", directory],
        log=home.log / "receiver.log",
        sockets=sockets,
        stop=_RECEIVER_STOP,
    )


async def _start_companion(home: Home, arguments: Sequence[str]) -> Child:
    command = [sys.executable, "-m", "receiver", *arguments, "--home", str(home.root)]
    return await Child.start("companion", command, log=home.log / "companion.log", stop=_COMPANION_STOP)


async def _start_nginx(home: Home, command: Sequence[str | Path]) -> Child:
    return await Child.start("nginx", command, log=home.log / "nginx-error.log", stop=_NGINX_STOP)


async def _watch(children: Sequence[Child], stop: asyncio.Event, ready: Coroutine[Any, Any, None]) -> None:
    """Return when told to stop; raise when a child dies or nothing gets ready."""
    starting = asyncio.create_task(ready)
    watched = [asyncio.create_task(stop.wait()), *(asyncio.create_task(child.died()) for child in children)]
    try:
        done, _ = await asyncio.wait((starting, *watched), return_when=asyncio.FIRST_COMPLETED)
        if done == {starting}:
            starting.result()
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (starting, *watched):
            task.cancel()
        await asyncio.gather(starting, *watched, return_exceptions=True)


async def _get_ready(plan: Plan, children: list[Child]) -> None:
    """Wait until both sides answer, and tell the world."""
    server, credentials = plan.settings.server, plan.credentials
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await probe.receiver_is_ready(server)
            client = (credentials.client_cert, credentials.client_key)
            await probe.nginx_answers(server, server_ca=credentials.server_ca, client=client)
    except TimeoutError:
        raise UsageError(f"no answer within {_READY_SECONDS:.0f} seconds; look into {plan.home.log}") from None
    running = Running(
        callbacks_url=f"https://localhost:{server.https_port}/callbacks/tencent/demo",
        ops_url=f"http://{server.ops_host}:{server.ops_port}",
        token_file=plan.home.read_token,
        server_ca=credentials.server_ca,
        client_cert=credentials.client_cert,
        client_key=credentials.client_key,
        pid=os.getpid(),
    )
    nginx_files.replace_file(plan.home.ready, json.dumps(asdict(running), default=str, indent=1) + "\n")
    await plan.on_ready(running)
    if plan.companion:
        children.append(await _start_companion(plan.home, plan.companion))


def _stop_event(children: Iterable[Child]) -> asyncio.Event:
    """Set at the first signal; every further one tells the children to hurry."""
    stop = asyncio.Event()

    def requested() -> None:
        if stop.is_set():
            for child in children:
                child.signal(signal.SIGTERM)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, requested)
    return stop


async def _stop(children: Sequence[Child]) -> None:
    """First nginx, so that nothing new comes in, then the receiver; both always, whatever happens to the first."""
    slow = [child for child in reversed(children) if not await child.stop()]
    if slow:
        raise DiedError("; ".join(f"{child.name} did not stop in time and was killed" for child in slow))
