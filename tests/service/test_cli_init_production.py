"""Production homes: what one is made of, and all that it refuses."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from receiver import config
from receiver.cli import init
from receiver.home import Home

DOMAIN = "callbacks.example.com"
# The commands as they are, by somebody who is not root whoever runs the tests.
_NOT_ROOT = "import os; os.geteuid = lambda: 4711; from receiver.cli import main; main()"


def receiver(*arguments: str | Path, is_root: bool = False) -> "subprocess.CompletedProcess[str]":
    code = _NOT_ROOT.replace("4711", "0") if is_root else _NOT_ROOT
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def made(home: Home, *, domain: str = DOMAIN, is_root: bool = False) -> "subprocess.CompletedProcess[str]":
    return receiver("init", "--production", "--domain", domain, "--home", home.root, is_root=is_root)


def refusal(result: "subprocess.CompletedProcess[str]") -> str:
    """The one line of an error."""
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    return line


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def contents(home: Home) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file()}


def test_a_production_home_listens_everywhere_on_443_for_its_domain(home: Home) -> None:
    result = made(home)

    assert result.returncode == 0, result.stderr
    settings = config.load(home.root)
    assert settings.is_production
    server = settings.server
    assert (server.domain, server.https_port, server.https_host) == (DOMAIN, 443, "*")
    assert server.ops_host == "127.0.0.1"


def test_it_has_keys_of_its_own_and_nothing_that_is_for_development(home: Home) -> None:
    made(home)

    assert len(home.edge_key.read_text().strip()) == 64
    assert len(home.callee_key.read_bytes()) == 32
    assert not home.pki.exists()
    assert not home.read_token.exists()
    assert not list(home.trust.rglob("*.pem"))


def test_it_is_private(home: Home) -> None:
    made(home)

    paths = [home.root, *home.root.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}


def test_the_next_steps_are_said_in_their_order(home: Home) -> None:
    output = made(home).stdout
    steps = ["certs install-server", "trust add", "app add", "receiver nginx", "sites-enabled", "units", "certs reload"]

    assert sorted(steps, key=output.index) == steps
    (readme,) = [word for word in output.split() if word.endswith("README.md:")]
    assert Path(readme.removesuffix(":")).is_file()


def test_making_it_again_changes_nothing_but_completes_it(home: Home) -> None:
    made(home)
    before = contents(home)
    home.log.rmdir()

    assert made(home).returncode == 0
    assert contents(home) == before
    assert home.log.is_dir()


def test_another_domain_is_refused(home: Home) -> None:
    """Settings belong to the operator; the command never overwrites them."""
    made(home)
    before = contents(home)

    assert f"is for {DOMAIN}; to change that, edit" in refusal(made(home, domain="other.example.com"))
    assert contents(home) == before


def test_root_is_refused(home: Home) -> None:
    assert "is not for root" in refusal(made(home, is_root=True))
    assert not home.root.exists()


@pytest.mark.parametrize("is_file", [False, True], ids=["work tree", "linked work tree"])
def test_a_home_inside_a_git_work_tree_is_refused(tmp_path: Path, is_file: bool) -> None:  # noqa: FBT001 -- a parameter
    mark = tmp_path / "project" / ".git"
    mark.parent.mkdir()
    mark.write_text("gitdir: elsewhere\n") if is_file else mark.mkdir()
    inside = Home(tmp_path / "project" / "var" / "home")

    assert f"lies in the git work tree {tmp_path / 'project'}" in refusal(made(inside))
    assert not inside.root.exists()


def test_a_link_into_a_git_work_tree_is_seen_through(tmp_path: Path) -> None:
    (tmp_path / "project" / ".git").mkdir(parents=True)
    (tmp_path / "link").symlink_to("project")

    assert "git work tree" in refusal(made(Home(tmp_path / "link" / "home")))


def test_a_development_home_stays_one(home: Home) -> None:
    init.make_home(home, mode="development")
    before = contents(home)

    assert "is a development home and stays one" in refusal(made(home))
    assert contents(home) == before


def test_a_directory_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")

    assert "is not empty and is no home of a receiver" in refusal(made(Home(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "domain", ["localhost", "a b.example.com", "-a.example.com", "a..b", "x." * 127 + "xx", "a.b\n"]
)
def test_a_domain_that_is_none_is_refused(home: Home, domain: str) -> None:
    assert "must be the name a carrier calls" in refusal(made(home, domain=domain))
    assert not home.root.exists()


def test_production_and_domain_go_together(home: Home) -> None:
    for options in (["--production"], ["--domain", DOMAIN]):
        result = receiver("init", *options, "--home", home.root)
        assert result.returncode == 2
        assert "go together" in result.stderr
    assert not home.root.exists()


def test_a_production_home_is_not_run_or_demonstrated_or_simulated(home: Home) -> None:
    made(home)
    before = contents(home)

    for command in (["run"], ["run", "--demo"]):
        assert "is a production home" in refusal(receiver(*command, "--home", home.root))
    ready = home.ready
    ready.write_text("{}")
    refused = refusal(receiver("simulate", "--calls", "1", "--home", home.root))
    ready.unlink()

    assert refused == f"error: {home.root} is a production home; simulated callbacks go to development homes only"
    assert {path: text for path, text in contents(home).items() if path != home.lock} == before


def served(home: Home, run: Path) -> str:
    """Why `serve` refuses."""
    run.mkdir()
    return refusal(receiver("serve", "--home", home.root, "--run-dir", run))


@pytest.fixture
def development(tmp_path: Path) -> Home:
    """A development home to take certificates from."""
    place = Home(tmp_path / "development")
    umask = os.umask(0o077)
    try:
        init.development_home(place, now=1_795_000_000)
    finally:
        os.umask(umask)
    return place


@pytest.mark.parametrize("folder", ["anchors", "intermediates"])
def test_a_development_ca_is_not_served(home: Home, development: Home, tmp_path: Path, folder: str) -> None:
    """However it got there: everybody who ever ran a development home could have its key."""
    made(home)
    target = home.trust / "tencent" / folder / "ca.pem"
    target.parent.mkdir(parents=True)
    (source,) = development.trust.glob("tencent/anchors/*.pem")
    target.write_bytes(source.read_bytes())
    text = home.settings.read_text().replace('# user = "www-data"', 'user = "root"')
    home.settings.write_text(text)

    refused = served(home, tmp_path / "run")
    assert f"{target}: a CA of a development PKI, and this is a production home" in refused


def test_a_development_server_certificate_is_not_served(home: Home, development: Home, tmp_path: Path) -> None:
    made(home)
    (source,) = development.pki.glob("server-*/issued/*.pem")
    (home.nginx / "server.pem").write_bytes(source.read_bytes())

    assert "server.pem: is of a development PKI, and this is a production home" in served(home, tmp_path / "run")


def test_a_production_home_that_came_into_a_work_tree_is_not_served(home: Home, tmp_path: Path) -> None:
    made(home)
    (home.root / ".git").mkdir()

    assert "lies in the git work tree" in served(home, tmp_path / "run")
