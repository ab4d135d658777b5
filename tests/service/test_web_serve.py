"""`receiver serve` as a process: what is passed to it, what it takes up while running, how it ends."""

import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from certificates import nginx_header
from click.testing import CliRunner
from store_lab import report
from waiting import until
from wire import Answer, free_port, read, request

from receiver import control
from receiver.home import Home
from receiver.model import Role

PATH = "/callbacks/tencent/demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running `receiver serve`, and this test in nginx's place."""

    home: Home
    run: Path
    port: int
    process: "subprocess.Popen[str]"

    def post(self, body: bytes, *, path: str = PATH, key: str | None = None) -> Answer:
        """POST a body as nginx passes it on."""
        (certificate,) = self.home.pki.glob("client-*/issued/*.pem")
        headers = {
            "X-Edge-Key": self.home.edge_key.read_text().strip() if key is None else key,
            "X-SSL-Client-Verify": "SUCCESS",
            "X-SSL-Client-Cert": nginx_header(certificate.read_bytes()),
        }
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.run / "edge.sock"))
            connection.sendall(request("POST", path, body, headers=headers.items()))
            return read(connection)

    def ask(self, path: str, *, token: str | None = None) -> tuple[int, Any]:
        """GET on the operations side, with the home's own token unless told otherwise."""
        token = token or self.home.read_token.read_text().strip()
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def refused(self) -> dict[str, int]:
        """Saved refusals by reason."""
        return {row["reason"]: row["count"] for row in self.ask("/api/v1/trust")[1]["refused"]}

    def stop(self) -> tuple[int, str]:
        """SIGTERM; the exit status, and everything it wrote."""
        self.process.send_signal(signal.SIGTERM)
        output = self.process.communicate(timeout=30)[0]
        return self.process.returncode, output


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A development home with everything in it, but nothing running."""
    place = Home(tmp_path / "home")
    _receiver("init", "--home", place.root)
    return place


def _receiver(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "receiver", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=options.pop("check", True), **options
    )


@contextmanager
def _serving(
    home: Home,
    *,
    prefix: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    pass_fds: tuple[int, ...] = (),
) -> Iterator[Server]:
    run = home.root.parent / "run"
    run.mkdir(exist_ok=True)
    port = port or free_port()
    user = {"RECEIVER_NGINX__USER": "root"} if os.geteuid() == 0 else {}
    variables = {**os.environ, **user, "RECEIVER_SERVER__OPS_PORT": str(port), **(environment or {})}
    home.run_file.write_text(f"{run}\n")
    command = [*prefix, sys.executable, "-m", "receiver", "serve", "--home", str(home.root)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables, pass_fds=pass_fds
    ) as process:
        server = Server(home=home, run=run, port=port, process=process)
        try:
            until(lambda: process.poll() is not None or _is_ready(server))
            yield server
        finally:
            process.kill()


def _is_ready(server: Server) -> bool:
    try:
        return server.ask("/readyz")[0] == 200
    except OSError:
        return False


def _kept(home: Home) -> list[bytes]:
    with closing(sqlite3.connect(f"file:{home.root}/store/journal.db?mode=ro", uri=True)) as database:
        return [body for (body,) in database.execute("select body from journal order by seq")]


def test_a_callback_is_served_from_the_socket_to_the_figures(home: Home) -> None:
    """One process: kept, answered, folded by its child, counted."""
    now = int(time.time())
    times = {"start_calltime": str(now - 30), "accept_time": str(now - 16), "end_calltime": str(now - 8)}
    with _serving(home) as server:
        answer = server.post(report(**times))
        until(lambda: server.ask("/api/v1/summary")[1]["watermark"] == 1)
        summary = server.ask("/api/v1/summary?range=1h")[1]

    assert (answer.status, answer.headers["x-receiver-receipt"]) == (200, "1")
    assert (summary["calls"], summary["answered"], summary["deliveries"]) == (1, 1, 1)


def test_sigterm_ends_it_in_order(home: Home) -> None:
    """Status 0, everything on disk, the write-ahead log emptied into the file, and no traceback."""
    with _serving(home) as server:
        server.post(report())
        status, output = server.stop()

    assert status == 0
    assert "Traceback" not in output
    assert _kept(home) == [report()]
    log = home.root / "store" / "journal.db-wal"
    assert not log.exists() or log.stat().st_size == 0


def test_what_was_answered_survives_kill_9(home: Home) -> None:
    with _serving(home) as server:
        server.post(report())
        server.process.kill()
        server.process.wait()
    with _serving(home) as server:
        until(lambda: server.ask("/api/v1/summary")[1]["watermark"] == 1)

    assert _kept(home) == [report()]


def test_the_projector_s_death_is_fatal_and_visible(home: Home) -> None:
    """Figures that silently stop growing would be a lie; the process says so and ends with an error."""
    with _serving(home) as server:
        (child,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        output = server.process.communicate(timeout=30)[0]

    assert server.process.returncode == 1
    assert output.splitlines()[-1].startswith("error: a part of the receiver has died: the projector")


def test_a_store_is_served_by_one_process(home: Home) -> None:
    with _serving(home):
        second = _receiver("serve", "--home", home.root, check=False)

    assert second.returncode == 1
    assert second.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in second.stderr


def test_refusals_are_saved_within_seconds_and_at_the_end(home: Home) -> None:
    """Counts on disk survive the process: those of each second, and those of the last one."""
    with _serving(home) as server:
        server.post(report(), key="wrong")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nginx:
            nginx.sendto(b'<1>x: {"status":403,"reason":"no_certificate"}', str(server.run / "audit.sock"))
        until(lambda: server.refused() == {"edge_key": 1, "no_certificate": 1})
        server.post(report(), key="wrong")
        server.stop()
    with _serving(home) as server:
        assert server.refused() == {"edge_key": 2, "no_certificate": 1}


def test_a_command_is_in_force_when_it_has_been_answered(home: Home) -> None:
    """Blocking a certificate or declaring an application does not wait for the next second."""
    (file,) = home.pki.glob("client-*/issued/*.pem")
    der = subprocess.run(["openssl", "x509", "-in", file, "-outform", "DER"], capture_output=True, check=True).stdout
    with _serving(home) as server:
        before = server.post(report())
        columns = {"kind": "sha256", "sha256": sha256(der).hexdigest()}
        number = control.call(home, "block_add", carrier=None, columns=columns, reason="test", created_at=1)
        blocked = server.post(report())
        control.call(home, "block_remove", block_id=number)
        after = server.post(report())

    assert [answer.status for answer in (before, blocked, after)] == [200, 403, 200]
    assert blocked.headers["x-receiver-reason"] == "blocked"


def test_new_trust_files_are_taken_up_while_running(home: Home) -> None:
    """An anchor that is taken away is trusted no more, a second or two later and without a restart."""
    with _serving(home) as server:
        assert server.post(report()).status == 200
        for kind in ("crls", "anchors"):
            for file in (home.trust / "tencent" / kind).iterdir():
                file.unlink()
        until(lambda: server.post(report()).status == 403)
        warnings = server.ask("/api/v1/trust")[1]["warnings"]

    assert any("anchor" in line for line in warnings)


def test_passed_sockets_are_taken_over(home: Home) -> None:
    """Whoever owns the listening sockets can restart the server without refusing anybody: connections wait in them."""
    run = home.root.parent / "run"
    run.mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as edge, socket.create_server(("127.0.0.1", 0)) as ops:
        edge.bind(str(run / "edge.sock"))
        edge.listen()
        port, numbers = ops.getsockname()[1], (ops.fileno(), edge.fileno())
        names = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "ops:edge"}
        as_three_and_four = ("bash", "-c", 'exec "$@" 3<&{} 4<&{}'.format(*numbers), "bash")
        with _serving(home, prefix=as_three_and_four, environment=names, port=port, pass_fds=numbers) as server:
            first = server.post(report())
            status, _ = server.stop()
        with closing(socket.socket(socket.AF_UNIX)) as waiting:
            waiting.connect(str(run / "edge.sock"))
            with _serving(home, prefix=as_three_and_four, environment=names, port=port, pass_fds=numbers) as server:
                second = server.post(report())

    assert (status, first.status, second.status) == (0, 200, 200)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RECEIVER_NGINX__USER": "nobody-here"}, "nginx.user"),
        ({"RECEIVER_SERVER__OPS_HOST": "192.0.2.1"}, "ops"),
        ({"RECEIVER_LIMITS__BODY_BYTES": "7"}, "body_bytes"),
    ],
)
def test_what_a_person_can_mend_is_one_clear_line(home: Home, change: dict[str, str], words: str) -> None:
    if "RECEIVER_NGINX__USER" in change and os.geteuid() != 0:
        pytest.skip("only root asks for nginx's user in a development home")
    with _serving(home, environment=change) as server:
        output = server.process.communicate(timeout=30)[0]

    assert server.process.returncode == 1
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("error: ")
    assert words in output


def test_a_production_home_is_not_served_as_root(home: Home) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can try")
    with _serving(home, environment={"RECEIVER_MODE": "production"}) as server:
        output = server.process.communicate(timeout=30)[0]

    assert server.process.returncode == 1
    assert "root" in output.splitlines()[-1]


def test_a_home_without_its_edge_key_is_not_served(home: Home) -> None:
    home.edge_key.unlink()
    with _serving(home) as server:
        output = server.process.communicate(timeout=30)[0]

    assert server.process.returncode == 1
    assert "edge.key" in output.splitlines()[-1]


def test_a_home_with_a_broken_callee_key_is_not_served(home: Home) -> None:
    """Said before anybody hears that all is well: the projector would die of it right afterwards."""
    home.callee_key.write_bytes(b"ab")
    with _serving(home) as server:
        output = server.process.communicate(timeout=30)[0]

    assert server.process.returncode == 1
    assert "callee.key" in output.splitlines()[-1]


def test_a_token_is_printed_once_and_works_at_once(home: Home) -> None:
    """Made while something serves: the token opens what its role opens, is listed without itself, and ends revoked."""
    with _serving(home) as server:
        made = _receiver("token", "create", "--home", home.root, "--name", "grafana", "--expires", "90d", "--json")
        token = json.loads(made.stdout)["token"]
        before = server.ask("/api/v1/summary", token=token)[0]
        listed = _receiver("token", "list", "--home", home.root, "--json").stdout
        _receiver("token", "revoke", "--home", home.root, "grafana")
        after = server.ask("/api/v1/summary", token=token)[0]

    assert (before, after) == (200, 401)
    (row,) = [row for row in json.loads(listed)["tokens"] if row["name"] == "grafana"]
    assert row["roles"] == ["read"]
    assert row["expires_at"]
    assert token not in listed
    assert sha256(token.encode()).hexdigest() not in listed


def test_tokens_can_be_made_while_nothing_serves(home: Home) -> None:
    token = _receiver("token", "create", "--home", home.root, "--name", "later", "--role", "submit").stdout.strip()

    with _serving(home) as server:
        assert server.ask("/api/v1/summary", token=token)[0] == 403


def test_a_sign_in_address_is_printed(home: Home) -> None:
    with _serving(home) as server:
        address = _receiver("token", "signin", "--home", home.root).stdout.strip()
        host, _, path = address.removeprefix("http://").partition("/")
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
            connection.request("GET", f"/{path}")
            response = connection.getresponse()

    assert host.startswith("127.0.0.1:")
    assert (response.status, response.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "--name", "a b"),
        ("create", "--name", "x", "--expires", "soon"),
        ("create", "--name", "x", "--role", "king"),
        ("create", "--name", "development"),
        ("revoke", "nobody"),
    ],
)
def test_a_token_that_cannot_be_is_refused_in_one_line(home: Home, arguments: tuple[str, ...]) -> None:
    refused = _receiver("token", *arguments[:1], "--home", home.root, *arguments[1:], check=False)

    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    assert refused.stderr.lower().splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("name", ["serve", "token", "token create", "token list", "token revoke", "token signin"])
def test_every_command_shows_an_example(name: str) -> None:
    command = import_module(f"receiver.cli.{name.split(maxsplit=1)[0]}").command
    shown = CliRunner().invoke(command, [*name.split()[1:], "--help"]).output

    assert "Example: receiver " in " ".join(shown.split())


def test_a_role_without_reading_reads_nothing(home: Home) -> None:
    """The commands know the same roles as the sides do."""
    token = secrets.token_urlsafe()
    control.call(
        home,
        "token_create",
        name="x",
        token_hash=sha256(token.encode()).hexdigest(),
        roles=[Role.ADMIN],
        apps=[],
        created_at=1,
        expires_at=None,
    )
    with _serving(home) as server:
        assert server.ask("/api/v1/calls", token=token)[0] == 403
