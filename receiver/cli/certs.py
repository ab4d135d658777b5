"""`receiver certs`: certificate work for operations. Arguments in, a table or JSON out; `pki` does the work."""

import re
import time
from pathlib import Path
from typing import Final

import click

from receiver.cli import certs_show as show
from receiver.cli.certs_check import check
from receiver.cli.certs_choice import choose, is_valid
from receiver.cli.certs_export import export_
from receiver.cli.certs_inspect import inspect
from receiver.cli.certs_place import FILE, Place, content, passphrase_in, placed, with_passphrase
from receiver.cli.certs_reload import reload
from receiver.cli.certs_renew import renew
from receiver.cli.certs_rotate import rotate_ca
from receiver.cli.certs_server import install_server
from receiver.cli.certs_verify import verify
from receiver.errors import CertificateError, UsageError
from receiver.pki import authority, issuing, keys
from receiver.pki.profiles import Purpose

_PURPOSE: Final = click.Choice([purpose.value for purpose in Purpose])
_CARRIER: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# RFC 5280, 5.3.1, without those that a private client PKI has no use for.
_REASONS: Final = {
    "unspecified": "unspecified",
    "key-compromise": "keyCompromise",
    "affiliation-changed": "affiliationChanged",
    "superseded": "superseded",
    "cessation-of-operation": "cessationOfOperation",
}


@click.group("certs")
def command() -> None:
    """Certificates: authorities, certificates, revocation.

    Keys are made with mode 0600 and never overwritten or deleted.
    """


@command.command("init-ca", epilog="Example: receiver certs init-ca --purpose client --passphrase-file ca.pass")
@click.option("--purpose", type=_PURPOSE, default=Purpose.CLIENT.value, show_default=True)
@with_passphrase
@click.option("--no-passphrase", is_flag=True, help="Leave the key unencrypted (a development PKI).")
@placed
def init_ca(  # noqa: PLR0913 -- one argument for each option
    *, purpose: str, passphrase_file: Path | None, no_passphrase: bool, home: Path, pki: Path | None, is_json: bool
) -> None:
    """Make a certificate authority, with an empty CRL from the first minute."""
    place = Place.of(home, pki)
    if (passphrase_file is None) == (not no_passphrase):
        raise click.UsageError("give either --passphrase-file FILE or --no-passphrase")
    if existing := authority.find(place.pki, Purpose(purpose)):
        raise CertificateError(
            f"{existing[-1].directory}: there is a {purpose} CA already, and nothing of it is ever overwritten"
        )
    passphrase = passphrase_in(passphrase_file)
    if passphrase is not None:
        keys.check_passphrase(passphrase, where=str(passphrase_file))
    made = authority.initialise(place.pki, Purpose(purpose), now=_now(), passphrase=passphrase)
    show.authority(made, is_json=is_json)


@command.command("issue-server", epilog="Example: receiver certs issue-server callbacks.example.com 192.0.2.1")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--rsa", "rsa_bits", type=click.Choice(keys.RSA_BITS), help="An RSA key, for old clients.")
@with_passphrase
@placed
def issue_server(  # noqa: PLR0913 -- one argument for each option
    *,
    names: tuple[str, ...],
    rsa_bits: int | None,
    passphrase_file: Path | None,
    home: Path,
    pki: Path | None,
    is_json: bool,
) -> None:
    """Issue a server certificate for host names and addresses; without any, for the home's `server.domain`."""
    place = Place.of(home, pki)
    settings = place.settings()
    wanted = names or ((settings.server.domain,) if settings else ())
    issued = issuing.issue_server(
        authority.current(place.pki, Purpose.SERVER),
        wanted,
        now=_now(),
        passphrase=passphrase_in(passphrase_file),
        rsa_bits=rsa_bits,
    )
    show.issued(issued, lines=[], is_json=is_json)


@command.command("issue-client", epilog="Example: receiver certs issue-client acme --csr acme.csr")
@click.argument("carrier")
@click.option("--csr", type=FILE, help="The carrier's signing request: it keeps its key, we take only the public one.")
@click.option("--rsa", "rsa_bits", type=click.Choice(keys.RSA_BITS), help="An RSA key, for old clients.")
@with_passphrase
@placed
def issue_client(  # noqa: PLR0913 -- one argument for each option
    *,
    carrier: str,
    csr: Path | None,
    rsa_bits: int | None,
    passphrase_file: Path | None,
    home: Path,
    pki: Path | None,
    is_json: bool,
) -> None:
    """Issue a client certificate for a carrier, best for its own signing request; in a home it is pinned at once."""
    place, now = Place.of(home, pki), _now()
    if csr and rsa_bits:
        raise click.UsageError("--rsa is for a key made here; with --csr the carrier has made it")
    if not _CARRIER.fullmatch(carrier):
        raise UsageError(f"{carrier!r}: a carrier's name is letters a-z, digits, _ and -, at most 32")
    place.check_carrier(carrier)
    issued = issuing.issue_client(
        authority.current(place.pki, Purpose.CLIENT),
        carrier,
        now=now,
        passphrase=passphrase_in(passphrase_file),
        request=content(csr) if csr else None,
        rsa_bits=rsa_bits,
    )
    show.issued(issued, lines=place.take_up(issued, carrier=carrier, now=now), is_json=is_json)


@command.command("list", epilog="Example: receiver certs list --json")
@placed
def list_(*, home: Path, pki: Path | None, is_json: bool) -> None:
    """Show every authority and certificate: what expires when."""
    place = Place.of(home, pki)
    found = authority.find(place.pki)
    show.listing(found, issuing.issued(found), now=_now(), is_json=is_json)


@command.command("revoke", epilog="Example: receiver certs revoke acme --reason key-compromise")
@click.argument("which")
@click.option("--reason", type=click.Choice([*_REASONS]), default="unspecified", show_default=True)
@with_passphrase
@placed
def revoke(  # noqa: PLR0913 -- one argument for each option
    *, which: str, reason: str, passphrase_file: Path | None, home: Path, pki: Path | None, is_json: bool
) -> None:
    """Revoke a certificate and write the CRL: WHICH is a serial, a SHA-256, a file, or a carrier with only one."""
    place, now = Place.of(home, pki), _now()
    everything = issuing.issued(authority.find(place.pki))
    one = choose(everything, which, now=now)
    revoked = issuing.revoke(one, reason=_REASONS[reason], now=now, passphrase=passphrase_in(passphrase_file))
    carriers = place.publish_crl(one.authority)
    others = [
        other
        for other in everything
        if other.carrier and other.carrier == one.carrier and other.path != one.path and is_valid(other, now=now)
    ]
    show.revocation(one, revoked, carriers=carriers, others=others, is_json=is_json)


@command.command("crl", epilog="Example: receiver certs crl --passphrase-file ca.pass")
@click.option("--purpose", type=_PURPOSE, help="Only the CAs of this purpose.")
@with_passphrase
@placed
def crl(*, purpose: str | None, passphrase_file: Path | None, home: Path, pki: Path | None, is_json: bool) -> None:
    """Write the CRLs anew, with the next number and new dates; a daily timer keeps them from expiring."""
    place, now = Place.of(home, pki), _now()
    found = authority.find(place.pki, Purpose(purpose) if purpose else None)
    if not found:
        raise CertificateError(f"{place.pki}: no CA yet; make one with: receiver certs init-ca")
    passphrase = passphrase_in(passphrase_file)
    for one in found:
        authority.refresh_crl(one, now=now, passphrase=passphrase)
    carriers = {one.name: place.publish_crl(one) for one in found}
    show.crls(found, carriers, is_json=is_json)


for _command in (check, export_, inspect, install_server, reload, renew, rotate_ca, verify):
    command.add_command(_command)


def _now() -> int:
    return int(time.time())
