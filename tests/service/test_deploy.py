"""What a production host installs: units that systemd accepts, and the answer to a request for a reload."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from configparser import RawConfigParser
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.cli.production import deploy_directory
from receiver.errors import UsageError
from receiver.home import Home
from receiver.supervise import nginx_reload

DEPLOY = deploy_directory()
SYSTEMD = DEPLOY / "systemd"
UNITS = sorted(path.name for path in SYSTEMD.iterdir() if path.is_file())
DROP_IN = SYSTEMD / "nginx.service.d" / "receiver.conf"
SCRIPT = DEPLOY / "receiver-nginx-reload"
RECEIVER = Path(sys.executable).with_name("receiver")


class _Unit(RawConfigParser):
    """A unit is nearly an INI file: keys keep their case, and no value is interpolated."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def read(path: Path) -> _Unit:
    parsed = _Unit(delimiters=("=",), comment_prefixes=("#", ";"), strict=False)
    parsed.read_string(path.read_text("utf-8"))
    return parsed


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_well_formed(name: str) -> None:
    """Holds without systemd, too: its sections and no others, nothing left blank by accident."""
    kind = name.rpartition(".")[2].capitalize()
    unit = read(SYSTEMD / name)

    assert {"Unit", kind} <= set(unit.sections()) <= {"Unit", kind, "Install"}
    assert unit["Unit"]["Description"]
    blank = {key for section in unit.sections() for key, value in unit[section].items() if not value}
    assert blank <= {"CapabilityBoundingSet", "AmbientCapabilities"}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_all_units(tmp_path: Path) -> None:
    """As they are installed, with nginx under its hardening; only the programs are where this machine has them."""
    for name in UNITS:
        text = (SYSTEMD / name).read_text("utf-8").replace("/opt/receiver/bin/receiver", str(RECEIVER))
        text = text.replace("/usr/local/libexec/receiver-nginx-reload", str(SCRIPT))
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "nginx.service").write_text(
        "[Unit]\nDescription=nginx\n[Service]\nType=forking\nPIDFile=/run/nginx.pid\nExecStart=/bin/true\n"
    )
    shutil.copytree(DROP_IN.parent, tmp_path / DROP_IN.parent.name)
    names = [*UNITS, "nginx.service"]

    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    ours = [line for line in result.stderr.splitlines() if str(tmp_path) in line or any(name in line for name in names)]
    assert ours == []
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", [*(SYSTEMD / name for name in UNITS if name.endswith(".service")), DROP_IN])
def test_every_service_is_hardened(path: Path) -> None:
    service = read(path)["Service"]

    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["SystemCallFilter"] == "@system-service"
    assert "CAP_SYS_ADMIN" not in service["CapabilityBoundingSet"]


def test_the_receiver_is_nobody_special_and_never_sees_a_ca_s_key() -> None:
    service = read(SYSTEMD / "receiver.service")["Service"]

    assert (service["User"], service["CapabilityBoundingSet"]) == ("receiver", "")
    assert service["InaccessiblePaths"] == "-/var/lib/receiver/pki"
    # The sockets' directory: nginx's group enters, nobody else does.
    sockets = (service["Group"], service["RuntimeDirectory"], service["RuntimeDirectoryMode"], service["UMask"])
    assert sockets == ("www-data", "receiver", "0750", "0077")


@pytest.mark.parametrize("name", ["receiver.service", "receiver-certs-check.service", "receiver-certs-crl.service"])
def test_the_commands_in_the_units_exist(name: str) -> None:
    """With these very options: a command or an option that was renamed fails here and not on somebody's host."""
    words = read(SYSTEMD / name)["Service"]["ExecStart"].split()
    options = [word for word in words if word.startswith("--")]
    command = [word for word in words[1:] if not word.startswith(("-", "/", "%"))]

    page = subprocess.run([RECEIVER, *command, "--help"], capture_output=True, text=True, check=True).stdout
    assert [option for option in options if option not in page] == []


def test_the_path_unit_waits_for_the_file_that_commands_write() -> None:
    watched = read(SYSTEMD / "receiver-nginx.path")["Path"]["PathExists"]

    assert watched == str(Home(Path("/var/lib/receiver")).nginx / nginx_reload._REQUEST)


def test_the_readme_installs_every_file() -> None:
    """And names none that is not there."""
    text = (DEPLOY / "README.md").read_text("utf-8")
    installed = set(re.findall(r"(?<![./\w])(?:systemd|logrotate)/[\w./-]*\w|receiver-nginx-reload", text))

    missing = [name for name in installed if not (DEPLOY / name).exists() and not list(DEPLOY.glob(f"{name}.*"))]
    assert missing == []
    for name in UNITS:
        stem = name.rpartition(".")[0]
        assert f"systemd/{stem}." in text, name


@pytest.fixture
def home(tmp_path: Path) -> Home:
    place = Home(tmp_path / "home")
    place.nginx.mkdir(parents=True)
    return place


class Host:
    """A host with an nginx and a systemctl that say what the test wants, and note that they were asked."""

    def __init__(self, directory: Path) -> None:
        self.programs, self.notes = directory / "bin", directory / "notes"
        self.programs.mkdir()
        self.says("nginx")
        self.says("systemctl")

    def says(self, program: str, words: str = "", *, status: int = 0) -> None:
        """Have a program write these words to standard error and end with this status."""
        path = self.programs / program
        (words_file := self.programs / f"{program}.words").write_text(words)
        path.write_text(
            f'#!/bin/sh\necho "{program} $*" >>"{self.notes}"\ncat "{words_file}" >&2\nexit {status}\n', "utf-8"
        )
        path.chmod(0o755)

    def answer(self, home: Home) -> "subprocess.CompletedProcess[str]":
        """Run the script once, as the path unit does."""
        variables = os.environ | {"PATH": f"{self.programs}:{os.environ['PATH']}"}
        return subprocess.run([SCRIPT, home.root], capture_output=True, text=True, check=False, env=variables)

    @contextmanager
    def watching(self, home: Home) -> Iterator[None]:
        """Play the path unit: start the script when a request is there."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.02):
                if (home.nginx / "reload.request").exists():
                    self.answer(home)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def asked(self) -> list[str]:
        """What the programs were asked."""
        return self.notes.read_text("utf-8").splitlines() if self.notes.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_command_that_asks_is_answered(home: Home, host: Host) -> None:
    """Nginx judges first, then it is reloaded, and the request is gone."""
    with host.watching(home):
        nginx_reload.ask(home)

    assert host.asked() == ["nginx -t -q", "systemctl reload nginx.service"]
    assert [path.name for path in home.nginx.iterdir()] == ["reload.answer"]


def test_what_nginx_says_reaches_the_command_and_nothing_is_reloaded(home: Home, host: Host) -> None:
    """Quotes, backslashes, control characters and bytes that are no text: still one line of plain words."""
    host.says("nginx", 'nginx: [emerg] "a\\b"\n\x1b[31m\u202e in /x:3\x00\n', status=1)
    with host.watching(home), pytest.raises(UsageError) as caught:
        nginx_reload.ask(home)

    assert str(caught.value).strip() == r'nginx refuses it: nginx: [emerg] "a\b" [31m in /x:3'
    assert host.asked() == ["nginx -t -q"]


def test_a_reload_that_fails_is_said(home: Home, host: Host) -> None:
    host.says("systemctl", "nginx.service is not active, cannot reload.", status=1)
    with host.watching(home), pytest.raises(UsageError, match=r"nginx was not reloaded: nginx\.service is not"):
        nginx_reload.ask(home)


@pytest.mark.parametrize("content", ["", "two words", "$(touch x)", '","problem":"', "ab" * 40])
def test_a_request_that_no_command_wrote_is_taken_away_unanswered(home: Home, host: Host, content: str) -> None:
    """What stayed would start the unit again and again."""
    (home.nginx / "reload.request").write_text(content)
    result = host.answer(home)

    if content.startswith("abab"):
        # Cut to the longest word there is; nobody waits for that one.
        assert json.loads((home.nginx / "reload.answer").read_text())["word"] == "ab" * 32
    else:
        assert (result.returncode, host.asked(), list(home.nginx.iterdir())) == (0, [], [])


def test_a_failed_reload_fails_the_unit(home: Home, host: Host) -> None:
    host.says("nginx", "no", status=1)
    (home.nginx / "reload.request").write_text("0123456789abcdef")
    result = host.answer(home)

    assert (result.returncode, result.stderr.strip()) == (1, "nginx refuses it: no")


@pytest.fixture
def passable() -> Iterator[Path]:
    """A directory that other users may enter, which pytest's are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write where the home's owner may not")
def test_root_writes_nothing_for_the_home_s_owner(host: Host, passable: Path) -> None:
    """A link in place of the directory leads to files that the owner may not write, so neither does the script."""
    home, target = Home(passable / "home"), passable / "roots"
    home.root.mkdir()
    target.mkdir(mode=0o755)
    (target / "reload.request").write_text("0123456789abcdef")
    os.chown(home.root, 65534, 65534)
    home.nginx.symlink_to(target)
    result = host.answer(home)

    assert result.returncode == 1
    assert [path.name for path in target.iterdir()] == ["reload.request"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root asks for somebody else")
def test_root_is_answered_in_another_s_home(host: Host, passable: Path) -> None:
    home = Home(passable / "home")
    home.nginx.mkdir(parents=True)
    for path in (home.root, home.nginx):
        os.chown(path, 65534, 65534)
        path.chmod(0o700)
    with host.watching(home):
        nginx_reload.ask(home)

    assert (home.nginx / "reload.answer").stat().st_uid == 65534


def test_the_script_parses() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_script_satisfies_shellcheck() -> None:
    done = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True, check=False)

    assert done.stdout == ""


def test_log_rotation_takes_the_file_that_nginx_writes() -> None:
    """And says that the distribution's *.log is to leave it alone: two rules for a file are an error to logrotate."""
    text = (DEPLOY / "logrotate" / "10-receiver").read_text("utf-8")

    assert "\n/var/log/nginx/receiver-access.log {\n" in text
    assert "\n    ignoreduplicates\n" in text
    assert min("10-receiver", "nginx") == "10-receiver"
