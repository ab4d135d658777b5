"""`receiver init`: make a home, or what is missing of one. Nothing that is there is overwritten."""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import click

from receiver import config
from receiver.cli import init_production
from receiver.cli.home_parts import make_home, unless_there
from receiver.errors import StoreLockedError, UsageError
from receiver.home import Home
from receiver.model import Role
from receiver.pki import development, files
from receiver.pki.development import DevelopmentCredentials
from receiver.store.sqlite import State, offline
from receiver.trust import certificate, pem, pin_of, pin_row

__all__ = ["command", "development_home", "make_home"]

_CARRIER: Final = "tencent"
_OWNER: Final = "development"
_PIN_REASON: Final = "the development home's own client certificate"
_RETRY_SECONDS: Final = 0.1
_PATH: Final = click.Path(path_type=Path, file_okay=False)
_EPILOG: Final = (
    "Example: receiver init --home var; "
    "for production: receiver init --production --domain callbacks.example.com --home /var/lib/receiver"
)


@click.command(epilog=_EPILOG)
@click.option("--home", type=_PATH, default=Path("var"), show_default=True, envvar="RECEIVER_HOME")
@click.option("--production", "is_production", is_flag=True, help="Make a home for a carrier's real callbacks.")
@click.option("--domain", help="With --production: the host name the carrier calls.")
def command(*, home: Path, is_production: bool, domain: str | None) -> None:
    """Make a development home: settings, keys, a PKI of its own, a token to look at it with.

    With --production and --domain, a home without PKI and token, for a host where nginx and systemd run it.
    """
    if is_production != bool(domain):
        raise click.UsageError("--production and --domain NAME go together")
    place = Home(home.resolve())
    if domain:
        init_production.production_home(place, domain=domain)
        click.echo(init_production.next_steps(place, domain=domain), nl=False)
        return
    development_home(place, now=int(time.time()))
    click.echo(f"{place.root} is ready; start it with: scripts/run --home {home}")


def development_home(home: Home, *, now: int, patience_seconds: float = 2.0) -> DevelopmentCredentials:
    """Make whatever a development home lacks; keys, settings and tokens that are there stay as they are.

    Raises:
        UsageError: it is a production home.
        StoreLockedError: something serves its store and does not end within the patience.
        SettingsError: its settings cannot be used.
    """
    os.umask(0o077)
    make_home(home, mode="development")
    settings = config.load(home.root)
    if settings.is_production:
        raise UsageError(f"{home.root} is a production home; it is served by systemd, not by scripts/run")
    credentials = development.ensure(home.pki, carrier=_CARRIER, now=now)
    _install(home, "anchors", credentials.client_ca)
    _install(home, "crls", credentials.client_crl)
    with _offline(config.store_directory(settings, home.root), patience_seconds) as state:
        _pin(state, credentials, now=now)
        _read_token(state, home, now=now)
    return credentials


def _install(home: Home, folder: str, source: Path) -> None:
    """Copy a trust file of the development PKI to where the receiver and nginx take it from.

    Under its CA's name: while CAs are rotated, the one before keeps its own.
    """
    target = home.trust / _CARRIER / folder / f"{source.parent.name}.pem"
    files.make_directory(target.parent)
    content = source.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        files.replace(target, content)


def _pin(state: State, credentials: DevelopmentCredentials, *, now: int) -> None:
    der = pem.certificate_ders(credentials.client_cert.read_bytes())[0]
    columns = pin_row(pin_of(certificate.read(der)))
    if all(dict(row.columns) != columns for row in state.pin_list() if row.carrier == _CARRIER):
        state.pin_add(carrier=_CARRIER, columns=columns, reason=_PIN_REASON, created_at=now)


def _read_token(state: State, home: Home, *, now: int) -> None:
    """The token in the home and the hash in the store belong together, whichever of the two is missing."""
    is_known = any(row.name == _OWNER for row in state.token_list())
    if is_known and home.read_token.exists():
        return
    if is_known:
        state.token_revoke(_OWNER)
    unless_there(home.read_token, f"{secrets.token_urlsafe(32)}\n".encode())
    token = home.read_token.read_text("ascii").strip()
    state.token_create(
        name=_OWNER,
        token_hash=hashlib.sha256(token.encode()).hexdigest(),
        roles=[Role.READ],
        apps=[],
        created_at=now,
        expires_at=None,
    )


@contextmanager
def _offline(directory: Path, patience_seconds: float) -> Iterator[State]:
    """The store's state; a receiver whose supervisor was killed may still be ending."""
    deadline = time.monotonic() + patience_seconds
    with ExitStack() as stack:
        yield _opened(stack, directory, deadline)


def _opened(stack: ExitStack, directory: Path, deadline: float) -> State:
    while True:
        try:
            return stack.enter_context(offline(directory))
        except StoreLockedError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_SECONDS)
