"""Where certificate work is done, and what it means for the home around it: trust files, pins, the carrier's rules."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from receiver import config, control
from receiver.carriers import PROFILES
from receiver.errors import UsageError
from receiver.home import Home
from receiver.pki import publish
from receiver.pki.authority import Authority
from receiver.pki.issuing import Issued
from receiver.trust import pin_of, pin_row
from receiver.trust.certificate import read
from receiver.trust.pem import certificate_ders

FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)

_PATH: Final = click.Path(path_type=Path)
_READABLE_BY_OTHERS: Final = 0o077
_PIN_REASON: Final = "issued by our own CA"
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A PKI directory, and the home it belongs to unless it stands alone."""

    pki: Path
    home: Home | None

    @classmethod
    def of(cls, home: Path, pki: Path | None) -> "Place":
        """From the options every command has."""
        return cls(pki=pki, home=None) if pki else cls(pki=Home(home).pki, home=Home(home))

    def settings(self) -> config.Settings | None:
        """The home's settings, if there is a home with settings.

        Raises:
            SettingsError: they cannot be used.
        """
        if self.home and self.home.settings.is_file():
            return config.load(self.home.root)
        return None

    def check_carrier(self, carrier: str) -> None:
        """Is this a carrier whose certificates we issue?

        Raises:
            UsageError: it is not configured, or brings its own CA.
        """
        settings = self.settings()
        if settings is None:
            return
        if carrier not in settings.carriers:
            raise UsageError(f"no carrier {carrier} in the settings; add a section [carriers.{carrier}] first")
        if settings.is_production and PROFILES[settings.carriers[carrier].profile].brings_own_ca:
            raise UsageError(
                f"{carrier} brings certificates of its own CA, so none is issued for it; "
                f"take up its CA instead: receiver trust add {carrier} FILE"
            )

    def take_up(self, issued: Issued, *, carrier: str, now: int) -> list[str]:
        """Make the home accept a new client certificate: its CA as anchor, its names as pin. Says what was done.

        Raises:
            ReceiverError: a trust file or the store cannot be written.
        """
        if self.home is None or self.settings() is None:
            return [f"Next, where the receiver runs: receiver trust pin {carrier} {issued.path}"]
        lines = []
        if publish.trust_authority(issued.authority, self.home.trust, carrier=carrier):
            lines.append(f"{issued.authority.name} is a trust anchor of {carrier} now; tell nginx: receiver nginx")
        columns = pin_row(pin_of(read(certificate_ders(issued.path.read_bytes())[0])))
        pins = control.call(self.home, "pin_list")
        if any(row["carrier"] == carrier and row["columns"] == columns for row in pins):
            return [*lines, f"It is pinned for {carrier}, like the one before."]
        control.call(self.home, "pin_add", carrier=carrier, columns=columns, reason=_PIN_REASON, created_at=now)
        return [*lines, f"It is pinned for {carrier} now, by issuer and subject."]

    def publish_crl(self, authority: Authority) -> list[str]:
        """Hand an authority's CRL to the carriers of this home that trust it; returns them.

        It is audited, and a receiver that runs has taken it up when this returns: who is revoked stays out from now on.

        Raises:
            ReceiverError: a file cannot be read or written, or the change cannot be recorded.
        """
        if self.home is None:
            return []
        carriers = publish.publish_crl(authority, self.home.trust)
        if self.settings() is not None:
            for carrier in carriers:
                control.call(self.home, "trust_install", carrier=carrier, files=[f"CRL of {authority.name}"])
        return carriers


def placed(function: _F) -> _F:
    """Add the options every command has."""
    for option in (
        click.option("--json", "is_json", is_flag=True, help="Print one JSON object."),
        click.option("--pki", type=_PATH, help="A PKI directory on its own.  [default: HOME/pki]"),
        click.option(
            "--home", type=_PATH, default=Path("var"), envvar="RECEIVER_HOME", show_default=True, help="The home."
        ),
    ):
        function = option(function)
    return function


def with_passphrase(function: _F) -> _F:
    """Add the option of every command that uses a CA's key."""
    option = click.option("--passphrase-file", type=FILE, help="Its first line is the passphrase of the CA's key.")
    return option(function)


def passphrase_in(path: Path | None) -> bytes | None:
    """The first line of a passphrase file, None without one.

    Raises:
        UsageError: it cannot be read, or is empty.
    """
    if path is None:
        return None
    if path.stat().st_mode & _READABLE_BY_OTHERS:
        click.echo(f"warning: {path} can be read by others; make it private with: chmod 600 {path}", err=True)
    passphrase = content(path).split(b"\n", 1)[0].rstrip(b"\r")
    if not passphrase:
        raise UsageError(f"{path}: its first line is empty, so it holds no passphrase")
    return passphrase


def content(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"{path}: cannot be read: {exc.strerror}") from None
