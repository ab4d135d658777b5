"""One certificate, read once into what the rooms around it ask of it. Trusts nothing and knows no carrier."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from receiver.errors import UntrustedError
from receiver.trust.text import printable

READING_ERRORS: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)
"""What the library raises for a certificate, a CRL or a part of one that it cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """An end-entity certificate. Names are RFC 4514 strings and, for comparing, DER."""

    certificate: x509.Certificate
    sha256: str
    subject: str
    issuer: str
    subject_der: bytes
    issuer_der: bytes
    serial_number: int
    not_before: int
    not_after: int

    @property
    def serial(self) -> str:
        """The serial number as `serial_text` writes it."""
        return serial_text(self.serial_number)


def read(der: bytes) -> Leaf:
    """Read an end-entity certificate.

    Raises:
        UntrustedError: `bad_certificate`, it cannot be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        return Leaf(
            certificate=certificate,
            sha256=hashlib.sha256(der).hexdigest(),
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            subject_der=certificate.subject.public_bytes(),
            issuer_der=certificate.issuer.public_bytes(),
            serial_number=certificate.serial_number,
            not_before=seconds(certificate.not_valid_before_utc),
            not_after=seconds(certificate.not_valid_after_utc),
        )
    except READING_ERRORS as exc:
        raise UntrustedError("bad_certificate", f"the certificate cannot be read: {reading_problem(exc)}") from None


@contextmanager
def quietly() -> Iterator[None]:
    """Let the library's warnings about odd but harmless certificates go; a verdict says what matters.

    For one thread only, the one that identifies peers: warning filters belong to the whole process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def reading_problem(error: Exception) -> str:
    """What is wrong with something unreadable, without the library's own structures."""
    text = str(error)
    return "malformed ASN.1" if "ParseError" in text else printable(text)


def has_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Does the issuer's name stand in the certificate, and does its key verify the signature?"""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def serial_text(serial: int) -> str:
    """A serial number as nginx writes `$ssl_client_serial`: upper-case hexadecimal, whole octets."""
    digits = f"{serial:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


def seconds(at: datetime) -> int:
    """An aware datetime as Unix seconds."""
    return int(at.timestamp())
