"""Bytes of a file to certificates and CRLs, PEM or DER. Checks form only; errors say what is wrong, not where."""

import binascii
import re
from typing import Final

from cryptography import x509

from receiver.errors import CertificateError
from receiver.trust.certificate import READING_ERRORS, reading_problem

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_DER_SEQUENCE: Final = b"\x30"


def certificates(content: bytes) -> tuple[x509.Certificate, ...]:
    """Every certificate of a file, in its order; at least one.

    Raises:
        CertificateError: there is none, or one cannot be read.
    """
    return tuple(certificate(der) for der in certificate_ders(content))


def certificate_ders(content: bytes) -> tuple[bytes, ...]:
    """The DER of every certificate of a file, unread; at least one.

    Raises:
        CertificateError: there is none.
    """
    return _ders(content, labels=frozenset({b"CERTIFICATE", b"X509 CERTIFICATE"}), what="certificate")


def crls(content: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    """Every CRL of a file, in its order; at least one.

    Raises:
        CertificateError: there is none, or one cannot be read.
    """
    return tuple(_crl(der) for der in _ders(content, labels=frozenset({b"X509 CRL"}), what="CRL"))


def _ders(content: bytes, *, labels: frozenset[bytes], what: str) -> tuple[bytes, ...]:
    if content.startswith(_DER_SEQUENCE):
        return (content,)
    blocks = list(_BLOCK.finditer(content))
    if len(blocks) != content.count(b"-----BEGIN "):
        raise CertificateError("the PEM is damaged or cut short")
    found = tuple(_unwrapped(match[2]) for match in blocks if match[1] in labels)
    if not found:
        others = ", ".join(sorted({match[1].decode() for match in blocks}))
        raise CertificateError(f"holds no {what}" + (f", only: {others}" if others else " in PEM or DER"))
    return found


def _unwrapped(body: bytes) -> bytes:
    try:
        return binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except binascii.Error:
        raise CertificateError("the PEM is damaged: not base64 inside") from None


def certificate(der: bytes) -> x509.Certificate:
    """One certificate.

    Raises:
        CertificateError: it cannot be read.
    """
    try:
        return x509.load_der_x509_certificate(der)
    except READING_ERRORS as exc:
        raise CertificateError(f"a certificate cannot be read: {reading_problem(exc)}") from None


def _crl(der: bytes) -> x509.CertificateRevocationList:
    try:
        return x509.load_der_x509_crl(der)
    except READING_ERRORS as exc:
        raise CertificateError(f"a CRL cannot be read: {reading_problem(exc)}") from None
