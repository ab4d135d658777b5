"""Making a home: complete, private, repeatable, and never over something that is there."""

import hashlib
import stat
import time
from pathlib import Path

import pytest

from receiver import config
from receiver.cli import init
from receiver.errors import StoreLockedError, UsageError
from receiver.home import Home
from receiver.model import Role
from receiver.store.sqlite import offline

NOW = int(time.time())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def contents(home: Home) -> dict[Path, bytes]:
    """Every file but the database, which counts its transactions."""
    return {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file() and "store" not in path.parts}


def test_a_new_home_has_everything_a_start_needs(home: Home) -> None:
    made = init.development_home(home, now=NOW)

    assert len(home.edge_key.read_text().strip()) == 64
    assert len(home.callee_key.read_bytes()) == 32
    name = f"{made.client_ca.parent.name}.pem"
    assert (home.trust / "tencent" / "anchors" / name).read_bytes() == made.client_ca.read_bytes()
    assert (home.trust / "tencent" / "crls" / name).read_bytes() == made.client_crl.read_bytes()
    assert not config.load(home.root).is_production


def test_a_new_home_is_private(home: Home) -> None:
    init.development_home(home, now=NOW)

    private = [home.settings, home.edge_key, home.callee_key, home.read_token, *home.root.glob("store/*.db")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    directories = [home.root, *(path for path in home.root.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in directories} == {0o700}


def test_the_development_client_is_pinned_and_the_token_reads(home: Home) -> None:
    init.development_home(home, now=NOW)

    with offline(home.root / "store") as state:
        (pin,) = state.pin_list()
        (token,) = state.token_list()
    assert (pin.carrier, pin.columns["kind"]) == ("tencent", "name")
    assert (token.roles, token.expires_at) == (frozenset({Role.READ}), None)


def test_making_it_again_changes_nothing(home: Home) -> None:
    first = init.development_home(home, now=NOW)
    before = contents(home)

    second = init.development_home(home, now=NOW + 3600)

    assert contents(home) == before
    assert second == first
    with offline(home.root / "store") as state:
        assert (len(state.pin_list()), len(state.token_list())) == (1, 1)


def test_settings_that_were_changed_stay(home: Home) -> None:
    init.make_home(home, mode="development")
    home.settings.write_text("[server]\nhttps_port = 9443\n")

    init.development_home(home, now=NOW)

    assert config.load(home.root).server.https_port == 9443


@pytest.mark.parametrize("lost", ["token file", "store"])
def test_token_and_store_find_together_again(home: Home, lost: str) -> None:
    """Whichever of the two is lost, after the next start the token in the home works."""
    init.development_home(home, now=NOW)
    if lost == "token file":
        home.read_token.unlink()
    else:
        for path in (home.root / "store").iterdir():
            path.unlink()

    init.development_home(home, now=NOW)

    with offline(home.root / "store") as state:
        (row,) = state._connection.execute("select hash from token").fetchall()
    assert row[0] == hashlib.sha256(home.read_token.read_text().strip().encode()).hexdigest()


def test_an_interrupted_start_is_completed(home: Home) -> None:
    """Whatever was there when it stopped, the next start makes the rest."""
    init.make_home(home, mode="development")
    home.edge_key.unlink()
    home.log.rmdir()

    init.development_home(home, now=NOW)

    assert home.edge_key.exists()
    assert home.log.is_dir()


def test_a_directory_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")

    with pytest.raises(UsageError, match="is not empty and is no home of a receiver; choose another --home"):
        init.development_home(Home(tmp_path), now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_production_home_is_refused(home: Home) -> None:
    """No development certificate ever gets into a production home."""
    init.make_home(home, mode="production")

    with pytest.raises(UsageError, match="is a production home"):
        init.development_home(home, now=NOW)
    assert not home.pki.exists()


def test_a_store_in_use_is_waited_for_and_then_named(home: Home) -> None:
    init.development_home(home, now=NOW)
    begun = time.monotonic()

    with offline(home.root / "store"), pytest.raises(StoreLockedError, match="is in use by process"):
        init.development_home(home, now=NOW, patience_seconds=0.3)
    assert 0.3 <= time.monotonic() - begun < 3
