"""What nginx and the receiver will make of a carrier's CA certificate, before anybody trusts it. Installs nothing.

nginx is OpenSSL at security level 2, as Debian and Ubuntu build it. Neither side looks at a root's own signature.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from receiver.pki.build import is_development
from receiver.trust import Strictness
from receiver.trust.certificate import READING_ERRORS, has_signed, reading_problem, seconds
from receiver.trust.text import instant_text, name_text

DAY: Final = 86_400
EXPIRY_WARNING_DAYS: Final = 60

_MIN_RSA_BITS: Final = 2048
# NIST SP 800-57 part 1, table 2: 112 bits of security, which is OpenSSL's security level 2.
_MIN_CURVE_BITS: Final = 224
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_GOOD_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_BROKEN_HASHES: Final = (hashes.SHA1, hashes.MD5)
_ANY_USAGE: Final = x509.ObjectIdentifier("2.5.29.37.0")


class Role(StrEnum):
    """Where a CA stands in a chain; also the directory its file lies in, with an s."""

    ANCHOR = "anchor"
    INTERMEDIATE = "intermediate"


class Side(StrEnum):
    """Who verifies."""

    NGINX = "nginx"
    RECEIVER = "receiver"


BOTH: Final = (Side.NGINX, Side.RECEIVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to know about a CA; `refused_by` says who will accept nothing under it because of that."""

    code: str
    text: str
    refused_by: tuple[Side, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A CA certificate, its place, and what was found."""

    certificate: x509.Certificate
    role: Role
    findings: tuple[Finding, ...]

    def is_refused_by(self, side: Side) -> bool:
        """Will this side accept nothing under it?"""
        return any(side in finding.refused_by for finding in self.findings)

    def has(self, code: str) -> bool:
        """Was this found?"""
        return any(finding.code == code for finding in self.findings)


def examine(certificate: x509.Certificate, *, strictness: Strictness, now: int) -> Examined:
    """Examine one CA certificate by itself, at `now` (Unix seconds)."""
    role = role_of(certificate)
    findings = [*_of_dates(certificate, now=now), *_of_key(certificate), *_of_signature(certificate, role)]
    if is_development(certificate):
        findings.append(Finding(code="development", text="it belongs to a development PKI"))
    try:
        findings += _of_extensions(certificate, strictness=strictness)
    except READING_ERRORS as exc:
        text = f"its extensions cannot be read: {reading_problem(exc)}"
        findings.append(Finding(code="unreadable", text=text, refused_by=(Side.RECEIVER,)))
    return Examined(certificate=certificate, role=role, findings=tuple(findings))


def is_authority(certificate: x509.Certificate) -> bool:
    """Does it say that it is a CA? Version 1 says nothing, so one that signed itself counts."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.version is x509.Version.v1 and role_of(certificate) is Role.ANCHOR
    except READING_ERRORS:
        return False


def role_of(certificate: x509.Certificate) -> Role:
    """A self-signed certificate is an anchor, any other one an intermediate: nginx builds no chain without a root."""
    if certificate.subject != certificate.issuer:
        return Role.INTERMEDIATE
    # The library checks no signature this old; a root is where they still occur.
    if isinstance(_signature_hash(certificate), _BROKEN_HASHES) or has_signed(certificate, certificate):
        return Role.ANCHOR
    return Role.INTERMEDIATE


def key_text(certificate: x509.Certificate) -> str:
    """The kind and size of a certificate's key, for people."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "of an unknown kind"
    match key:
        case rsa.RSAPublicKey():
            return f"RSA, {key.key_size} bits"
        case ec.EllipticCurvePublicKey():
            return f"ECDSA on {key.curve.name}"
        case dsa.DSAPublicKey():
            return f"DSA, {key.key_size} bits"
        case _:
            return type(key).__name__.removesuffix("PublicKey")


def signature_text(certificate: x509.Certificate) -> str:
    """What a certificate is signed with, for people."""
    algorithm = _signature_hash(certificate)
    return algorithm.name.upper().replace("SHA", "SHA-") if algorithm else "no hash of its own"


def _signature_hash(certificate: x509.Certificate) -> hashes.HashAlgorithm | None:
    try:
        return certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None


def _of_dates(certificate: x509.Certificate, *, now: int) -> Iterator[Finding]:
    start, end = seconds(certificate.not_valid_before_utc), seconds(certificate.not_valid_after_utc)
    if now > end:
        yield Finding(code="expired", text=f"it expired at {instant_text(end)}", refused_by=BOTH)
    elif now < start:
        yield Finding(code="not_yet_valid", text=f"it is valid only from {instant_text(start)}", refused_by=BOTH)
    elif end - now < EXPIRY_WARNING_DAYS * DAY:
        yield Finding(
            code="expires_soon",
            text=f"it expires in {(end - now) // DAY} days; ask the carrier for the next one, both can be installed",
        )


def _of_key(certificate: x509.Certificate) -> Iterator[Finding]:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    text = f"its key ({key_text(certificate)}) is"
    match key:
        case rsa.RSAPublicKey() | dsa.DSAPublicKey() if key.key_size < _MIN_RSA_BITS:
            yield Finding(code="short_key", text=f"{text} shorter than {_MIN_RSA_BITS} bits", refused_by=BOTH)
        case ec.EllipticCurvePublicKey() if key.curve.key_size < _MIN_CURVE_BITS:
            yield Finding(code="short_key", text=f"{text} shorter than {_MIN_CURVE_BITS} bits", refused_by=BOTH)
        case rsa.RSAPublicKey():
            pass
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, _CURVES):
            pass
        case _:
            yield Finding(
                code="odd_key", text=f"{text} neither RSA nor ECDSA on P-256 to P-521", refused_by=(Side.RECEIVER,)
            )


def _of_signature(certificate: x509.Certificate, role: Role) -> Iterator[Finding]:
    algorithm = _signature_hash(certificate)
    if isinstance(algorithm, _GOOD_HASHES):
        return
    if role is Role.ANCHOR:
        yield Finding(
            code="old_signature",
            text=f"it signed itself with {signature_text(certificate)}, which nobody checks on a root; "
            "but a certificate that it signs with that is refused, so look at one it issued",
        )
        return
    by = BOTH if isinstance(algorithm, _BROKEN_HASHES) else (Side.RECEIVER,)
    yield Finding(
        code="old_signature", text=f"it is signed with {signature_text(certificate)}, which is too weak", refused_by=by
    )


def _of_extensions(certificate: x509.Certificate, *, strictness: Strictness) -> Iterator[Finding]:
    if certificate.version is not x509.Version.v3:
        yield Finding(
            code="version_1",
            text="it is X.509 version 1; certificates under it are accepted only when pinned by SHA-256",
            refused_by=(Side.RECEIVER,),
        )
        return
    yield from _of_basic_constraints(certificate, strictness=strictness)
    yield from _of_key_usage(certificate, strictness=strictness)
    yield from _of_purpose(certificate)
    yield from _of_name_constraints(certificate)
    for extension in certificate.extensions:
        if extension.critical and isinstance(extension.value, x509.UnrecognizedExtension):
            text = f"it has an unknown critical extension ({extension.oid.dotted_string})"
            yield Finding(code="unknown_extension", text=text, refused_by=BOTH)


def _of_basic_constraints(certificate: x509.Certificate, *, strictness: Strictness) -> Iterator[Finding]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        # OpenSSL takes some of these for a CA all the same (keyUsage alone); RFC 5280 does not.
        yield Finding(code="not_a_ca", text="it is no CA: basicConstraints is missing", refused_by=(Side.RECEIVER,))
        return
    if not found.value.ca:
        yield Finding(code="not_a_ca", text="it is no CA: basicConstraints says so", refused_by=BOTH)
    elif not found.critical and strictness is Strictness.STRICT:
        yield _too_strict("its basicConstraints is not critical")


def _of_key_usage(certificate: x509.Certificate, *, strictness: Strictness) -> Iterator[Finding]:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        if strictness is Strictness.STRICT:
            yield _too_strict("it has no keyUsage")
        return
    if not usage.key_cert_sign:
        yield Finding(code="not_a_ca", text="it is no CA: its keyUsage lacks keyCertSign", refused_by=BOTH)
    elif not usage.crl_sign:
        yield Finding(code="no_crl_sign", text="its keyUsage lacks cRLSign, so no CRL of it can be used")


def _too_strict(text: str) -> Finding:
    return Finding(
        code="too_strict",
        text=f'{text}; set strictness = "tolerant" for this carrier in the settings',
        refused_by=(Side.RECEIVER,),
    )


def _of_purpose(certificate: x509.Certificate) -> Iterator[Finding]:
    try:
        usages = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usages = {_ANY_USAGE}
    else:
        if usages.isdisjoint({x509.OID_CLIENT_AUTH, _ANY_USAGE}):
            text = "its extendedKeyUsage lacks clientAuth, so no client certificate under it is accepted"
            yield Finding(code="wrong_purpose", text=text, refused_by=BOTH)
            return
        if x509.OID_CLIENT_AUTH not in usages:
            text = "its extendedKeyUsage says anyExtendedKeyUsage only, which OpenSSL does not take for clientAuth"
            yield Finding(code="any_purpose", text=text, refused_by=(Side.NGINX,))
    if not usages.isdisjoint({x509.OID_SERVER_AUTH, _ANY_USAGE}):
        yield Finding(
            code="also_servers",
            text="it may issue certificates for servers as well, and to others; only a pin tells the carrier from them",
        )


def _of_name_constraints(certificate: x509.Certificate) -> Iterator[Finding]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return
    names = [*(found.value.permitted_subtrees or ()), *(found.value.excluded_subtrees or ())]
    if all(isinstance(name, x509.DNSName | x509.IPAddress) for name in names):
        return
    text = "its nameConstraints are about other names than DNS names and addresses, which the receiver does not process"
    yield Finding(code="name_constraints", text=text, refused_by=(Side.RECEIVER,) if found.critical else ())


def among(
    one: Examined,
    authorities: Iterable[x509.Certificate],
    crls: Iterable[x509.CertificateRevocationList],
    *,
    is_nginx_checking_crls: bool,
) -> Examined:
    """The same, beside the other CAs and the CRLs that are or will be there: is there a root, is there a CRL?"""
    findings = list(one.findings)
    if one.role is Role.INTERMEDIATE and all(one.certificate.issuer != other.subject for other in authorities):
        text = f"its issuer {name_text(one.certificate.issuer)} is not installed; ask the carrier for it up to the root"
        findings.append(Finding(code="no_root", text=text, refused_by=BOTH))
    if all(crl.issuer != one.certificate.subject for crl in crls):
        text = "there is no CRL of it, so only `receiver trust block` keeps a stolen certificate out"
        by = (Side.NGINX,) if is_nginx_checking_crls else ()
        findings.append(
            Finding(code="no_crl", text=f"{text}; nginx.crl = true wants one" if by else text, refused_by=by)
        )
    return replace(one, findings=tuple(findings))


def with_public_root(one: Examined) -> Examined:
    """The same, as a public root or a CA under one."""
    text = "the public trusts it, so anybody can get a certificate under it: only a pin tells the carrier from them"
    return replace(one, findings=(*one.findings, Finding(code="public_root", text=text)))
