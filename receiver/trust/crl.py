"""Which CRLs count, and whom they revoke (RFC 5280, sections 5 and 6.3.3). Read once, then looked up in sets.

A CRL that could not apply to every certificate its issuer signed (indirect, delta, by reason, by kind of certificate)
is refused rather than half used. One that is limited to a distribution point covers the certificates that name it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from receiver.errors import UntrustedError
from receiver.trust.certificate import READING_ERRORS, reading_problem, seconds
from receiver.trust.text import instant_text, name_text

_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_PROCESSED: Final = (x509.AuthorityKeyIdentifier, x509.CRLNumber, x509.IssuingDistributionPoint)
_PROCESSED_IN_ENTRIES: Final = (x509.CRLReason, x509.InvalidityDate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crl:
    """An accepted CRL.

    Attributes:
        issuer: name and public key of the CA that signed it, DER.
        serials: the revoked ones.
        scope: URIs of the distribution point it is limited to; none means every certificate of its issuer.
        warnings: what the strict profile would have refused.
    """

    issuer: tuple[bytes, bytes]
    issuer_text: str
    serials: frozenset[int]
    scope: frozenset[str]
    this_update: int
    next_update: int
    warnings: tuple[str, ...]

    def covers(self, certificate: x509.Certificate) -> bool:
        """Does it say anything about this certificate of its issuer?"""
        return not self.scope or not self.scope.isdisjoint(_distribution_points(certificate))


def accept(
    crl: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate], *, now: int, is_strict: bool
) -> Crl:
    """Check a CRL against the CAs it may come from. Expiry is not judged here: an expired CRL still revokes.

    Raises:
        UntrustedError: `crl_invalid`, why it cannot be used.
    """
    try:
        issuer = _signer(crl, authorities)
        this_update, next_update = _updates(crl, now=now)
        scope, extension_warnings = _extensions(crl, is_strict=is_strict)
        serials, entry_warnings = _serials(crl, is_strict=is_strict)
    except READING_ERRORS as exc:
        raise _invalid(crl, f"cannot be read: {reading_problem(exc)}") from None
    return Crl(
        issuer=identity(issuer),
        issuer_text=name_text(crl.issuer),
        serials=serials,
        scope=scope,
        this_update=this_update,
        next_update=next_update,
        warnings=(*extension_warnings, *entry_warnings),
    )


def identity(authority: x509.Certificate) -> tuple[bytes, bytes]:
    """Name and public key of a CA: what makes two certificates the same CA, and two CAs of one name different.

    Raises:
        ValueError: or UnsupportedAlgorithm, its key cannot be read.
    """
    key = authority.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return authority.subject.public_bytes(), key


def _invalid(crl: x509.CertificateRevocationList, problem: str) -> UntrustedError:
    try:
        who = f"the CRL of {name_text(crl.issuer)}"
    except READING_ERRORS:
        who = "a CRL"
    return UntrustedError("crl_invalid", f"{who} {problem}")


def _signer(crl: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate]) -> x509.Certificate:
    issuer = crl.issuer.public_bytes()
    named = [authority for authority in authorities if authority.subject.public_bytes() == issuer]
    if not named:
        raise _invalid(crl, "was not issued by a configured CA")
    if not _is_well_hashed(crl):
        raise _invalid(crl, "is signed with an algorithm that is not accepted")
    # Of several CAs of one name, the signature tells which.
    signers = [authority for authority in named if _has_signed(authority, crl)]
    if not signers:
        raise _invalid(crl, "has a signature that does not verify")
    for signer in signers:
        if _may_sign_crls(signer):
            return signer
    raise _invalid(crl, "was issued by a CA whose keyUsage lacks cRLSign")


def _is_well_hashed(crl: x509.CertificateRevocationList) -> bool:
    try:
        return isinstance(crl.signature_hash_algorithm, _HASHES)
    except UnsupportedAlgorithm:
        return False


def _has_signed(authority: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        # mypy: the library itself raises TypeError for a key that cannot sign.
        return crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # see above
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _may_sign_crls(authority: x509.Certificate) -> bool:
    """RFC 5280, 6.3.3 (f): cRLSign whenever keyUsage is present."""
    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _updates(crl: x509.CertificateRevocationList, *, now: int) -> tuple[int, int]:
    this_update = seconds(crl.last_update_utc)
    if this_update > now:
        raise _invalid(crl, f"is dated in the future: thisUpdate {instant_text(this_update)}")
    if crl.next_update_utc is None:
        raise _invalid(crl, "has no nextUpdate")
    return this_update, seconds(crl.next_update_utc)


def _extensions(crl: x509.CertificateRevocationList, *, is_strict: bool) -> tuple[frozenset[str], list[str]]:
    scope: frozenset[str] = frozenset()
    number: x509.Extension[x509.CRLNumber] | None = None
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise _invalid(crl, "is a delta CRL, which is not processed")
        if isinstance(value, x509.IssuingDistributionPoint):
            scope = _scope(crl, value)
        elif isinstance(value, x509.CRLNumber):
            number = extension
        elif extension.critical and not isinstance(value, _PROCESSED):
            raise _invalid(crl, f"has an unknown critical extension ({extension.oid.dotted_string})")
    if number is None:
        return scope, _tolerate(crl, "has no crlNumber", is_strict=is_strict)
    # RFC 5280, 5.2.3: a non-critical extension.
    return scope, _tolerate(crl, "has a critical crlNumber", is_strict=is_strict) if number.critical else []


def _scope(crl: x509.CertificateRevocationList, point: x509.IssuingDistributionPoint) -> frozenset[str]:
    is_partial = (
        point.indirect_crl
        or point.only_contains_user_certs
        or point.only_contains_ca_certs
        or point.only_contains_attribute_certs
        or point.only_some_reasons is not None
        or point.relative_name is not None
    )
    names = point.full_name or []
    if is_partial or not all(isinstance(name, x509.UniformResourceIdentifier) for name in names):
        raise _invalid(crl, "is limited by its issuingDistributionPoint in a way that is not processed")
    return frozenset(str(name.value) for name in names)


def _serials(crl: x509.CertificateRevocationList, *, is_strict: bool) -> tuple[frozenset[int], list[str]]:
    seen: set[int] = set()
    revoked: set[int] = set()
    warnings: list[str] = []
    for entry in crl:
        if entry.serial_number in seen and not warnings:
            warnings = _tolerate(crl, "lists a certificate twice", is_strict=is_strict)
        seen.add(entry.serial_number)
        if not _is_removal(crl, entry):
            revoked.add(entry.serial_number)
    return frozenset(revoked), warnings


def _is_removal(crl: x509.CertificateRevocationList, entry: x509.RevokedCertificate) -> bool:
    """RFC 5280, 6.3.3 (k): removeFromCRL leaves the certificate unrevoked."""
    is_removal = False
    for extension in entry.extensions:
        value = extension.value
        if isinstance(value, x509.CertificateIssuer):
            raise _invalid(crl, "has entries for other issuers (certificateIssuer), which are not processed")
        if isinstance(value, x509.CRLReason):
            is_removal = value.reason is x509.ReasonFlags.remove_from_crl
        elif extension.critical and not isinstance(value, _PROCESSED_IN_ENTRIES):
            raise _invalid(crl, f"has an entry with an unknown critical extension ({extension.oid.dotted_string})")
    return is_removal


def _tolerate(crl: x509.CertificateRevocationList, problem: str, *, is_strict: bool) -> list[str]:
    if is_strict:
        raise _invalid(crl, problem)
    return [str(_invalid(crl, problem))]


def _distribution_points(certificate: x509.Certificate) -> Iterable[str]:
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except (x509.ExtensionNotFound, *READING_ERRORS):
        return
    for point in points:
        # One with a cRLIssuer or only some reasons is answered by other CRLs (RFC 5280, 4.2.1.13).
        if point.crl_issuer is None and point.reasons is None:
            yield from (str(n.value) for n in point.full_name or () if isinstance(n, x509.UniformResourceIdentifier))
