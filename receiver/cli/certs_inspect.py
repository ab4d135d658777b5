"""`receiver certs inspect`: one screen about a file, and who would refuse what is in it. A key is never shown."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from receiver.cli.certs_place import FILE, content, passphrase_in
from receiver.errors import CertificateError
from receiver.pki import file_kinds, objections
from receiver.pki.file_kinds import Bundle, Found, KeyFile
from receiver.pki.findings import instant
from receiver.trust.certificate import READING_ERRORS, quietly, reading_problem, seconds, serial_text
from receiver.trust.text import printable

# Names are foreign, and may be as long as a file.
_LIMIT: Final = 600


@click.command(
    "inspect",
    short_help="what a file is, and who would refuse it",
    epilog="Example: receiver certs inspect acme.p12 --password-file acme.password",
)
@click.argument("file", type=FILE)
@click.option("--password-file", type=FILE, help="Its first line is the password of a PKCS#12 file.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def inspect(*, file: Path, password_file: Path | None, is_json: bool) -> None:
    """Say what FILE is and why nginx or the receiver would refuse it.

    It may be a certificate, a CA, a CRL, a signing request, a key (only its kind is shown), or a PKCS#12 file. For a
    verdict on a whole chain: receiver certs verify.
    """
    try:
        with quietly():
            found = file_kinds.read(content(file), password=passphrase_in(password_file))
            rows = [row for one in found for row in _described(one, now=int(time.time()))]
    except CertificateError as exc:
        raise CertificateError(f"{file}: {exc}") from None
    except READING_ERRORS as exc:
        raise CertificateError(f"{file}: a part of it cannot be read: {reading_problem(exc)}") from None
    if not rows:
        raise CertificateError(f"{file}: holds nothing that is known here")
    if is_json:
        click.echo(json.dumps({"file": str(file), "contents": rows}))
        return
    for row in rows:
        _show(row)


def _described(found: Found, *, now: int) -> list[dict[str, Any]]:
    match found:
        case x509.Certificate():
            return [_certificate(found, now=now)]
        case x509.CertificateRevocationList():
            return [_crl(found, now=now)]
        case x509.CertificateSigningRequest():
            return [_request(found)]
        case KeyFile():
            return [_key(found)]
        case Bundle():
            keys = [_key(found.key)] if found.key else []
            return [*keys, *(_certificate(one, now=now) for one in found.certificates)]


def _certificate(certificate: x509.Certificate, *, now: int) -> dict[str, Any]:
    purposes = objections.extension(certificate, x509.ExtendedKeyUsage)
    names = objections.extension(certificate, x509.SubjectAlternativeName)
    end = seconds(certificate.not_valid_after_utc)
    return {
        "kind": "CA certificate" if objections.is_authority(certificate) else "certificate",
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "names": [str(name.value) for name in names.value] if names else [],
        "purposes": [_purpose(oid) for oid in purposes.value] if purposes else [],
        "serial": serial_text(certificate.serial_number),
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "key": _key_of(certificate),
        "not_before": instant(seconds(certificate.not_valid_before_utc)),
        "not_after": instant(end),
        "days_left": (end - now) // 86_400,
        "refused_by": _objections(objections.of_certificate(certificate, now=now)),
    }


def _crl(crl: x509.CertificateRevocationList, *, now: int) -> dict[str, Any]:
    next_update = crl.next_update_utc
    numbers = [one.value.crl_number for one in crl.extensions if isinstance(one.value, x509.CRLNumber)]
    return {
        "kind": "CRL",
        "issuer": crl.issuer.rfc4514_string(),
        "number": numbers[0] if numbers else None,
        "revoked": len(crl),
        "this_update": instant(seconds(crl.last_update_utc)),
        "next_update": instant(seconds(next_update)) if next_update else None,
        "refused_by": _objections(objections.of_crl(crl, now=now)),
    }


def _request(request: x509.CertificateSigningRequest) -> dict[str, Any]:
    """Only its key is ever taken from it."""
    try:
        is_signed, key = request.is_signature_valid, request.public_key()
    except READING_ERRORS:
        raise CertificateError("the request's key or signature cannot be read") from None
    found = list(objections.of_key(key))
    if not is_signed:
        found.append(objections.Objection("issue-client", "its signature is wrong"))
    return {
        "kind": "signing request",
        "subject": request.subject.rfc4514_string(),
        "key": file_kinds.key_kind(key),
        "refused_by": _objections(found),
    }


def _key(key: KeyFile) -> dict[str, Any]:
    return {"kind": "private key", "key": key.kind, "encrypted": key.is_encrypted}


def _key_of(certificate: x509.Certificate) -> str:
    try:
        return file_kinds.key_kind(certificate.public_key())
    except READING_ERRORS:
        return "not readable"


def _purpose(oid: x509.ObjectIdentifier) -> str:
    known = {x509.OID_CLIENT_AUTH: "clientAuth", x509.OID_SERVER_AUTH: "serverAuth"}
    return known.get(oid, oid.dotted_string)


def _objections(found: Sequence[objections.Objection]) -> list[dict[str, str]]:
    return [{"who": one.who, "why": one.why} for one in found]


def _show(row: Mapping[str, Any]) -> None:
    width = max(len(name) for name in row)
    for name, value in row.items():
        if name == "refused_by" or value in ([], None):
            continue
        shown = (
            ", ".join(value)
            if isinstance(value, list)
            else "yes"
            if value is True
            else "no"
            if value is False
            else value
        )
        click.echo(f"{name.replace('_', ' '):<{width}}  {printable(str(shown), limit=_LIMIT)}")
    for one in row.get("refused_by", ()):
        click.echo(f"refused by {one['who']}: {printable(one['why'])}")
    if not row.get("refused_by", True):
        click.echo("Nothing in it speaks against it.")
