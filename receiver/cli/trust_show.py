"""How trust is shown: tables for people, one JSON object for scripts. Foreign text comes out escaped."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click
import orjson
from cryptography import x509
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.logs import printable
from receiver.pki.carrier_files import Item, sha256_of
from receiver.pki.preflight import DAY, Examined, Role, Side, key_text, signature_text
from receiver.trust import ACCEPT_UNPINNED
from receiver.trust.certificate import seconds, serial_text
from receiver.trust.text import instant_text
from receiver.trust.text import printable as cut

_DER_MARK: Final = ";der="
_ID_DIGITS: Final = 8
_ROLES: Final = {Role.ANCHOR: "root CA", Role.INTERMEDIATE: "intermediate CA"}
_KINDS: Final = {"anchors": "root CA", "intermediates": "lower CA", "crls": "CRL"}


def told(facts: Mapping[str, Any], *, is_json: bool) -> None:
    """What a command has done: `text`, then its `lines`."""
    if is_json:
        click.echo(orjson.dumps(facts).decode())
        return
    for line in (facts["text"], *facts["lines"]):
        click.echo(printable(line))


def examined(one: Examined, *, now: int) -> dict[str, Any]:
    """A CA certificate and what was found, as a JSON object."""
    certificate = one.certificate
    return {
        "role": one.role.value,
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": serial_text(certificate.serial_number),
        "sha256": sha256_of(certificate),
        "key": key_text(certificate),
        "signature": signature_text(certificate),
        "not_before": instant_text(seconds(certificate.not_valid_before_utc)),
        "not_after": instant_text(seconds(certificate.not_valid_after_utc)),
        "days_left": (seconds(certificate.not_valid_after_utc) - now) // DAY,
        **{side.value: "refuses" if one.is_refused_by(side) else "accepts" for side in Side},
        "findings": [
            {"code": each.code, "text": each.text, "refused_by": [side.value for side in each.refused_by]}
            for each in one.findings
        ],
    }


def certificate_screen(facts: Mapping[str, Any]) -> None:
    """One CA certificate on the terminal: what it is, and who will accept what is under it."""
    table = Table(show_header=False, box=None)
    rows = {
        _ROLES[Role(facts["role"])]: facts["subject"],
        "issued by": "itself" if facts["role"] == Role.ANCHOR else facts["issuer"],
        "key": facts["key"],
        "signed with": facts["signature"],
        "valid": f"{facts['not_before'][:10]} to {facts['not_after'][:10]}, {facts['days_left']} days left",
        "SHA-256": facts["sha256"],
        "nginx": f"{facts['nginx']} certificates under it",
        "receiver": f"{facts['receiver']} certificates under it",
    }
    for name, value in rows.items():
        table.add_row(name, Text(cut(value), overflow="fold"))
    Console().print(table)
    for finding in facts["findings"]:
        sides = " and ".join(finding["refused_by"])
        click.echo(printable(f"  ! {finding['text']}" + (f" (refused by {sides})" if sides else "")))


def revocations(crl: x509.CertificateRevocationList, *, now: int) -> dict[str, Any]:
    """A CRL as a JSON object."""
    end = crl.next_update_utc
    return {
        "issuer": crl.issuer.rfc4514_string(),
        "revoked": len(crl),
        "this_update": instant_text(seconds(crl.last_update_utc)),
        "next_update": instant_text(seconds(end)) if end else None,
        "is_expired": end is not None and seconds(end) < now,
        "sha256": sha256_of(crl),
    }


def crl_screen(facts: Mapping[str, Any]) -> None:
    """One CRL on the terminal."""
    until = (facts["next_update"] or "without end")[:10]
    expired = "; it has expired, so ask the carrier for the next one" if facts["is_expired"] else ""
    click.echo(printable(f"CRL of {cut(facts['issuer'])}: {facts['revoked']} revoked, until {until}{expired}"))


def file_row(item: Item, *, now: int, known_to_nginx: frozenset[str]) -> dict[str, Any]:
    """A trust file's certificate or CRL in a list."""
    content = item.content
    if isinstance(content, x509.Certificate):
        start, end = seconds(content.not_valid_before_utc), seconds(content.not_valid_after_utc)
        status = "expired" if now > end else "not valid yet" if now < start else "valid"
        more: dict[str, Any] = {"known_to_nginx": item.sha256 in known_to_nginx}
        name = content.subject
    else:
        end = seconds(content.next_update_utc) if content.next_update_utc else now
        status, more, name = "expired" if now > end else "valid", {"revoked": len(content)}, content.issuer
    return {
        "what": _KINDS[item.kind],
        "name": name.rfc4514_string(),
        "expires": instant_text(end),
        "days_left": (end - now) // DAY,
        "status": status,
        "sha256": item.sha256,
        "file": str(item.path),
        **more,
    }


def rule_row(what: str, row: Mapping[str, Any], *, now: int) -> dict[str, Any]:
    """A pin or a block in a list."""
    columns = {name: _for_people(value) for name, value in row["columns"].items()}
    until = columns.pop("until", None)
    return {
        "what": what,
        "id": row["id"],
        **columns,
        "until": instant_text(until) if isinstance(until, int) else None,
        "is_over": isinstance(until, int) and until <= now,
        "reason": row["reason"],
        "created_at": instant_text(row["created_at"]),
    }


def _for_people(value: str | int | None) -> str | int | None:
    return value.partition(_DER_MARK)[0] if isinstance(value, str) else value


def listing(carriers: Sequence[Mapping[str, Any]]) -> None:
    """Everything that decides who may speak for whom, on the terminal: a table for each carrier, then its warnings."""
    for carrier in carriers:
        held = "held" if carrier["is_holding"] else "ACCEPTED (holding is off)"
        click.echo(f"{carrier['carrier']}: profile {carrier['strictness']}; what comes under no pin is {held}")
        table = Table("id", "what", "expires", "days", "status", "name", box=box.SIMPLE_HEAD)
        for row in carrier["files"]:
            _add(table, _file_cells(row))
        for row in (*carrier["pins"], *carrier["blocks"]):
            _add(table, _rule_cells(row))
        if table.row_count:
            Console().print(table)
        for warning in carrier["warnings"]:
            click.echo(printable(f"warning: {warning}"))


def _file_cells(row: Mapping[str, Any]) -> Iterable[str]:
    identifier, days = row["sha256"][:_ID_DIGITS], str(row["days_left"])
    return identifier, row["what"], row["expires"][:10], days, row["status"], row["name"]


def _rule_cells(row: Mapping[str, Any]) -> Iterable[str]:
    identifier, until = str(row["id"]), (row["until"] or "")[:10]
    if row["kind"] == ACCEPT_UNPINNED:
        return identifier, "no holding", "", "", "in force", row["reason"]
    serial = f"serial {row['serial']} of {row['issuer']}" if row.get("serial") else None
    name = serial or row.get("subject") or row.get("san") or row.get("sha256") or ""
    what = row["what"] if row["what"] == "block" else f"pin {row['kind']}"
    return identifier, what, until, "", "ended" if row["is_over"] else "in force", name


def _add(table: Table, cells: Iterable[str]) -> None:
    *others, name = [cut(cell) for cell in cells]
    table.add_row(*(Text(other, no_wrap=True) for other in others), Text(name, overflow="fold"))
