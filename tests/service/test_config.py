"""Settings: what is refused, in which words, and what the environment may change."""

import re
import tomllib
from pathlib import Path

import pytest

from receiver import config
from receiver.config import Settings
from receiver.errors import SettingsError
from receiver.settings_file import commented


def load(home: Path, text: str) -> Settings:
    (home / "receiver.toml").write_text(text, "utf-8")
    return config.load(home)


def test_an_empty_file_is_a_development_home(tmp_path: Path) -> None:
    settings = load(tmp_path, "")

    assert not settings.is_production
    assert (settings.server.https_port, settings.server.ops_port) == (8443, 8080)
    assert (settings.server.https_host, settings.server.ops_host) == ("127.0.0.1", "127.0.0.1")


def test_a_new_homes_file_says_nothing_but_the_mode(tmp_path: Path) -> None:
    assert load(tmp_path, commented(mode="development")) == load(tmp_path, "")
    assert load(tmp_path, commented(mode="production")).is_production


def test_a_new_homes_file_shows_every_key_with_its_default(tmp_path: Path) -> None:
    """Taking every "#" away changes nothing, so what the file shows is what holds."""
    shown = re.sub(r"^# ([a-z_]+ = )", r"\1", commented(mode="development"), flags=re.MULTILINE)
    keys = tomllib.loads(shown)

    assert load(tmp_path, shown).model_copy(update={"ops_token_file": None}) == load(tmp_path, "")
    assert set(keys) == set(Settings.model_fields)
    for section in ("server", "store", "limits", "statistics", "nginx", "log"):
        assert set(keys[section]) == set(type(getattr(load(tmp_path, ""), section)).model_fields)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour = 1", "unknown key colour"),
        ("[server]\nhttp_port = 1", "unknown key server.http_port"),
        ("[limits]\nbody_bytes = 1", "limits.body_bytes = 1: input should be greater than or equal to 1024"),
        ("[server]\nhttps_port = 70000", "server.https_port = 70000: input should be less than or equal to 65535"),
        ('[server]\nhttps_port = "many"', "server.https_port = 'many': input should be a valid integer"),
        ('[server]\nhttps_port = "8443"', "server.https_port = '8443': must be of the type int"),
        ("[server]\nhttps_port = true", "server.https_port = True: must be of the type int"),
        ('[statistics]\nfloor = "0.3"', "statistics.floor = '0.3': must be of the type float"),
        ('[nginx]\ncrl = "yes"', "nginx.crl = 'yes': must be of the type bool"),
        ("[server]\ndomain = 'a b; include x'", "server.domain = 'a b; include x': string should match"),
        ("[nginx]\nuser = 'root; daemon on'", "nginx.user = 'root; daemon on': string should match"),
        ("[server]\nops_host = '0.0.0.0'", "server.ops_host = '0.0.0.0': must be a loopback address"),
        ("[server]\nhttps_host = '*'", "server.https_host = '*': a development home listens on loopback only"),
        ("[server]\nops_port = 8443", "server.https_port and server.ops_port are both 8443"),
        ("[carriers.tencnt]\nstrictness = 'tolerant'", "carriers.tencnt: a carrier of its own needs a profile"),
        ("[statistics]\nzone = 'Asia'", "statistics.zone = 'Asia': must be an IANA time zone"),
        ("[statistics]\nflor = 0.5", "unknown key statistics.flor = 0.5; known: floor, lost_after_hours"),
        ("[statistics]\nzone = 'Mars/Olympus'", "statistics.zone = 'Mars/Olympus': must be an IANA time zone"),
        ("[store]\nurl = 'mysql://x'", "store.url = 'mysql://x': must be sqlite:///DIR or postgresql://host/db"),
        ("[carriers.tencent]\nprofile = 'pigeon'", "carriers.tencent.profile = 'pigeon': must be one of: tencent"),
        ("[carriers.tencent]\nstrictness = 'lax'", "carriers.tencent.strictness = 'lax': input should be 'strict' or"),
        ("[carriers.'NO SUCH']", "carriers.NO SUCH"),
        ("mode = 'test'", "mode = 'test': input should be 'development' or 'production'"),
        ("mode = ", "not TOML"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    """Key, value and what is allowed, in one line that begins with the file."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)

    assert str(caught.value).startswith(f"{tmp_path}/receiver.toml")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file; make a home with: receiver init --home"):
        config.load(tmp_path)


def test_the_environment_outranks_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_SERVER__HTTPS_PORT", "9443")
    monkeypatch.setenv("RECEIVER_LOG__LEVEL", "debug")

    settings = load(tmp_path, "[server]\nhttps_port = 8444\nops_port = 8081")

    assert (settings.server.https_port, settings.server.ops_port, settings.log.level) == (9443, 8081, "debug")


def test_a_wrong_environment_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_SERVER__HTTPS_PORT", "many")

    with pytest.raises(SettingsError, match=r"^environment variable RECEIVER_SERVER__HTTPS_PORT: server\.https_port"):
        load(tmp_path, "")


@pytest.mark.parametrize("name", ["RECEIVER_SEVRER__HTTPS_PORT", "RECEIVER_SERVER__HTTP_PORT"])
def test_an_unknown_environment_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A typing error in a variable's name must not silently leave the default in force."""
    monkeypatch.setenv(name, "1")

    with pytest.raises(SettingsError, match="unknown key"):
        load(tmp_path, "")


def test_the_front_doors_variables_are_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_HOME", "/somewhere")
    monkeypatch.setenv("RECEIVER_VENV", "/elsewhere")

    assert load(tmp_path, "") == Settings()


def test_a_path_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_OPS_TOKEN_FILE", "/etc/receiver/token")

    assert load(tmp_path, "").ops_token_file == Path("/etc/receiver/token")


def test_another_file_may_be_named_for_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`receiver --config FILE` and RECEIVER_CONFIG name another file than the home's."""
    (tmp_path / "other.toml").write_text("[server]\nops_port = 9999\n")
    monkeypatch.setenv("RECEIVER_CONFIG", str(tmp_path / "other.toml"))

    assert load(tmp_path, "").server.ops_port == 9999


def test_store_directories_are_relative_to_the_home(tmp_path: Path) -> None:
    assert config.store_directory(load(tmp_path, ""), tmp_path) == tmp_path / "store"
    assert config.store_directory(load(tmp_path, "store.url = 'sqlite:////data/x'"), tmp_path) == Path("/data/x")
    with pytest.raises(SettingsError, match="only sqlite:///DIR is built in so far"):
        config.store_directory(load(tmp_path, "store.url = 'postgresql://h/db'"), tmp_path)
