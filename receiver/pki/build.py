"""Certificates and CRLs from a profile, names and keys (RFC 5280, sections 4 and 5). No file; time is an argument."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from receiver.errors import CertificateError
from receiver.pki.keys import LeafKey, SigningKey
from receiver.pki.profiles import AuthorityProfile, CrlProfile, LeafProfile

DEVELOPMENT: Final = "Development only, not for production"
"""The organization in every name of a development PKI; a production home refuses it."""

_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_PURPOSES: Final = {"client_auth": x509.OID_CLIENT_AUTH, "server_auth": x509.OID_SERVER_AUTH}
# RFC 1034, 3.5, and RFC 1123, 2.1; the leftmost label may be a wildcard.
_DNS_NAME: Final = re.compile(
    r"(?=.{1,253}$)(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority's certificate and its private key."""

    certificate: x509.Certificate
    key: SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """One revoked serial: when (Unix seconds), and the reason as `x509.ReasonFlags` spells it."""

    serial: int
    at: int
    reason: str


def authority(profile: AuthorityProfile, *, name: x509.Name, key: SigningKey, now: int) -> x509.Certificate:
    """A self-signed authority."""
    builder = _builder(profile, subject=name, issuer=name, now=now).public_key(key.public_key())
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=profile.path_length), critical=True)
        .add_extension(_key_usage(profile.key_usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def leaf(  # noqa: PLR0913 -- what a certificate is made of
    profile: LeafProfile,
    *,
    subject: x509.Name,
    sans: Sequence[x509.GeneralName],
    key: LeafKey,
    signer: Signer,
    now: int,
) -> x509.Certificate:
    """An end-entity certificate; it never outlives its authority."""
    builder = _builder(
        profile,
        subject=subject,
        issuer=signer.certificate.subject,
        now=now,
        not_later_than=signer.certificate.not_valid_after_utc,
    ).public_key(key)
    usages = [_PURPOSES[word] for word in profile.extended_key_usage]
    return (
        builder.add_extension(_key_usage(profile.key_usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        # Non-critical, since the subject is not empty (RFC 5280, 4.2.1.6).
        .add_extension(x509.SubjectAlternativeName(sans), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        .sign(signer.key, hashes.SHA256())
    )


def crl(
    profile: CrlProfile, revoked: Iterable[Revoked], *, number: int, signer: Signer, now: int
) -> x509.CertificateRevocationList:
    """A complete CRL."""
    at = datetime.fromtimestamp(now, UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(at - timedelta(minutes=profile.backdate_minutes))
        .next_update(at + timedelta(days=profile.days))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for one in revoked:
        builder = builder.add_revoked_certificate(_entry(one))
    return builder.sign(signer.key, hashes.SHA256())


def subject(common_name: str, *, is_development: bool) -> x509.Name:
    """A name with a common name, marked when it is for development.

    Raises:
        CertificateError: the common name is too long.
    """
    organization = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, DEVELOPMENT)] if is_development else []
    try:
        return x509.Name([*organization, x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    except ValueError:
        raise CertificateError(f"{common_name!r}: a common name has 1 to 64 characters") from None


def alternative_names(texts: Iterable[str]) -> list[x509.GeneralName]:
    """Subject alternative names from `uri:...`, `dns:...`, `ip:...` or, bare, a host name or an address.

    Raises:
        CertificateError: a text that is none of them.
    """
    return [_alternative_name(text) for text in texts]


def is_development(certificate: x509.Certificate) -> bool:
    """Is this a certificate of a development PKI?"""
    organizations = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return any(organization.value == DEVELOPMENT for organization in organizations)


def filled(template: str, values: Mapping[str, str]) -> str:
    """A profile's name with its `{placeholders}` filled in.

    Raises:
        CertificateError: a placeholder this kind of certificate does not have.
    """
    try:
        return template.format_map(values)
    except (KeyError, ValueError, IndexError):
        raise CertificateError(f"certificate profile: {template!r} may hold only: {', '.join(values)}") from None


def _alternative_name(text: str) -> x509.GeneralName:
    kind, has_kind, value = text.partition(":")
    if has_kind and kind == "uri":
        return x509.UniformResourceIdentifier(value)
    bare = value if has_kind and kind in {"dns", "ip"} else text
    try:
        return x509.IPAddress(ipaddress.ip_address(bare))
    except ValueError:
        pass
    if not _DNS_NAME.fullmatch(bare.lower()):
        raise CertificateError(f"{text!r} is neither a host name nor an IP address")
    return x509.DNSName(bare.lower())


def _builder(
    profile: AuthorityProfile | LeafProfile,
    *,
    subject: x509.Name,
    issuer: x509.Name,
    now: int,
    not_later_than: datetime | None = None,
) -> x509.CertificateBuilder:
    at = datetime.fromtimestamp(now, UTC)
    not_after = at + timedelta(days=profile.days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(minutes=profile.backdate_minutes))
        .not_valid_after(min(not_after, not_later_than) if not_later_than else not_after)
    )


def _key_usage(words: Sequence[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in words for usage in _USAGES})


def _entry(revoked: Revoked) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(revoked.serial)
        .revocation_date(datetime.fromtimestamp(revoked.at, UTC))
    )
    reason = x509.ReasonFlags(revoked.reason)
    # RFC 5280, 5.3.1: absent rather than "unspecified".
    if reason is not x509.ReasonFlags.unspecified:
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()
