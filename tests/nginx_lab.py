"""The rendered nginx configuration with a real nginx, in front of an upstream that only echoes. No receiver."""

import itertools
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from certificates import Issued, authority, client, crl, crl_pem, now
from cryptography import x509
from waiting import until
from wire import Answer, Target, free_port, tls

from receiver.config import from_mapping
from receiver.home import Home
from receiver.nginx_files import EdgePaths, write

EDGE_KEY = "0123456789abcdef" * 4
PATH = "/callbacks/tencent/demo"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A running nginx and what surrounds it."""

    port: int
    home: Home
    run: Path
    server_ca: Path
    client_ca: Issued
    process: "subprocess.Popen[bytes]"
    audit: socket.socket
    upstream: "Upstream"
    directory: Path

    def target(self, issued: Issued | None = None) -> Target:
        """A client with this certificate, or with none."""
        files = issued.write(self.directory, issued.sha256[:16]) if issued else None
        return Target(port=self.port, tls=tls(self.server_ca, files))

    def good(self) -> Target:
        """A client that is let in."""
        return self.target(client(self.client_ca, at=now()))

    def reported(self) -> dict[str, Any]:
        """The next refusal that nginx reports."""
        self.audit.settimeout(10)
        datagram = self.audit.recv(65536)
        report: dict[str, Any] = json.loads(datagram[datagram.index(b"{") :])
        return report

    def forget_reports(self) -> int:
        """Read away whatever waits; the answer is how many there were."""
        self.audit.settimeout(0.1)
        for count in itertools.count():
            try:
                self.audit.recv(65536)
            except TimeoutError:
                return count
        raise AssertionError

    def log_lines(self, number: int = 0) -> list[dict[str, Any]]:
        """The access log, once it has this many lines: nginx writes them after it has answered."""
        log = self.home.log / "access.log"
        until(lambda: log.read_text().count("\n") >= number)
        return [json.loads(line) for line in log.read_text().splitlines()]

    def reload(self) -> None:
        """Have nginx take up changed files, and wait until its old workers are gone."""
        before = _workers(self.process.pid)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: not before & _workers(self.process.pid))


class Upstream(socketserver.ThreadingUnixStreamServer):
    """Answers every request with what arrived of it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Echo)
        self.status = 200
        self.seconds = 0.0
        self.requests = 0


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests += 1
        time.sleep(self.server.seconds)
        seen = {"path": self.path, "headers": self.headers.items(), "size": len(body)}
        answer = json.dumps(seen).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Receiver-Receipt", "4711")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def address_string(self) -> str:
        return "unix"


@contextmanager
def running(directory: Path, run: Path, **sections: dict[str, Any]) -> Iterator[Lab]:
    """Render, start, wait until it answers; afterwards stop it."""
    port = free_port()
    settings = from_mapping({"server": {"https_port": port}} | sections, origin="the test")
    home, server_ca, client_ca = _home(directory)
    paths = EdgePaths(
        conf=home.nginx,
        run=run,
        access_log=home.log / "access.log",
        server_certificate=directory / "server.pem",
        server_key=directory / "server.key",
    )
    user = "www-data" if os.geteuid() == 0 else None
    configuration = write(home, settings, paths, is_whole=True, user=user)
    if user:
        shutil.chown(run, group=user)
    run.chmod(0o750)
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream(run / "edge.sock"))
        (run / "edge.sock").chmod(0o666)
        threading.Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        stack.callback(upstream.shutdown)
        audit = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        audit.bind(str(run / "audit.sock"))
        (run / "audit.sock").chmod(0o666)
        assert NGINX
        command = [NGINX, "-e", "stderr", "-p", str(run), "-c", str(configuration)]
        errors = stack.enter_context((directory / "error.log").open("wb"))
        process = subprocess.Popen(command, stderr=errors)
        stack.callback(_stop, process)
        until(lambda: _answers(port))
        yield Lab(
            port=port,
            home=home,
            run=run,
            server_ca=server_ca,
            client_ca=client_ca,
            process=process,
            audit=audit,
            upstream=upstream,
            directory=directory,
        )


def _home(directory: Path) -> tuple[Home, Path, Issued]:
    home = Home(directory / "home")
    for folder in (home.nginx, home.log, home.trust / "tencent" / "anchors", home.trust / "tencent" / "crls"):
        folder.mkdir(parents=True)
    home.edge_key.write_text(EDGE_KEY)
    client_ca = authority(at=now(), path_length=None)
    (home.trust / "tencent" / "anchors" / "ca.pem").write_bytes(client_ca.pem)
    (home.trust / "tencent" / "crls" / "ca.pem").write_bytes(crl_pem(crl(client_ca, at=now())))
    server_authority = authority("Test server CA", at=now())
    server = client(
        server_authority,
        "localhost",
        san=[x509.DNSName("localhost")],
        extensions={x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), False)},
        at=now() - timedelta(days=1),
    )
    server.write(directory, "server")
    return home, server_authority.write(directory, "server-ca")[0], client_ca


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(timeout=20)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _workers(master: int) -> set[str]:
    return set(Path(f"/proc/{master}/task/{master}/children").read_text().split())


def refused(lab: Lab, answer: Answer, *, status: int, reason: str) -> dict[str, Any]:
    """Check the shape every refusal has, in the answer, in the report and in the log; returns the report."""
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-receiver-reason"] == reason
    assert answer.json["result"] == 1
    assert answer.json["errmsg"]
    assert set(answer.json) == {"result", "errmsg"}
    report = lab.reported()
    assert (report["status"], report["reason"]) == (status, reason)
    line = lab.log_lines()[-1]
    assert (line["status"], line["reason"], line["receipt"]) == (str(status), reason, "")
    return report
