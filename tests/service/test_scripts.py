"""The front doors' shell: well-formed, and clear about what a machine lacks."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = (".ci/run", "scripts/run", "scripts/test", "scripts/check", "scripts/certs", "scripts/lock", "scripts/setup.sh")
SCRIPTS = [ROOT / name for name in NAMES]


def bash(code: str, *, first_on_path: Path) -> "subprocess.CompletedProcess[str]":
    """Run a few lines after `source scripts/setup.sh`, with some programs replaced."""
    environment = {**os.environ, "PATH": f"{first_on_path}:{os.environ['PATH']}"}
    text = f"set -euo pipefail\nsource {ROOT}/scripts/setup.sh\n{code}\necho went on"
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, env=environment, check=False)


def program(directory: Path, name: str, text: str) -> None:
    """A stand-in for a program."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_well_formed(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert os.access(script, os.X_OK) == (script.name != "setup.sh")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_scripts_satisfy_shellcheck() -> None:
    done = subprocess.run(["shellcheck", "-x", *SCRIPTS], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stdout == ""


def test_an_ordinary_user_is_told_everything_in_one_line(tmp_path: Path) -> None:
    """Without root rights nothing is started half: all missing packages are named at once, and it stops."""
    program(tmp_path, "id", "echo 1000")
    program(tmp_path, "apt-get", "echo must not be called >&2; exit 1")

    done = bash("need no-such-program=package-one cat=coreutils other-program=package-two", first_on_path=tmp_path)

    assert done.returncode == 1
    assert done.stdout == ""
    line = "error: missing packages; run: sudo apt-get install -y --no-install-recommends package-one package-two\n"
    assert done.stderr == line


def test_a_failed_installation_stops(tmp_path: Path) -> None:
    """When the distribution cannot give a package, nothing goes on without it."""
    program(tmp_path, "id", "echo 0")
    program(tmp_path, "apt-get", "echo no network >&2; exit 100")

    done = bash("forbid_service_starts() { :; }\nneed no-such-program=package-one", first_on_path=tmp_path)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "error: could not install: package-one"


def test_an_installation_goes_on_without_a_new_service(tmp_path: Path) -> None:
    """Installing nginx starts no service: what the installation enabled is switched off again, whatever happens."""
    calls = tmp_path / "calls"
    program(tmp_path, "id", "echo 0")
    program(tmp_path, "apt-get", f"echo apt-get $* >> {calls}; ln -sf /bin/true {tmp_path}/some-server")
    program(tmp_path, "systemctl", f"echo systemctl $* >> {calls}")
    # The machine has no nginx, as far as this shell can see, and a policy that forbids starting services.
    hidden = 'command() { [ "$2" != nginx ] && builtin command "$@"; }\npolicy=/bin/true'

    done = bash(f"{hidden}\nneed some-server=package-one", first_on_path=tmp_path)

    assert (done.returncode, done.stdout) == (0, "went on\n")
    lines = calls.read_text().splitlines()
    assert lines[-1] == "systemctl --quiet disable --now nginx.service"
    assert lines[-2].endswith("install -y --no-install-recommends package-one")


def test_a_directory_that_is_no_environment_is_not_cleared(tmp_path: Path) -> None:
    """RECEIVER_VENV set by mistake to a directory with something in it costs nobody a file."""
    (tmp_path / "thesis.txt").write_text("precious")

    done = bash(f"venv={tmp_path}\nset_up requirements.lock", first_on_path=tmp_path)

    assert done.returncode == 1
    assert f"{tmp_path} is no virtual environment and not empty" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "precious"
