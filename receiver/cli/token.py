"""`receiver token`: tokens of the operations side, and addresses that open its dashboard. Secrets are printed once."""

import hashlib
import re
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import orjson

from receiver import config, control
from receiver.cli.store_terminal import home_option, json_option, show
from receiver.errors import UsageError
from receiver.home import Home
from receiver.model import Role

_SIGN_IN_SECONDS: Final = 600
_LIFETIME: Final = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")
# So that a token is known for one wherever it turns up.
_PREFIX: Final = "rcv_"

_role_option = click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice([role.value for role in Role]),
    default=[Role.READ.value],
    show_default=True,
    help="What it may do; give it several times for several roles.",
)
_apps_option = click.option("--apps", default="", metavar="A,B", help="Only these applications.  [default: all]")


@click.group(epilog="Example: receiver token create --name grafana --role read --expires 90d")
def command() -> None:
    """Make, list and revoke tokens for the dashboard and the API."""


@command.command(epilog="Example: receiver token create --name grafana --role read --apps demo --expires 90d")
@click.option("--name", required=True, help="Whose it is; shown in lists and in the audit.")
@_role_option
@_apps_option
@click.option("--expires", metavar="90d", help="How long it is good for: 12h, 90d, 52w.  [default: for ever]")
@json_option
@home_option
def create(  # noqa: PLR0913 -- one argument for each option
    *, home: Path, name: str, roles: tuple[str, ...], apps: str, expires: str | None, is_json: bool
) -> None:
    """Make a token. It is printed now and never again: only its hash is kept."""
    token, now = _PREFIX + secrets.token_urlsafe(32), int(time.time())
    expires_at = None if expires is None else now + _seconds(expires)
    control.call(
        Home(home),
        "token_create",
        name=_checked_name(name),
        token_hash=_hash(token),
        roles=list(roles),
        apps=_names(apps),
        created_at=now,
        expires_at=expires_at,
    )
    if is_json:
        click.echo(orjson.dumps({"token": token, "name": name, "roles": roles, "expires_at": _text(expires_at)}))
    else:
        click.echo(token)


@command.command("list", epilog="Example: receiver token list --json")
@json_option
@home_option
def list_(*, home: Path, is_json: bool) -> None:
    """List the tokens: names, roles, applications, when made, until when. The tokens themselves are not known."""
    show("tokens", [_line(row, is_json=is_json) for row in control.call(Home(home), "token_list")], is_json=is_json)


def _line(row: dict[str, Any], *, is_json: bool) -> dict[str, Any]:
    shown = _text if is_json else _short_text
    times = {name: shown(row[name]) for name in ("created_at", "expires_at")}
    lists = {name: row[name] if is_json else ", ".join(row[name]) for name in ("roles", "apps")}
    return {"name": row["name"], **lists, **times}


@command.command(epilog="Example: receiver token revoke grafana")
@click.argument("name")
@home_option
def revoke(*, home: Path, name: str) -> None:
    """Revoke a token, and end the browser sessions that it opened. It is refused from now on."""
    control.call(Home(home), "token_revoke", name=name)
    click.echo(f"{name} is revoked")


@command.command(epilog="Example: receiver token signin")
@click.option("--name", default="signin", show_default=True, help="Whose session it will be.")
@_role_option
@_apps_option
@json_option
@home_option
def signin(*, home: Path, name: str, roles: tuple[str, ...], apps: str, is_json: bool) -> None:
    """Print an address that opens the dashboard in a browser: once, within ten minutes."""
    code, now = secrets.token_urlsafe(16), int(time.time())
    control.call(
        Home(home),
        "signin_code_create",
        code_hash=_hash(code),
        name=_checked_name(name),
        roles=list(roles),
        apps=_names(apps),
        now=now,
        expires_at=now + _SIGN_IN_SECONDS,
    )
    address = f"{_address(home)}/signin?code={code}"
    click.echo(orjson.dumps({"address": address, "expires_at": _text(now + _SIGN_IN_SECONDS)}) if is_json else address)


def _address(home: Path) -> str:
    """Where the operations side is: a running development home says it, for its ports may have been options."""
    with suppress(OSError, ValueError, KeyError):
        return str(orjson.loads(Home(home).ready.read_bytes())["ops_url"])
    server = config.load(home).server
    host = f"[{server.ops_host}]" if ":" in server.ops_host else server.ops_host
    return f"https://{server.domain}" if server.ops_tls else f"http://{host}:{server.ops_port}"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError("--name: 1 to 64 letters, digits and . _ @ -")
    return name


def _names(apps: str) -> list[str]:
    return sorted({name for name in apps.split(",") if name})


def _seconds(lifetime: str) -> int:
    match = _LIFETIME.fullmatch(lifetime)
    if match is None:
        raise UsageError(f"--expires {lifetime}: must be a duration such as 12h, 90d or 52w")
    return int(match[1]) * _UNITS[match[2]]


def _short_text(at: int | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z"


def _text(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()
