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
from receiver.supervise import nginx_reload, place, probe
from receiver.supervise.child import Child, DiedError
from receiver.supervise.log_file import rotate
from receiver.supervise.machine import nginx_binary, nginx_user, raise_open_files
from receiver.supervise.place import locked

__all__ = ["Credentials", "DiedError", "Plan", "Running", "locked", "run"]

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
        binary, configuration = nginx_binary(plan.settings), _render(plan, directory)
        try:
            children.append(await _start_receiver(plan.home, directory, sockets))
            children.append(await _start_nginx(plan.home, binary, directory, configuration))
            await _watch(children, stop, _work(plan, directory, children))
        finally:
            plan.home.ready.unlink(missing_ok=True)
            # Ours is a copy. Where the receiver has died it is the last one, and connections would wait in it in vain.
            sockets["edge"].close()
            await _stop(children)


def _render(plan: Plan, directory: Path) -> Path:
    user = nginx_user(plan.settings)
    paths = nginx_files.EdgePaths(
        conf=plan.home.nginx,
        run=directory,
        access_log=plan.home.log / "nginx-access.log",
        server_certificate=plan.credentials.server_cert,
        server_key=plan.credentials.server_key,
    )
    return nginx_files.write(
        plan.home,
        plan.settings,
        paths,
        is_whole=True,
        user=user.name if user else None,
        open_files=raise_open_files(),
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


async def _start_nginx(home: Home, binary: str, directory: Path, configuration: Path) -> Child:
    rotate(home.log / "nginx-access.log")
    # -e: before it has read its configuration, nginx logs to a place that only root may write.
    command = [binary, "-e", "stderr", "-p", str(directory), "-c", str(configuration)]
    return await Child.start("nginx", command, log=home.log / "nginx-error.log", stop=_NGINX_STOP)


async def _watch(children: Sequence[Child], stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Return when told to stop; raise when a child dies or our own work fails, which never ends by itself."""
    ends = (stop.wait(), work, *(child.died() for child in children))
    tasks = [asyncio.ensure_future(each) for each in ends]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _work(plan: Plan, directory: Path, children: list[Child]) -> None:
    """Get ready, then have nginx take up new files whenever somebody asks for it."""
    _, nginx = children
    await _get_ready(plan)
    if plan.companion:
        children.append(await _start_companion(plan.home, plan.companion))

    async def take_up() -> None:
        credentials = plan.credentials
        await asyncio.to_thread(
            nginx_reload.trial,
            plan.home,
            plan.settings,
            certificate=credentials.server_cert,
            key=credentials.server_key,
        )
        _render(plan, directory)
        nginx.signal(signal.SIGHUP)

    await nginx_reload.answer_requests(plan.home, take_up)


async def _get_ready(plan: Plan) -> None:
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
