"""Where a development home meets the machine: run directory, sockets, ports, one run at a time."""

import os
import socket
import stat
import tempfile
import threading
import time
from pathlib import Path

import pytest
from wire import free_port

from receiver.config import Settings, from_mapping
from receiver.errors import SettingsError, UsageError
from receiver.home import Home
from receiver.supervise import machine, place


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def settings(**server: object) -> Settings:
    return from_mapping({"server": {"https_port": free_port(), "ops_port": free_port()} | server}, origin="the test")


def test_the_run_directory_is_short_private_and_gone_afterwards(home: Home) -> None:
    with place.run_directory(home, None) as directory:
        assert home.run_file.read_text().strip() == str(directory)
        assert len(f"{directory}/control.sock") <= 107
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700

    assert not directory.exists()
    assert not home.run_file.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_as_root_the_run_directory_belongs_to_nginx_group(home: Home) -> None:
    user = machine.nginx_user(settings())
    assert user

    with place.run_directory(home, user) as directory:
        assert directory.stat().st_gid == user.gid
        assert stat.S_IMODE(directory.stat().st_mode) == 0o750


def test_what_a_killed_run_left_is_cleared_away(home: Home) -> None:
    stale = Path(tempfile.mkdtemp(prefix="receiver-"))
    (stale / "edge.sock").touch()
    home.run_file.write_text(f"{stale}\n")

    with place.run_directory(home, None) as directory:
        assert not stale.exists()
        assert directory != stale


def test_only_our_own_leftovers_are_cleared_away(home: Home, tmp_path: Path) -> None:
    """Whatever stands in HOME/run, no other directory is removed on its word."""
    precious = tmp_path / "precious"
    precious.mkdir()
    link = tmp_path / "receiver-link"
    link.symlink_to(precious)

    for path in (precious, link):
        home.run_file.write_text(f"{path}\n")
        with place.run_directory(home, None):
            assert precious.is_dir()


def test_a_long_runtime_directory_is_not_used(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with place.run_directory(home, None) as directory:
        assert directory.parent == Path("/tmp")  # noqa: S108 -- the last resort is what is tested


def test_sockets_are_open_to_nginx_alone(home: Home) -> None:
    """The carrier side's socket and the one for reports are for owner and group; nothing else may connect."""
    with place.run_directory(home, None) as run, place.listening(settings(), run, None, patience_seconds=0) as sockets:
        assert set(sockets) == {"edge", "ops", "audit"}
        for name in ("edge.sock", "audit.sock"):
            assert stat.S_IMODE((run / name).stat().st_mode) == 0o660
        assert sockets["ops"].getsockname()[0] == "127.0.0.1"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(run / "edge.sock"))


@pytest.mark.parametrize(("key", "option"), [("https_port", "--https-port"), ("ops_port", "--ops-port")])
def test_a_taken_port_is_named_with_its_option(home: Home, key: str, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expected = f"^port {port} is in use; choose another with {option}$"

        with (
            place.run_directory(home, None) as run,
            pytest.raises(UsageError, match=expected),
            place.listening(settings(**{key: port}), run, None, patience_seconds=0),
        ):
            pytest.fail("it must not get here")


def test_patience_waits_for_a_port(home: Home) -> None:
    """A killed run's nginx may hold its port for a moment longer."""
    taken = socket.create_server(("127.0.0.1", 0))
    timer = threading.Timer(0.4, taken.close)
    timer.start()
    begun = time.monotonic()

    with place.run_directory(home, None) as run:
        chosen = settings(https_port=taken.getsockname()[1])
        with place.listening(chosen, run, None, patience_seconds=5):
            assert 0.3 < time.monotonic() - begun < 3
    timer.join()


def test_one_home_runs_once(home: Home) -> None:
    expected = f"is running already, as process {os.getpid()}; stop it"
    with place.locked(home), pytest.raises(UsageError, match=expected), place.locked(home):
        pytest.fail("it must not get here")
    with place.locked(home):
        pass


def test_an_unknown_nginx_user_names_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    with pytest.raises(SettingsError, match=r"nginx\.user = 'nobody-here'"):
        machine.nginx_user(from_mapping({"nginx": {"user": "nobody-here"}}, origin="the test"))


def test_a_missing_nginx_says_what_to_install() -> None:
    with pytest.raises(UsageError, match="no-such-nginx is not installed; run: sudo apt-get install nginx-light"):
        machine.nginx_binary(from_mapping({"nginx": {"binary": "no-such-nginx"}}, origin="the test"))
