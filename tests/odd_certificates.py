"""Certificates no honest tool makes: fields changed in DER and signed again. For tests of refusals."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from certificates import Issued
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

Fields: TypeAlias = list[bytes]
"""The elements of TBSCertificate (RFC 5280, 4.1), each as DER: version, serial, signature, issuer, validity, ..."""

VALIDITY = 4
_EXPLICIT_EXTENSIONS = 0xA3
_BIT_STRING = 0x03
_SEQUENCE = 0x30
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18


def changed(certificate: Issued, issuer: Issued, change: Callable[[Fields], Fields]) -> bytes:
    """The DER of a certificate with other fields, signed again by its issuer (ECDSA with SHA-256)."""
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    tbs, algorithm, _ = elements(body(certificate.der))
    signed = tlv(_SEQUENCE, *change(elements(body(tbs))))
    signature = issuer.key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return tlv(_SEQUENCE, signed, algorithm, tlv(_BIT_STRING, b"\0", signature))


def version_1(certificate: Issued, issuer: Issued) -> bytes:
    """As X.509 version 1: no version field, no extensions."""
    return changed(certificate, issuer, lambda fields: [one for one in fields[1:] if one[0] != _EXPLICIT_EXTENSIONS])


def with_validity(certificate: Issued, issuer: Issued, *times: bytes) -> bytes:
    """With a validity of these two times, as `utc_time` and `generalized_time` give them."""
    return changed(
        certificate, issuer, lambda fields: [*fields[:VALIDITY], tlv(_SEQUENCE, *times), *fields[VALIDITY + 1 :]]
    )


def with_extension_twice(certificate: Issued, issuer: Issued) -> bytes:
    """With its last extension a second time."""

    def change(fields: Fields) -> Fields:
        extensions = elements(body(body(fields[-1])))
        return [*fields[:-1], tlv(_EXPLICIT_EXTENSIONS, tlv(_SEQUENCE, *extensions, extensions[-1]))]

    return changed(certificate, issuer, change)


def with_other_inner_algorithm(certificate: Issued, issuer: Issued) -> bytes:
    """Whose signed part names ECDSA with SHA-384, and the outer part SHA-256."""
    sha_256, sha_384 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040303")
    return changed(certificate, issuer, lambda fields: [one.replace(sha_256, sha_384) for one in fields])


def utc_time(text: str) -> bytes:
    """`YYMMDDHHMMSSZ`."""
    return tlv(_UTC_TIME, text.encode())


def generalized_time(text: str) -> bytes:
    """`YYYYMMDDHHMMSSZ`."""
    return tlv(_GENERALIZED_TIME, text.encode())


def pem(der: bytes) -> bytes:
    """DER as PEM, without asking whether the library could read it all."""
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def tlv(tag: int, *contents: bytes) -> bytes:
    """One DER element."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def body(element: bytes) -> bytes:
    """What is inside a DER element."""
    start, size = _header(element)
    return element[start : start + size]


def elements(content: bytes) -> Fields:
    """The DER elements that follow one another in a content."""
    found = []
    while content:
        start, size = _header(content)
        found.append(content[: start + size])
        content = content[start + size :]
    return found


def _header(element: bytes) -> Sequence[int]:
    size = element[1]
    if size < 0x80:
        return 2, size
    octets = size & 0x7F
    return 2 + octets, int.from_bytes(element[2 : 2 + octets])
