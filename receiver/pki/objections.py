"""Why nginx or the receiver would refuse a certificate or a CRL by what stands in it. Knows no trust file, no chain.

nginx means nginx with the distribution's OpenSSL at security level 2. `receiver certs verify` judges a chain.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from receiver.trust.certificate import READING_ERRORS, has_signed, seconds
from receiver.trust.text import instant_text

BOTH: Final = "nginx and receiver"
NGINX: Final = "nginx"
RECEIVER: Final = "receiver"
STRICT: Final = "receiver, profile strict"
NGINX_CRL: Final = "nginx with ssl_crl"

_MIN_RSA_BITS: Final = 2048
_MIN_CURVE_BITS: Final = 224
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_BROKEN_HASHES: Final = (hashes.MD5, hashes.SHA1)
_T = TypeVar("_T", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Objection:
    """Who refuses it, and why."""

    who: str
    why: str


def is_authority(certificate: x509.Certificate) -> bool:
    """Does it call itself a CA? An old root of version 1 cannot, and is taken for a leaf."""
    constraints = extension(certificate, x509.BasicConstraints)
    return bool(constraints and constraints.value.ca)


def of_certificate(certificate: x509.Certificate, *, now: int) -> list[Objection]:
    """A client certificate or a CA's, at `now` (Unix seconds)."""
    try:
        _ = certificate.extensions
    except READING_ERRORS:
        return [Objection(RECEIVER, "its extensions cannot be read")]
    found = [*_of_dates(certificate, now=now), *_of_strength(certificate)]
    if certificate.version is x509.Version.v1:
        found.append(Objection(RECEIVER, "it is X.509 version 1; only a pin on its SHA-256 can admit it"))
    if certificate.serial_number <= 0:
        found.append(Objection(RECEIVER, "its serial number is not positive"))
    return [*found, *(_of_authority(certificate) if is_authority(certificate) else _of_leaf(certificate))]


def of_crl(crl: x509.CertificateRevocationList, *, now: int) -> list[Objection]:
    """A CRL, at `now`; whose it is, is judged where its CA is known."""
    found = []
    next_update = crl.next_update_utc
    if seconds(crl.last_update_utc) > now:
        found.append(Objection(BOTH, f"it is dated in the future: {instant_text(seconds(crl.last_update_utc))}"))
    if next_update is None:
        found.append(Objection(RECEIVER, "it has no nextUpdate"))
    elif seconds(next_update) < now:
        why = f"it expired at {instant_text(seconds(next_update))}"
        found += [Objection(NGINX_CRL, f"{why}, which refuses everybody"), Objection(STRICT, f"{why} (a warning)")]
    present = {type(one.value) for one in crl.extensions}
    if x509.DeltaCRLIndicator in present:
        found.append(Objection(RECEIVER, "it is a delta CRL"))
    if x509.IssuingDistributionPoint in present:
        found.append(Objection(RECEIVER, "it may not be for all certificates of its CA (issuingDistributionPoint)"))
    if x509.CRLNumber not in present:
        found.append(Objection(STRICT, "it has no crlNumber"))
    if not isinstance(_hash_of(crl), _HASHES):
        found.append(Objection(RECEIVER, "it is signed with an algorithm that is not accepted"))
    return found


def of_key(key: object) -> Iterator[Objection]:
    """A public key, in a certificate or a request."""
    match key:
        case rsa.RSAPublicKey() if key.key_size < _MIN_RSA_BITS:
            yield Objection(BOTH, f"its RSA key has only {key.key_size} bits")
        case ec.EllipticCurvePublicKey() if not isinstance(key.curve, _CURVES):
            who = BOTH if key.curve.key_size < _MIN_CURVE_BITS else RECEIVER
            yield Objection(who, f"its key is on the curve {key.curve.name}")
        case dsa.DSAPublicKey():
            yield Objection(RECEIVER, "its key is a DSA key")
        case rsa.RSAPublicKey() | ec.EllipticCurvePublicKey() | ed25519.Ed25519PublicKey():
            pass
        case _:
            yield Objection(RECEIVER, "its key is of a kind that is not accepted")


def extension(certificate: x509.Certificate, kind: type[_T]) -> x509.Extension[_T] | None:
    """One extension, None where there is none or it cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except (x509.ExtensionNotFound, *READING_ERRORS):
        return None


def _of_dates(certificate: x509.Certificate, *, now: int) -> Iterator[Objection]:
    start, end = seconds(certificate.not_valid_before_utc), seconds(certificate.not_valid_after_utc)
    if now < start:
        yield Objection(BOTH, f"it is valid only from {instant_text(start)}")
    if now > end:
        yield Objection(BOTH, f"it expired at {instant_text(end)}")


def _of_strength(certificate: x509.Certificate) -> Iterator[Objection]:
    try:
        key: object = certificate.public_key()
    except READING_ERRORS:
        key = None
    yield from of_key(key)
    if is_authority(certificate) and isinstance(key, ed25519.Ed25519PublicKey):
        yield Objection(RECEIVER, "its key is an Ed25519 key, which is not accepted for a CA")
    # Nobody verifies the signature a root makes over itself, but the library judges its algorithm.
    algorithm = _hash_of(certificate)
    if isinstance(algorithm, _BROKEN_HASHES):
        yield Objection(BOTH, f"it is signed with {algorithm.name.upper()}")
    elif not isinstance(algorithm, _HASHES):
        name = algorithm.name.upper() if algorithm else "an algorithm other than RSA or ECDSA with SHA-2"
        yield Objection(RECEIVER, f"it is signed with {name}")


def _of_leaf(certificate: x509.Certificate) -> Iterator[Objection]:
    purposes, usage = extension(certificate, x509.ExtendedKeyUsage), extension(certificate, x509.KeyUsage)
    if purposes and x509.OID_CLIENT_AUTH not in purposes.value:
        is_server = x509.OID_SERVER_AUTH in purposes.value
        kind = "as a client's, for it is a server's: " if is_server else ""
        yield Objection(BOTH, f"{kind}its extendedKeyUsage does not name clientAuth")
    if usage and not usage.value.digital_signature:
        yield Objection(BOTH, "its keyUsage lacks digitalSignature")
    if usage and usage.value.key_cert_sign:
        yield Objection(RECEIVER, "its keyUsage has keyCertSign, but it is no CA")
    names = extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        yield Objection(STRICT, "it has no subjectAltName")
    elif names.critical and certificate.subject.rdns:
        yield Objection(STRICT, "its subjectAltName is critical though it has a subject")
    if extension(certificate, x509.AuthorityKeyIdentifier) is None:
        yield Objection(STRICT, "it has no authorityKeyIdentifier")


def _of_authority(certificate: x509.Certificate) -> Iterator[Objection]:
    constraints, usage = extension(certificate, x509.BasicConstraints), extension(certificate, x509.KeyUsage)
    if constraints and not constraints.critical:
        yield Objection(STRICT, "its basicConstraints is not critical")
    if usage is None:
        yield Objection(STRICT, "it has no keyUsage")
    else:
        if not usage.value.key_cert_sign:
            yield Objection(BOTH, "its keyUsage lacks keyCertSign")
        if not usage.value.crl_sign:
            yield Objection(NGINX_CRL, "its keyUsage lacks cRLSign, so no CRL of it counts")
    if not has_signed(certificate, certificate):
        yield Objection(NGINX, "it is no root: alone it is no anchor, nginx wants the root too")


def _hash_of(signed: x509.Certificate | x509.CertificateRevocationList) -> hashes.HashAlgorithm | None:
    try:
        return signed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
