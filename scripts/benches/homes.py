"""What a bench measures against: a development home of its own, and the same nginx in front of something cheaper."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benches.processes import family

ROOT: Final = Path(__file__).resolve().parents[2]
CALLBACKS_PATH: Final = "/callbacks/tencent/bench"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_FOLD_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.05
# A side that is refused for its speed looks slow: the rate limit, which protects, has no part in a measurement.
_UNLIMITED: Final = {"RECEIVER_LIMITS__REQUESTS_PER_SECOND": "1000000", "RECEIVER_LIMITS__REQUESTS_BURST": "1000000"}
_CALLBACKS_LOCATION: Final = re.compile(r'^    location ~ "\^/callbacks/.*\{$', re.MULTILINE)
_ANSWER_AT_ONCE: Final = '\n        default_type application/json;\n        return 200 \'{"result":0,"errmsg":"OK"}\';'


class HomeError(Exception):
    """Something that a bench needs did not start, or broke."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Something that listens with mutual TLS: `roots` are its processes by name, without their descendants."""

    port: int
    roots: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningHome:
    """A development home under `receiver run`, with what its `ready.json` says."""

    directory: Path
    side: Side
    ready: Mapping[str, Any]

    def tls(self) -> ssl.SSLContext:
        """The carrier's side of its mutual TLS."""
        context = ssl.create_default_context(cafile=self.ready["server_ca"])
        context.load_cert_chain(self.ready["client_cert"], self.ready["client_key"])
        return context

    def summary(self) -> dict[str, Any]:
        """Today's figures."""
        token = Path(self.ready["token_file"]).read_text("utf-8").strip()
        url = f"{self.ready['ops_url']}/api/v1/summary"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - the same
            return dict(json.load(response))

    def settled(self) -> tuple[int, float]:
        """Wait until all is folded; the last folded journal cursor, and how long it took.

        Raises:
            HomeError: that took too long.
        """
        began = time.monotonic()
        while time.monotonic() - began < _FOLD_SECONDS:
            summary = self.summary()
            if not summary["fold_lag_seconds"]:
                return int(summary["watermark"]), time.monotonic() - began
            time.sleep(_POLL_SECONDS)
        raise HomeError(f"not folded within {_FOLD_SECONDS:.0f} s")


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def development_home(directory: Path) -> Iterator[RunningHome]:
    """Start a development home and stop it at the end.

    Raises:
        HomeError: it does not get ready; its last words are in the message.
    """
    port, ready = free_port(), directory / "ready.json"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "receiver", "run", "--home", str(directory)]
    ports = ["--https-port", str(port), "--ops-port", str(free_port())]
    with _child([*command, *ports], log=directory.parent / "run.log", environment=_UNLIMITED) as process:
        _wait_for(ready.exists, process, directory.parent / "run.log")
        content = json.loads(ready.read_text("utf-8"))
        yield RunningHome(directory=directory, side=Side(port=port, roots={"receiver": process.pid}), ready=content)


@contextmanager
def answering_only(home: RunningHome, directory: Path) -> Iterator[Side]:
    """The home's nginx configuration once more, in front of an application that only answers."""
    with ExitStack() as stack:
        run = stack.enter_context(_run_directory(home))
        socket_file, log = run / "edge.sock", directory / "answering.log"
        environment = {"PYTHONPATH": os.pathsep.join((str(ROOT / "scripts"), str(ROOT)))}
        application = stack.enter_context(
            _child([sys.executable, "-m", "benches.answering", str(socket_file)], log=log, environment=environment)
        )
        _wait_for(socket_file.exists, application, log)
        side = stack.enter_context(_nginx_copy(home, directory, run=run, edit=lambda text: text))
        yield Side(port=side.port, roots={**side.roots, "answering": application.pid})


@contextmanager
def nginx_alone(home: RunningHome, directory: Path) -> Iterator[Side]:
    """The home's nginx configuration once more, answering by itself."""

    def edit(text: str) -> str:
        return _CALLBACKS_LOCATION.sub(lambda found: found[0] + _ANSWER_AT_ONCE, text)

    with _run_directory(home) as run, _nginx_copy(home, directory, run=run, edit=edit) as side:
        yield side


@contextmanager
def _run_directory(home: RunningHome) -> Iterator[Path]:
    """A directory for sockets with the rights of the home's own."""
    original = Path((home.directory / "run").read_text("utf-8").strip()).stat()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        run = Path(name)
        run.chmod(original.st_mode & 0o7777)
        os.chown(run, original.st_uid, original.st_gid)
        yield run


@contextmanager
def _nginx_copy(home: RunningHome, directory: Path, *, run: Path, edit: Callable[[str], str]) -> Iterator[Side]:
    master = next(process for process in family(home.side.roots["receiver"]) if "master process" in process.command[0])
    port = free_port()
    moved = {
        str(home.directory / "nginx"): str(directory / "nginx"),
        str(home.directory / "log"): str(directory / "log"),
        (home.directory / "run").read_text("utf-8").strip(): str(run),
        f":{home.side.port} ": f":{port} ",
    }
    shutil.copytree(home.directory / "nginx", directory / "nginx")
    (directory / "log").mkdir()
    for file in (directory / "nginx").glob("*.conf"):
        file.write_text(edit(_moved(file.read_text("utf-8"), moved)), "utf-8")
    words = master.command[0].partition("master process ")[2].split()
    with _child([_moved(word, moved) for word in words], log=directory / "nginx.log") as process:
        _wait_for(lambda: _is_listening(port), process, directory / "nginx.log")
        yield Side(port=port, roots={"nginx": process.pid})


def _moved(text: str, moved: Mapping[str, str]) -> str:
    for old, new in moved.items():
        text = text.replace(old, new)
    return text


@contextmanager
def _child(
    command: list[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=ROOT, env={**os.environ, **(environment or {})}
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    patience_ends = time.monotonic() + _START_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > patience_ends:
            last_words = log.read_text("utf-8", errors="replace").strip().splitlines()[-5:]
            raise HomeError(f"{process.args!r} did not start: {' / '.join(last_words) or 'no word'}")
        time.sleep(_POLL_SECONDS)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
