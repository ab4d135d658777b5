"""`receiver run`: it starts quickly, repeats safely, stops cleanly, says who died, and leaves nothing behind."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from certificates import authority, client, now
from nginx_lab import NGINX
from product import PATH, ROOT, Product, encoded, report, running, start
from waiting import is_alive, until
from wire import free_port

pytest_plugins = ["product_fixture"]
pytestmark = [pytest.mark.edge, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_ready_tells_all_that_a_first_callback_needs(product: Product) -> None:
    """The contract's fields, absolute paths, mode 0600; and the credentials in it work."""
    path = product.home / "ready.json"

    assert list(product.ready) == [
        "callbacks_url",
        "ops_url",
        "token_file",
        "server_ca",
        "client_cert",
        "client_key",
        "pid",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"https://localhost:\d+/callbacks/tencent/demo", product.ready["callbacks_url"])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", product.ready["ops_url"])
    assert product.ready["pid"] == product.process.pid
    for name in ("token_file", "server_ca", "client_cert", "client_key"):
        assert Path(product.ready[name]).is_absolute()
        assert Path(product.ready[name]).is_file()
    assert product.carrier().post(PATH, encoded(report())).status == 200
    assert product.ask("/api/v1/summary").status == 200


def test_what_it_prints_can_be_pasted(product: Product) -> None:
    """The curl command posts a callback, and the sign-in address opens the dashboard, once."""
    text = product.output.read_text()
    assert re.search(r"^ready ", text, re.MULTILINE)
    curl = next(line for line in text.splitlines() if line.strip().startswith("curl "))
    address = re.search(r"http://\S+/signin\?code=\S+", text)
    assert address

    posted = subprocess.run([*shlex.split(curl), "--silent", "--show-error"], capture_output=True, check=True)
    first, second = (_open(address[0]) for _ in range(2))

    assert json.loads(posted.stdout) == {"result": 0, "errmsg": "OK"}
    assert first[0] in {200, 302, 303}
    assert "HttpOnly" in first[1]
    assert second[0] >= 400


def _open(address: str) -> tuple[int, str]:
    host, _, path = address.removeprefix("http://").partition("/")
    connection = HTTPConnection(host, timeout=20)
    try:
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Set-Cookie", "")
    finally:
        connection.close()


def test_a_home_is_private(product: Product) -> None:
    """The home is 0700, and whatever holds a key, a token or data is 0600."""
    assert stat.S_IMODE(product.home.stat().st_mode) == 0o700
    secret = [
        path
        for path in product.home.rglob("*")
        if path.is_file()
        and (path.suffix in {".key", ".token", ".db", ".toml"} or path.parent.name in {"nginx", "log"})
    ]
    assert len(secret) > 10
    assert {str(path): stat.S_IMODE(path.stat().st_mode) for path in secret} == {str(path): 0o600 for path in secret}


def test_everything_listens_on_loopback_only(product: Product) -> None:
    ports = {int(re.search(r":(\d+)", product.ready[name])[1]) for name in ("callbacks_url", "ops_url")}  # type: ignore[index]  # they have ports
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            if state == "0A" and int(port, 16) in ports:
                listening.add((address, int(port, 16)))

    assert listening == {("0100007F", port) for port in ports}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_stops_cleanly(home: Path, number: signal.Signals) -> None:
    """Told to stop, it ends with status 0 and leaves neither process nor socket nor ready.json."""
    with running(home) as product:
        family, directory = product.descendants(), product.run_directory
        assert len(family) >= 3

        product.process.send_signal(number)

        assert product.process.wait(timeout=30) == 0
        assert not any(is_alive(pid) for pid in family)
        assert not directory.exists()
        assert not (home / "ready.json").exists()
        assert not (home / "run").exists()


def test_it_starts_again_in_seconds_with_the_same_keys_and_data(home: Path) -> None:
    """A second start overwrites nothing, and what was acknowledged before is still there."""
    with running(home) as first:
        assert first.carrier().post(PATH, encoded(report())).status == 200
        figures = first.summary()
        kept = {
            path: path.read_bytes() for path in home.rglob("*") if path.suffix in {".key", ".pem", ".token", ".toml"}
        }
        assert first.stop() == 0

    begun = time.monotonic()
    with running(home) as second:
        seconds = time.monotonic() - begun

        assert second.summary()["calls"] == figures["calls"] == 1
        assert {path: path.read_bytes() for path in kept} == kept
        assert second.ready["client_cert"] == first.ready["client_cert"]
        # Measured well below 3; the rest is for busy machines.
        assert seconds < 10


def test_two_homes_run_side_by_side(home: Path, product: Product) -> None:
    with running(home) as other:
        assert other.carrier().post(PATH, encoded(report())).status == 200

        assert other.summary()["calls"] == 1
        assert other.ready["callbacks_url"] != product.ready["callbacks_url"]
        # Each has a PKI of its own: one home's carrier is a stranger to the other.
        stranger = other.anybody()
        assert stranger.tls
        stranger.tls.load_cert_chain(product.ready["client_cert"], product.ready["client_key"])
        assert stranger.post(PATH, encoded(report())).status == 403


def test_one_home_is_run_once(product: Product, tmp_path: Path) -> None:
    with start(product.home, output=tmp_path / "out") as second:
        assert second.wait(timeout=30) == 1

    expected = f"error: {product.home} is running already, as process {product.process.pid}; "
    assert (tmp_path / "out").read_text() == expected + "stop it, or choose another --home and ports\n"
    assert product.carrier().post(PATH, encoded(report())).status == 200


@pytest.mark.parametrize("option", ["--https-port", "--ops-port"])
def test_a_taken_port_is_one_clear_line(home: Path, tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(home, f"{option}={port}", output=tmp_path / "out") as process:
            assert process.wait(timeout=30) == 1

    assert (tmp_path / "out").read_text() == f"error: port {port} is in use; choose another with {option}\n"
    assert not (home / "run").exists()


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    """Whoever mistypes --home gets one line, and finds the directory as it was."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("precious")
    with start(tmp_path / "data", output=tmp_path / "out") as process:
        assert process.wait(timeout=30) == 1

    assert "is not empty and is no home of a receiver" in (tmp_path / "out").read_text()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["thesis.txt"]


def test_wrong_settings_are_one_clear_line(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    (home / "receiver.toml").write_text("[limits]\nbody_bites = 1\n")
    with start(home, output=tmp_path / "out") as process:
        assert process.wait(timeout=30) == 1

    told = (tmp_path / "out").read_text()
    assert told.startswith(
        f"error: {home}/receiver.toml: unknown key limits.body_bites = 1; known: answer_seconds, body_b"
    )
    assert told.count("\n") == 1


@pytest.mark.parametrize("name", ["receiver", "nginx"])
def test_a_death_is_told_and_ends_the_rest(home: Path, name: str) -> None:
    """If the receiver or nginx dies, it says which, how and where the log is, ends the other, and fails."""
    with running(home) as product:
        family, directory = product.descendants(), product.run_directory

        os.kill(product.child(name), signal.SIGKILL)

        assert product.process.wait(timeout=30) == 1
        last = product.output.read_text().splitlines()[-1]
        log = {"receiver": "receiver.log", "nginx": "nginx-error.log"}[name]
        assert last.startswith(f"error: {name} ended by itself, killed by SIGKILL; its log: {home}/log/{log}")
        until(lambda: not any(is_alive(pid) for pid in family), seconds=5)
        assert not directory.exists()
        assert not (home / "ready.json").exists()


def test_nothing_outlives_a_killed_supervisor(home: Path) -> None:
    """Kill -9 of the parent ends receiver and nginx, and the next start clears away what was left."""
    options = (f"--https-port={free_port()}", f"--ops-port={free_port()}")
    with running(home, *options) as product:
        assert product.carrier().post(PATH, encoded(report())).status == 200
        family, directory = product.descendants(), product.run_directory

        product.process.kill()
        product.process.wait()

        with running(home, *options) as again:
            assert not any(is_alive(pid) for pid in family)
            assert not directory.exists()
            assert again.summary()["calls"] == 1
            assert again.stop() == 0


def test_a_signal_while_starting_is_a_clean_stop(home: Path, tmp_path: Path) -> None:
    """Whenever it is told to stop: status 0, no process left, and the home is good for the next start."""
    for delay in (0.3, 0.5, 0.8, 1.2):
        with start(home, output=tmp_path / "out") as process:
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) in {0, -signal.SIGTERM}, (tmp_path / "out").read_text()
        assert not (home / "ready.json").exists()
        assert not (home / "run").exists()

    with running(home) as product:
        assert product.carrier().post(PATH, encoded(report())).status == 200


def test_a_receiver_that_does_not_answer_is_503(home: Path) -> None:
    """Stopped (as by a debugger) it is 503 with Retry-After within the time limit, and fine when it goes on."""
    with running(home, settings="[limits]\nanswer_seconds = 1\n") as product:
        receiver = product.child("receiver")
        os.kill(receiver, signal.SIGSTOP)
        try:
            answer = product.carrier().post(PATH, encoded(report()))
        finally:
            os.kill(receiver, signal.SIGCONT)

        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert answer.json["result"] == 1
        assert product.carrier().post(PATH, encoded(report())).status == 200


def test_no_receiver_at_all_is_503(home: Path) -> None:
    """Its socket gone, nginx answers for it: 503, to be tried again, and never a 4xx for our own failure."""
    with running(home) as product:
        (product.run_directory / "edge.sock").rename(product.run_directory / "gone.sock")

        answer = product.carrier().post(PATH, encoded(report()))

        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert answer.headers["x-receiver-reason"] == "unavailable"
        until(lambda: product.refused().get("unavailable") == 1)


def test_url_keys_stay_out_of_every_log(home: Path) -> None:
    """Nginx writes the request line into its error log; the supervisor takes the key out first."""
    key = "c0ffee00" * 4
    with running(home) as product:
        product.carrier().post(f"{PATH}/{key}", b"x" * 100_000)
        product.carrier().post(f"{PATH}/{key}", encoded(report()))
        product.carrier().post(f"{PATH}/{key}", b"[]")
        log = home / "log" / "nginx-error.log"
        until(lambda: "too large body" in log.read_text())
        assert product.stop() == 0

    assert f'request: "{PATH}"' in log.read_text()
    assert not [path for path in (home / "log").iterdir() if key in path.read_text()]


def test_stopping_under_load_loses_nothing(home: Path) -> None:
    """Whatever was answered with success before the stop is on disk after it."""
    with running(home) as product:
        carrier = product.carrier()
        answered = [carrier.post(PATH, encoded(report())).status for _ in range(50)]
        assert product.stop() == 0

        assert answered == [200] * 50
        assert product.rows("select count(*) from journal") == [(50,)]


def test_nginx_takes_up_new_trust_files(home: Path) -> None:
    """`receiver nginx` renders again, has nginx check it, and no connection is refused meanwhile."""
    with running(home) as product:
        carrier = product.carrier()
        newcomer = authority("Second CA", at=now())
        issued = client(newcomer, at=now())
        assert product.anybody(issued).post(PATH, encoded(report())).headers["x-receiver-reason"] == "untrusted"
        (home / "trust" / "tencent" / "anchors" / "second.pem").write_bytes(newcomer.pem)

        done = _receiver("nginx", "--home", str(home))

        assert (done.returncode, done.stdout) == (0, "nginx was told to take it up\n")
        until(lambda: product.anybody(issued).post(PATH, encoded(report())).status == 200)
        assert carrier.post(PATH, encoded(report())).status == 200


def test_nginx_keeps_what_it_has_when_the_new_is_broken(product: Product) -> None:
    """Files that nginx would refuse are never taken up, and whoever asked is told why."""
    broken = product.home / "trust" / "tencent" / "anchors" / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n")
    before = (product.home / "nginx" / "client-cas.pem").read_bytes()
    try:
        for options in (["--check"], []):
            done = _receiver("nginx", "--home", str(product.home), *options)

            assert done.returncode == 1
            assert done.stderr.startswith("error: nginx refuses it: ")
            assert done.stderr.count("\n") == 1
    finally:
        broken.unlink()

    assert (product.home / "nginx" / "client-cas.pem").read_bytes() == before
    assert product.carrier().post(PATH, encoded(report())).status == 200
    assert _receiver("nginx", "--home", str(product.home), "--check").stdout == "nginx accepts it\n"


def _receiver(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "receiver", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.fixture
def nobodys_place() -> Iterator[Path]:
    """A directory of the user nobody, reachable for it."""
    directory = Path(tempfile.mkdtemp(prefix="nobody-"))
    shutil.chown(directory, "nobody")
    yield directory
    shutil.rmtree(directory)


AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
TRIAL = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import receiver.cli.run'], check=True)"


def nobodys_python(environment: dict[str, str]) -> str:
    """A Python that the user nobody can start and that has all we need; this one may lie in root's own directory."""
    for python in (sys.executable, "/usr/bin/python3"):
        trial = subprocess.run(
            [*AS_NOBODY, python, "-c", TRIAL], env=environment, cwd="/", capture_output=True, check=False
        )
        if trial.returncode == 0:
            return python
    pytest.skip("the user nobody can reach no Python with our dependencies")


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_it_runs_as_an_ordinary_user(nobodys_place: Path) -> None:
    """No root rights are needed once nginx is installed, and /usr/sbin need not be on the path."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(nobodys_place),
        "XDG_RUNTIME_DIR": "",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(path for path in sys.path if "site-packages" in path)]),
    }
    python = (*AS_NOBODY, nobodys_python(environment))

    with running(nobodys_place / "home", environment=environment, python=python) as product:
        assert product.carrier().post(PATH, encoded(report())).status == 200
        assert product.anybody().post(PATH, encoded(report())).status == 403
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in product.descendants()}
        assert 0 not in owners
        assert product.stop() == 0


@pytest.mark.parametrize("name", ["a home with spaces", "家 `'(&)"])
def test_a_home_may_have_an_odd_name(tmp_path: Path, name: str) -> None:
    """Names that need quotes work, in nginx's configuration and in the command to paste."""
    with running(tmp_path / name) as product:
        curl = next(line for line in product.output.read_text().splitlines() if line.strip().startswith("curl "))
        posted = subprocess.run([*shlex.split(curl), "--silent"], capture_output=True, check=True)

        assert json.loads(posted.stdout) == {"result": 0, "errmsg": "OK"}
        assert product.stop() == 0


def test_a_home_that_nginx_cannot_name_is_refused(tmp_path: Path) -> None:
    with start(tmp_path / "cost $5", output=tmp_path / "out") as process:
        assert process.wait(timeout=30) == 1

    assert "nginx cannot use a path with the character '$'" in (tmp_path / "out").read_text()


def test_a_demonstration_says_so_in_every_answer(home: Path, tmp_path: Path) -> None:
    """A simulated week, stamped; and never on top of a home that has real callbacks."""
    with running(home, "--demo") as product:
        figures = product.summary("range=7d")

        assert figures["simulated"] is True
        assert figures["calls"] > 1000
        assert "simulated" in product.output.read_text()
        assert product.stop() == 0

    real = tmp_path / "real"
    with running(real) as product:
        assert product.carrier().post(PATH, encoded(report())).status == 200
        assert "simulated" not in product.summary()
        assert product.stop() == 0
    with start(real, "--demo", output=tmp_path / "out") as process:
        assert process.wait(timeout=30) == 1
    assert "holds callbacks that are not simulated" in (tmp_path / "out").read_text()


def test_a_reader_that_goes_away_stops_nothing(home: Path) -> None:
    """`scripts/run | head -1` closes the pipe that ready is printed to; the receiver goes on."""
    options = (f"--https-port={free_port()}", f"--ops-port={free_port()}")
    command = [sys.executable, "-m", "receiver", "run", "--home", str(home), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        process.stdout.close()
        until((home / "ready.json").exists)
        time.sleep(1)

        assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=30) == 0
