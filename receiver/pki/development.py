"""The PKI of a development home: made at the first start, renewed in time, marked so that nobody relies on it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from receiver.errors import CertificateError
from receiver.pki import authority, issuing
from receiver.pki.authority import Authority
from receiver.pki.build import is_development
from receiver.pki.issuing import Issued
from receiver.pki.profiles import Purpose

__all__ = ["DevelopmentCredentials", "ensure", "is_development"]

_RENEW_SECONDS: Final = 30 * 86_400
# As long as the certificates: a development home that is left running must not lose its CRL.
_CRL_DAYS: Final = 397
_SERVER_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentCredentials:
    """Files of a development PKI: our server's credential and CA, and a carrier's credential with its CA and CRL."""

    server_cert: Path
    server_key: Path
    server_ca: Path
    client_ca: Path
    client_crl: Path
    client_cert: Path
    client_key: Path


def ensure(pki_dir: Path, *, carrier: str = "tencent", now: int) -> DevelopmentCredentials:
    """Make what is missing or ends within 30 days, under new file names; keys that are there stay as they are.

    Raises:
        CertificateError: the PKI there is damaged, or is not a development PKI.
    """
    server, client = (_authority(pki_dir, purpose, now=now) for purpose in (Purpose.SERVER, Purpose.CLIENT))
    server_leaf = _leaf(
        server,
        now=now,
        is_wanted=_is_for_server,
        issue=lambda: issuing.issue_server(server, _SERVER_NAMES, now=now, passphrase=None),
    )
    client_leaf = _leaf(
        client,
        now=now,
        is_wanted=lambda one: one.carrier == carrier,
        issue=lambda: issuing.issue_client(client, carrier, now=now, passphrase=None),
    )
    return DevelopmentCredentials(
        server_cert=server_leaf.path,
        server_key=_key(server_leaf),
        server_ca=server.path,
        client_ca=client.path,
        client_crl=client.crl_path,
        client_cert=client_leaf.path,
        client_key=_key(client_leaf),
    )


def _authority(pki: Path, purpose: Purpose, *, now: int) -> Authority:
    found = authority.find(pki, purpose)
    if not found or _ends_soon(found[-1].certificate, now=now):
        found = [authority.initialise(pki, purpose, now=now, passphrase=None, is_development=True)]
    newest = found[-1]
    if not is_development(newest.certificate):
        raise CertificateError(f"{newest.path}: is not a development CA; a development home needs a PKI of its own")
    if _next_update(newest) <= now + _RENEW_SECONDS:
        authority.refresh_crl(newest, now=now, passphrase=None, days=_CRL_DAYS)
    return newest


def _leaf(own: Authority, *, now: int, is_wanted: Callable[[Issued], bool], issue: Callable[[], Issued]) -> Issued:
    usable = [
        one
        for one in issuing.issued([own])
        if one.key_path and not one.revoked and is_wanted(one) and not _ends_soon(one.certificate, now=now)
    ]
    return usable[-1] if usable else issue()


def _is_for_server(one: Issued) -> bool:
    return set(_SERVER_NAMES) <= set(one.names)


def _key(one: Issued) -> Path:
    if one.key_path is None:
        raise CertificateError(f"{one.path}: its key is missing")
    return one.key_path


def _ends_soon(certificate: x509.Certificate, *, now: int) -> bool:
    return certificate.not_valid_after_utc.timestamp() < now + _RENEW_SECONDS


def _next_update(own: Authority) -> int:
    """Zero for a CRL that cannot be read, which is then written anew."""
    try:
        return authority.crl_facts(own).next_update
    except CertificateError:
        return 0
