"""`receiver app`: the applications whose callbacks are accepted, each at an address of its own. Keys are shown once."""

import hashlib
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
import orjson

from receiver import config, control
from receiver.cli.store_terminal import home_option, json_option, show
from receiver.errors import UsageError
from receiver.home import Home

_KEY_BYTES: Final = 16  # 128 bits
_HTTPS_PORT: Final = 443
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CALLER: Final = re.compile(r"\+?[0-9]{3,20}")
_SHOWN_ONCE: Final = "The key in it is shown now and never again: only its hash is kept."


@click.group(epilog="Example: receiver app add tencent billing")
def command() -> None:
    """Declare the carrier's applications: each gets its own callback address with a secret key in it.

    Tencent's callbacks do not say which application they are for, so the address must.
    """


@command.command(epilog="Example: receiver app add tencent billing --caller 075583763333")
@click.argument("carrier")
@click.argument("name")
@click.option("--caller", "callers", multiple=True, metavar="NUMBER", help="A number it calls from; give each.")
@json_option
@home_option
def add(*, home: Path, carrier: str, name: str, callers: tuple[str, ...], is_json: bool) -> None:
    """Declare an application and print its callback address, once."""
    settings = _checked(home, carrier)
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r}: an application's name is 1 to 64 letters, digits, _ and -")
    key = secrets.token_hex(_KEY_BYTES)
    control.call(
        Home(home),
        "app_declare",
        carrier=carrier,
        name=name,
        key_hash=_hash(key),
        created_at=int(time.time()),
        callers=_numbers(callers),
    )
    url = _url(home, settings, carrier, name, key)
    lines = [_SHOWN_ONCE, f"Next: give it to {carrier} as the callback address of this application."]
    if not settings.is_production:
        lines.append("This is a development home: here any address works, with or without a key.")
    _print_once({"carrier": carrier, "name": name, "url": url, "callers": _numbers(callers)}, lines, is_json=is_json)


@command.command("list", epilog="Example: receiver app list --json")
@json_option
@home_option
def list_(*, home: Path, is_json: bool) -> None:
    """List the declared applications: how many keys are valid, and the declared numbers."""
    settings = config.load(home)
    rows = control.call(Home(home), "app_list")
    show("apps", [_line(row, home, settings, is_json=is_json) for row in rows], is_json=is_json)


@command.command(epilog="Example: receiver app rotate tencent billing")
@click.argument("carrier")
@click.argument("name")
@click.option("--drop-old", is_flag=True, help="End a rotation: the old key is refused from now on.")
@json_option
@home_option
def rotate(*, home: Path, carrier: str, name: str, drop_old: bool, is_json: bool) -> None:
    """Print a new address, once; the old one stays valid until it is dropped.

    First rotate, then have the carrier use the new address, then rotate with --drop-old.
    """
    settings = _checked(home, carrier)
    if drop_old:
        control.call(Home(home), "app_drop_old_key", carrier=carrier, name=name)
        _print({"carrier": carrier, "name": name, "keys": 1}, "the old address is refused from now on", is_json=is_json)
        return
    key = secrets.token_hex(_KEY_BYTES)
    control.call(Home(home), "app_rotate", carrier=carrier, name=name, key_hash=_hash(key), created_at=int(time.time()))
    url = _url(home, settings, carrier, name, key)
    lines = [
        f"{_SHOWN_ONCE} The old address stays valid too.",
        f"Next: give it to {carrier}, and once it is used: receiver app rotate {carrier} {name} --drop-old",
    ]
    _print_once({"carrier": carrier, "name": name, "url": url, "keys": 2}, lines, is_json=is_json)


@command.command(epilog="Example: receiver app callers tencent billing 075583763333 075583764444")
@click.argument("carrier")
@click.argument("name")
@click.argument("numbers", nargs=-1, metavar="[NUMBER]...")
@json_option
@home_option
def callers(*, home: Path, carrier: str, name: str, numbers: tuple[str, ...], is_json: bool) -> None:
    """Say anew which numbers an application calls from; without any, none is declared."""
    chosen = _numbers(numbers)
    control.call(Home(home), "app_callers", carrier=carrier, name=name, callers=chosen)
    text = f"{carrier} {name} calls from {', '.join(chosen) or 'numbers that are not declared'}"
    _print({"carrier": carrier, "name": name, "callers": chosen}, text, is_json=is_json)


@command.command(epilog="Example: receiver app remove tencent billing")
@click.argument("carrier")
@click.argument("name")
@json_option
@home_option
def remove(*, home: Path, carrier: str, name: str, is_json: bool) -> None:
    """Accept an application's callbacks no more. What was kept of it stays and counts on."""
    control.call(Home(home), "app_remove", carrier=carrier, name=name)
    text = f"{carrier} {name} is removed; its address is refused from now on"
    _print({"carrier": carrier, "name": name, "removed": True}, text, is_json=is_json)


def _checked(home: Path, carrier: str) -> config.Settings:
    settings = config.load(home)
    if carrier not in settings.carriers:
        known = ", ".join(sorted(settings.carriers))
        raise UsageError(f"no carrier {carrier!r} in the settings; known: {known}")
    return settings


def _numbers(callers: tuple[str, ...]) -> list[str]:
    for number in callers:
        if not _CALLER.fullmatch(number):
            raise UsageError(f"{number!r}: a number is 3 to 20 digits, as the carrier writes it in call_from")
    return sorted(set(callers))


def _line(row: dict[str, Any], home: Path, settings: config.Settings, *, is_json: bool) -> dict[str, Any]:
    line, keys = {"carrier": row["carrier"], "name": row["name"]}, len(row["key_hashes"])
    if is_json:
        address = _url(home, settings, row["carrier"], row["name"], "KEY")
        return line | {"address": address, "keys": keys, "callers": row["callers"]}
    return line | {"keys": "2, rotating" if keys > 1 else keys, "callers": ", ".join(row["callers"])}


def _url(home: Path, settings: config.Settings, carrier: str, name: str, key: str) -> str:
    return f"{_origin(home, settings)}/callbacks/{carrier}/{name}/{key}"


def _origin(home: Path, settings: config.Settings) -> str:
    """Where the carrier side is: a running development home says it, for its port may have been an option."""
    with suppress(OSError, ValueError, KeyError):
        running = urlsplit(orjson.loads(Home(home).ready.read_bytes())["callbacks_url"])
        return f"{running.scheme}://{running.netloc}"
    server = settings.server
    return f"https://{server.domain}" + ("" if server.https_port == _HTTPS_PORT else f":{server.https_port}")


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _print_once(facts: dict[str, Any], lines: list[str], *, is_json: bool) -> None:
    """The address alone on standard output, so that it can be piped to where it is needed."""
    _print(facts, facts["url"], is_json=is_json)
    if not is_json:
        for line in lines:
            click.echo(line, err=True)


def _print(facts: dict[str, Any], text: str, *, is_json: bool) -> None:
    click.echo(orjson.dumps(facts).decode() if is_json else text)
