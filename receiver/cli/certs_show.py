"""How certificate work is shown: a table for people, one JSON object for scripts. Foreign text comes out escaped."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.logs import printable
from receiver.pki.authority import Authority, CrlFacts, crl_facts
from receiver.pki.build import Revoked
from receiver.pki.issuing import Issued

_DAY: Final = 86_400
_COLUMNS: Final = ("for", "kind", "serial", "expires", "days", "status", "CA")
_SERIAL_DIGITS: Final = 8


def authority(made: Authority, *, is_json: bool) -> None:
    """A new authority."""
    facts = {
        "ca": made.name,
        "purpose": made.purpose.value,
        "certificate": str(made.path),
        "key": str(made.key_path),
        "crl": str(made.crl_path),
        "not_after": _instant(made.not_after),
    }
    arguments = "CARRIER --csr FILE" if made.purpose == "client" else "NAME..."
    _show(
        facts,
        is_json=is_json,
        lines=[
            f"It will expire on {_date(made.not_after)}. Keep a copy of its key in a safe place.",
            f"Next: receiver certs issue-{made.purpose} {arguments}",
        ],
    )


def issued(one: Issued, *, lines: Sequence[str], is_json: bool) -> None:
    """A new certificate, and what was or is to be done with it."""
    facts = _certificate(one) | {
        "key": str(one.key_path) if one.key_path else None,
        "not_after": _instant(one.not_after),
    }
    _show(facts, is_json=is_json, lines=[f"It will expire on {_date(one.not_after)}.", *lines])


def revocation(
    one: Issued, revoked: Revoked, *, carriers: Sequence[str], others: Sequence[Issued], is_json: bool
) -> None:
    """A certificate that is revoked from now on, and which others of its carrier are still valid."""
    facts = _certificate(one) | {
        "revoked_at": _instant(revoked.at),
        "reason": revoked.reason,
        "crl": str(one.authority.crl_path),
        "crl_given_to": list(carriers),
        "still_valid": [other.serial for other in others],
    }
    lines = [f"warning: {one.carrier} has another valid certificate, serial {other.serial}" for other in others]
    if not carriers:
        lines.append(f"Next: bring {one.authority.crl_path} to where the receiver reads its trust files.")
    _show(facts, is_json=is_json, lines=lines)


def crls(written: Sequence[Authority], given_to: Mapping[str, Sequence[str]], *, is_json: bool) -> None:
    """CRLs that were written anew."""
    rows = [_crl(one, crl_facts(one)) | {"given_to": list(given_to[one.name])} for one in written]
    if is_json:
        click.echo(json.dumps({"crls": rows}))
        return
    for row in rows:
        carriers = ", ".join(row["given_to"]) or "nobody"
        click.echo(f"{row['crl']}: number {row['number']}, next update {row['next_update']}, given to {carriers}")


def listing(authorities: Sequence[Authority], certificates: Sequence[Issued], *, now: int, is_json: bool) -> None:
    """Everything a PKI holds: what expires when."""
    cas = [_authority_row(one) | _standing(one.not_after, now=now) for one in authorities]
    leaves = [_certificate(one) | _standing(one.not_after, now=now, revoked=one.revoked) for one in certificates]
    crls = [(one, crl_facts(one)) for one in authorities]
    lists = [_crl(one, facts) | _standing(facts.next_update, now=now) for one, facts in crls]
    if is_json:
        click.echo(json.dumps({"authorities": cas, "crls": lists, "certificates": leaves}))
        return
    if not authorities:
        click.echo("No CA yet. Make one with: receiver certs init-ca --purpose client --passphrase-file FILE")
        return
    table = Table(*_COLUMNS, box=box.SIMPLE_HEAD)
    for row in (*cas, *lists, *leaves):
        _add_row(table, row)
    Console().print(table)


def _show(facts: Mapping[str, Any], *, lines: Iterable[str], is_json: bool) -> None:
    if is_json:
        click.echo(json.dumps(facts))
        return
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        if shown:
            # No table: a path that is broken into two lines cannot be copied.
            click.echo(f"{name.replace('_', ' '):<{width}}  {printable(str(shown))}")
    for line in lines:
        click.echo(printable(line))


def _add_row(table: Table, row: Mapping[str, Any]) -> None:
    cells = (
        row.get("carrier") or ", ".join(row.get("names", ())),
        row["kind"],
        row.get("serial", "")[-_SERIAL_DIGITS:],
        row["expires"][:10],
        str(row["days_left"]),
        row["status"],
        row["ca"],
    )
    whom, *others = (Text(printable(cell), overflow="fold") for cell in cells)
    table.add_row(whom, *(Text(other.plain, no_wrap=True) for other in others))


def _authority_row(one: Authority) -> dict[str, Any]:
    return {"ca": one.name, "kind": f"{one.purpose} CA", "certificate": str(one.path)}


def _crl(one: Authority, facts: CrlFacts) -> dict[str, Any]:
    return {
        "ca": one.name,
        "kind": "CRL",
        "crl": str(one.crl_path),
        "number": facts.number,
        "revoked": facts.revoked,
        "next_update": _instant(facts.next_update),
    }


def _certificate(one: Issued) -> dict[str, Any]:
    return {
        "carrier": one.carrier,
        "names": one.names,
        "kind": one.authority.purpose.value,
        "serial": one.serial,
        "sha256": one.sha256,
        "ca": one.authority.name,
        "certificate": str(one.path),
    }


def _standing(ends_at: int, *, now: int, revoked: Revoked | None = None) -> dict[str, Any]:
    status = "revoked" if revoked else "expired" if now > ends_at else "valid"
    return {"expires": _instant(ends_at), "days_left": (ends_at - now) // _DAY, "status": status}


def _instant(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _date(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%-d %B %Y")
