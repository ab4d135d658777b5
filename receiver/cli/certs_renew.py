"""`receiver certs renew`: the next certificate beside the old one; both work until the old one's date."""

import json
import time
from pathlib import Path
from typing import Any

import click

from receiver.cli.certs_choice import newest
from receiver.cli.certs_place import FILE, Place, content, passphrase_in, placed, with_passphrase
from receiver.logs import printable
from receiver.pki import authority, issuing, renewing
from receiver.pki.findings import instant
from receiver.pki.issuing import Issued


@click.command(
    "renew",
    short_help="the next certificate beside the old one",
    epilog="Example: receiver certs renew acme --csr acme-2027.csr",
)
@click.argument("which")
@click.option("--csr", type=FILE, help="The carrier's new signing request, where the carrier made its key.")
@click.option(
    "--revoke-old", is_flag=True, help="Revoke the old one at once.  [default: it stays valid until its date]"
)
@with_passphrase
@placed
def renew(  # noqa: PLR0913 -- one argument for each option
    *,
    which: str,
    csr: Path | None,
    revoke_old: bool,
    passphrase_file: Path | None,
    home: Path,
    pki: Path | None,
    is_json: bool,
) -> None:
    """Issue the next certificate for WHICH: a carrier, a host name, a serial, a SHA-256 or a file.

    A certificate whose key was made here gets a new key; for another the carrier sends a new signing request.
    """
    place, now, passphrase = Place.of(home, pki), int(time.time()), passphrase_in(passphrase_file)
    old = newest(issuing.issued(authority.find(place.pki)), which)
    if old.carrier:
        place.check_carrier(old.carrier)
    if revoke_old:
        renewing.may_revoke(old, passphrase=passphrase)
    own = authority.current(place.pki, old.authority.purpose)
    new = renewing.renew(old, own, now=now, passphrase=passphrase, request=content(csr) if csr else None)
    lines = place.take_up(new, carrier=new.carrier, now=now) if new.carrier else []
    if renewing.has_same_key(old, new):
        lines.append("warning: the request is for the same key as before; a new certificate is for a new key")
    if revoke_old:
        issuing.revoke(old, reason="superseded", now=now, passphrase=passphrase)
        lines.append(_given(old, place.publish_crl(old.authority)))
    _show(old, new, is_revoked=revoke_old, lines=lines, is_json=is_json)


def _given(old: Issued, carriers: list[str]) -> str:
    if carriers:
        return f"The CRL that lists the old one is given to {', '.join(carriers)}."
    return f"Next: bring {old.authority.crl_path} to where the receiver reads its trust files."


def _show(old: Issued, new: Issued, *, is_revoked: bool, lines: list[str], is_json: bool) -> None:
    if is_json:
        facts = {"old": _facts(old) | {"revoked": is_revoked}, "new": _facts(new)}
        click.echo(json.dumps(facts | {"lines": lines}))
        return
    standing = "is revoked now" if is_revoked else f"stays valid until {instant(old.not_after)}"
    click.echo(printable(f"old: {old.path}, serial {old.serial}, {standing}"))
    click.echo(printable(f"new: {new.path}, serial {new.serial}, valid until {instant(new.not_after)}"))
    if new.key_path:
        click.echo(f"its key: {new.key_path}")
    for line in lines:
        click.echo(printable(line))
    click.echo(f"Next: receiver certs export {new.carrier}" if new.carrier else "Next: have nginx take it up")


def _facts(one: Issued) -> dict[str, Any]:
    return {
        "serial": one.serial,
        "certificate": str(one.path),
        "key": str(one.key_path) if one.key_path else None,
        "ca": one.authority.name,
        "not_after": instant(one.not_after),
    }
