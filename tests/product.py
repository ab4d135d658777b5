"""The whole product for tests: `receiver run` in a home of its own on free ports, asked as its users ask it."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from certificates import Issued
from waiting import until
from wire import Answer, Target, free_port, tls

ROOT: Final = Path(__file__).parents[1]
PATH: Final = "/callbacks/tencent/demo"
START_SECONDS: Final = 60


def report(**changes: Any) -> dict[str, Any]:
    """A status callback of a call that was answered just now, under a call id of its own."""
    now = int(time.time())
    fields = {
        "result": "0",
        "accept_time": str(now - 12),
        "call_from": "075583763333",
        "callid": str(uuid.uuid4()),
        "end_calltime": str(now - 2),
        "fee": "1",
        "mobile": "13800138000",
        "nationcode": "86",
        "start_calltime": str(now - 26),
    }
    return {"voiceprompt_callback": fields | changes}


def encoded(document: object) -> bytes:
    """A document as a carrier would send it."""
    return json.dumps(document, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A running development home."""

    home: Path
    process: "subprocess.Popen[str]"
    ready: Mapping[str, Any]
    output: Path

    def carrier(self) -> Target:
        """The carrier, with the development client certificate."""
        files = (Path(self.ready["client_cert"]), Path(self.ready["client_key"]))
        return Target(port=self._port, tls=tls(Path(self.ready["server_ca"]), files))

    def anybody(self, issued: Issued | None = None) -> Target:
        """A client with this certificate, or with none."""
        files = issued.write(self.home.parent, issued.sha256[:16]) if issued else None
        return Target(port=self._port, tls=tls(Path(self.ready["server_ca"]), files))

    def client_ca(self) -> Issued:
        """The authority of the development client certificates, which tests may issue others from."""
        (certificate,) = (self.home / "pki").glob("client-*/ca.pem")
        return Issued.load(certificate, certificate.with_suffix(".key"))

    @property
    def _port(self) -> int:
        return int(re.search(r":(\d+)/", self.ready["callbacks_url"])[1])  # type: ignore[index]  # it has a port

    @property
    def run_directory(self) -> Path:
        """Where the sockets lie."""
        return Path((self.home / "run").read_text().strip())

    def ask(self, path: str, *, token: str | None = None) -> Answer:
        """GET on the operations side, with the read token unless told otherwise."""
        if token is None:
            token = Path(self.ready["token_file"]).read_text().strip()
        with closing(HTTPConnection(self.ready["ops_url"].removeprefix("http://"), timeout=20)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(status=response.status, headers=headers, body=response.read())

    def summary(self, query: str = "range=24h") -> dict[str, Any]:
        """The figures, once everything kept so far is in them."""
        newest = self.rows("select coalesce(max(seq), 0) from journal")[0][0]
        until(lambda: self.ask("/api/v1/summary").json["watermark"] >= newest)
        figures: dict[str, Any] = self.ask(f"/api/v1/summary?{query}").json
        return figures

    def refused(self) -> dict[str, int]:
        """How often was refused for which reason."""
        counts: dict[str, int] = {}
        for row in self.ask("/api/v1/trust").json["refused"]:
            counts[row["reason"]] = counts.get(row["reason"], 0) + row["count"]
        return counts

    def rows(self, statement: str) -> list[Any]:
        """What stands on disk, read behind the receiver's back."""
        with closing(sqlite3.connect(f"file:{self.home}/store/journal.db?mode=ro", uri=True)) as database:
            return database.execute(statement).fetchall()

    def quarantined(self) -> list[bytes]:
        """The exact bytes of every undecodable body, in the order of their first arrival."""
        return [row[0] for row in self.rows("select body from quarantine order by id")]

    def child(self, name: str) -> int:
        """The process id of a child, `receiver` or `nginx`."""
        marks = {"receiver": "receiver\0serve", "nginx": "nginx: master"}
        for pid in _children(self.process.pid):
            if marks[name] in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        raise LookupError(name)

    def descendants(self) -> list[int]:
        """Every process below ours."""
        found = [self.process.pid]
        for pid in found:
            found += _children(pid)
        return found[1:]

    def stop(self) -> int:
        """Stop it as Ctrl-C or systemd would; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextmanager
def running(
    home: Path,
    *options: str,
    settings: str = "",
    environment: Mapping[str, str] | None = None,
    python: tuple[str, ...] = (sys.executable,),
) -> Iterator[Product]:
    """Start `receiver run`, wait until it is ready; afterwards stop it, if the test has not done so.

    `settings` is the text of a receiver.toml to begin with, `python` the command that starts Python.
    """
    if settings:
        home.mkdir(mode=0o700, exist_ok=True)
        (home / "receiver.toml").write_text(settings)
        (home / "receiver.toml").chmod(0o600)
    output = home.parent / f"{home.name}.out"
    with start(home, *options, output=output, environment=environment, python=python) as process:
        try:
            until(lambda: (home / "ready.json").exists() or process.poll() is not None, seconds=START_SECONDS)
            assert process.poll() is None, output.read_text()
            ready = json.loads((home / "ready.json").read_text())
            until(lambda: "Ctrl-C" in output.read_text())
            yield Product(home=home, process=process, ready=ready, output=output)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=60)


def start(
    home: Path,
    *options: str,
    output: Path,
    environment: Mapping[str, str] | None = None,
    python: tuple[str, ...] = (sys.executable,),
) -> "subprocess.Popen[str]":
    """Start `receiver run` on free ports, its output going to a file."""
    chosen = [f"--{side}-port={free_port()}" for side in ("https", "ops") if f"--{side}-port" not in " ".join(options)]
    command = [*python, "-m", "receiver", "run", "--home", str(home), *chosen, *options]
    variables = {**os.environ, **(environment or {})}
    with output.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=variables)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
