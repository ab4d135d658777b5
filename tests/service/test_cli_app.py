"""`receiver app`: addresses with keys shown once, kept hashed, rotated without a gap; served or not, and audited."""

import asyncio
import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import store_lab as lab
from click.testing import CliRunner, Result
from test_control import audited, call, maybe_serving, serving
from web_lab import Setting, receiving

from receiver import control
from receiver.cli.app import command
from receiver.errors import ReceiverError, SettingsError, UsageError
from receiver.home import Home
from receiver.store.interface import AppRow
from receiver.web.rules import declared


def invoked(home: Home, *arguments: str) -> Result:
    """Run a command line; our own errors are raised."""
    result = CliRunner().invoke(command, [*arguments, "--home", str(home.root)])
    if isinstance(result.exception, ReceiverError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def run(home: Home, *arguments: str) -> Any:
    """Run a command with `--json`; its object."""
    return orjson.loads(invoked(home, *arguments, "--json").stdout)


def apps(home: Home) -> list[AppRow]:
    """The declared applications, as the carrier side gets them."""
    rows = control.call(home, "app_list")
    return [AppRow(**row | {"key_hashes": tuple(row["key_hashes"])}) for row in rows]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return lab.home(tmp_path)


def test_the_address_is_shown_once_and_only_its_hash_is_kept(home: Home) -> None:
    """128 random bits in it; the store, the audit and every later command know no more than the hash."""
    result = invoked(home, "add", "tencent", "billing", "--caller", "075583763333")
    url = result.stdout.strip()
    key = url.rsplit("/", 1)[1]

    assert re.fullmatch(r"https://localhost:8443/callbacks/tencent/billing/[0-9a-f]{32}", url)
    assert "never again" in result.stderr
    assert "development home" in result.stderr
    (app,) = apps(home)
    assert app.key_hashes == (hashlib.sha256(key.encode()).hexdigest(),)
    assert key.encode() not in b"".join(path.read_bytes() for path in (home.root / "store").iterdir())
    assert key not in invoked(home, "list").stdout + invoked(home, "list", "--json").stdout
    ((_, action, detail),) = audited(home)
    assert (action, detail["name"], detail["callers"]) == ("app_declare", "billing", ["075583763333"])
    assert not [name for name in detail if name.endswith("hash")]


@pytest.mark.parametrize("is_served", [True, False])
async def test_a_rotation_has_two_keys_until_the_old_one_is_dropped(tmp_path: Path, *, is_served: bool) -> None:
    """Neither a third key nor a second drop: each might cut off an address that is in use."""
    home = lab.home(tmp_path)
    async with maybe_serving(home, is_served=is_served):
        first = await asyncio.to_thread(run, home, "add", "tencent", "demo")
        second = await asyncio.to_thread(run, home, "rotate", "tencent", "demo")
        with pytest.raises(UsageError, match="two valid keys already"):
            await asyncio.to_thread(run, home, "rotate", "tencent", "demo")
        (during,) = await asyncio.to_thread(apps, home)
        await asyncio.to_thread(run, home, "rotate", "tencent", "demo", "--drop-old")
        with pytest.raises(UsageError, match="one key only"):
            await asyncio.to_thread(run, home, "rotate", "tencent", "demo", "--drop-old")
        (after,) = await asyncio.to_thread(apps, home)

    hashes = [hashlib.sha256(each["url"].rsplit("/", 1)[1].encode()).hexdigest() for each in (first, second)]
    assert list(during.key_hashes) == hashes
    assert list(after.key_hashes) == hashes[1:]
    assert [action for _, action, _ in audited(home)] == ["app_declare", "app_rotate", "app_drop_old_key"]


async def test_exactly_the_addresses_that_were_printed_are_answered(tmp_path: Path) -> None:
    """Where keys are required: before, during and after a rotation, and after a removal."""
    (tmp_path / "home").mkdir()
    home = lab.home(tmp_path / "home")
    urls = [urlsplit(run(home, "add", "tencent", "demo")["url"]).path]
    other = urlsplit(run(home, "add", "tencent", "other")["url"]).path
    async with receiving(tmp_path, Setting(declared=declared(apps(home), is_required=True))) as receiver:

        async def statuses() -> list[int]:
            receiver.edge.declared = declared(await asyncio.to_thread(apps, home), is_required=True)
            return [(await receiver.post(lab.report(), path=url)).status for url in urls]

        keyless, swapped = "/callbacks/tencent/demo", f"/callbacks/tencent/demo/{other.rsplit('/', 1)[1]}"
        assert await statuses() == [200]
        assert [(await receiver.post(lab.report(), path=path)).status for path in (keyless, swapped)] == [404, 404]
        urls.append(urlsplit((await asyncio.to_thread(run, home, "rotate", "tencent", "demo"))["url"]).path)
        assert await statuses() == [200, 200]
        await asyncio.to_thread(run, home, "rotate", "tencent", "demo", "--drop-old")
        assert await statuses() == [404, 200]
        await asyncio.to_thread(run, home, "remove", "tencent", "demo")
        assert await statuses() == [404, 404]


def test_the_list_says_how_many_keys_and_which_numbers(home: Home) -> None:
    run(home, "add", "tencent", "demo")
    run(home, "callers", "tencent", "demo", "075583764444", "075583763333", "075583764444")
    run(home, "rotate", "tencent", "demo")

    assert run(home, "list")["apps"] == [
        {
            "carrier": "tencent",
            "name": "demo",
            "address": "https://localhost:8443/callbacks/tencent/demo/KEY",
            "keys": 2,
            "callers": ["075583763333", "075583764444"],
        }
    ]
    assert "2, rotating" in invoked(home, "list").stdout


def test_the_address_is_that_of_the_settings_or_of_a_running_home(home: Home) -> None:
    """The usual port is left out; a development home on another port says so itself."""
    home.settings.write_text('[server]\ndomain = "cb.example.com"\nhttps_port = 443\n')
    assert run(home, "add", "tencent", "a")["url"].startswith("https://cb.example.com/callbacks/tencent/a/")

    home.ready.write_text('{"callbacks_url": "https://localhost:9443/callbacks/tencent/demo"}')
    assert run(home, "add", "tencent", "b")["url"].startswith("https://localhost:9443/callbacks/tencent/b/")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["add", "nobody", "demo"], "no carrier 'nobody' in the settings; known: tencent"),
        (["add", "tencent", "a/b"], "1 to 64 letters"),
        (["add", "tencent", "x" * 65], "1 to 64 letters"),
        (["add", "tencent", "billing", "--caller", "0755-8376"], "3 to 20 digits"),
        (["add", "tencent", "demo"], "has an application demo already"),
        (["rotate", "tencent", "nothing"], "no application nothing"),
        (["callers", "tencent", "nothing", "10086"], "no application nothing"),
        (["remove", "tencent", "nothing"], "no application nothing"),
    ],
)
def test_what_cannot_be_done_changes_nothing(home: Home, arguments: list[str], problem: str) -> None:
    run(home, "add", "tencent", "demo")
    before = apps(home)

    with pytest.raises(UsageError, match=re.escape(problem)):
        run(home, *arguments)
    assert apps(home) == before
    assert len(audited(home)) == 1


async def test_the_numbers_stay_through_a_rotation(tmp_path: Path) -> None:
    home = lab.home(tmp_path)
    async with serving(home):
        await asyncio.to_thread(run, home, "add", "tencent", "demo", "--caller", "10086")
        await asyncio.to_thread(run, home, "rotate", "tencent", "demo")
        (row,) = await call(home, "app_list")

    assert row["callers"] == ["10086"]


def test_a_home_without_settings_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="receiver init"):
        run(Home(tmp_path / "none"), "add", "tencent", "demo")


def test_through_the_installed_command_an_error_is_one_line(home: Home) -> None:
    arguments = [sys.executable, "-m", "receiver", "app", "remove", "tencent", "nothing", "--home", str(home.root)]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "error: carrier tencent has no application nothing\n"


@pytest.mark.parametrize("name", sorted(command.commands))
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    result = CliRunner().invoke(command, [name, "--help"])

    assert f"Example: receiver app {name}" in " ".join(result.output.split())
