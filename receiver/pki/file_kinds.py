"""A file of unknown content to the objects in it: certificates, CRLs, requests, keys. Judges nothing, shows no key."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key, pkcs12

from receiver.errors import CertificateError
from receiver.trust import pem
from receiver.trust.certificate import READING_ERRORS

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """A private key: only its kind, and whether it is encrypted. The kind of an encrypted one is not known."""

    kind: str
    is_encrypted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An opened PKCS#12 file: the key's own certificate first."""

    key: KeyFile | None
    certificates: tuple[x509.Certificate, ...]


Found: TypeAlias = x509.Certificate | x509.CertificateRevocationList | x509.CertificateSigningRequest | KeyFile | Bundle


def read(content: bytes, *, password: bytes | None) -> list[Found]:
    """Everything in a file, PEM or DER, in its order; `password` is for PKCS#12.

    Raises:
        CertificateError: it is empty, damaged, of a kind that is not known, or the password is missing or wrong.
    """
    if not content.strip():
        raise CertificateError("is empty")
    if b"-----BEGIN " not in content:
        return [_der(content, password=password)]
    blocks = list(_BLOCK.finditer(content))
    if len(blocks) != content.count(b"-----BEGIN "):
        raise CertificateError("the PEM is damaged or cut short")
    return [found for block in blocks for found in _pem(block[0], block[1].decode())]


def key_kind(key: object) -> str:
    """A public or private key in words."""
    match key:
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey() | dsa.DSAPublicKey() | dsa.DSAPrivateKey():
            word = "RSA" if isinstance(key, (rsa.RSAPublicKey, rsa.RSAPrivateKey)) else "DSA"
            return f"{word}, {key.key_size} bits"
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey():
            return f"ECDSA, {key.curve.name}"
        case ed25519.Ed25519PublicKey() | ed25519.Ed25519PrivateKey():
            return "Ed25519"
        case ed448.Ed448PublicKey() | ed448.Ed448PrivateKey():
            return "Ed448"
        case _:
            return type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")


def _pem(block: bytes, label: str) -> Iterable[Found]:
    if label.endswith("PRIVATE KEY"):
        yield _key(lambda: load_pem_private_key(block, password=None))
    elif label in {"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"}:
        yield _loaded("signing request", lambda: x509.load_pem_x509_csr(block))
    elif label == "X509 CRL":
        yield from pem.crls(block)
    elif label in {"CERTIFICATE", "X509 CERTIFICATE"}:
        yield from pem.certificates(block)
    # Others, such as EC PARAMETERS before a key, say nothing.


def _der(content: bytes, *, password: bytes | None) -> Found:
    """DER does not say what it is, so each kind is tried."""
    for load in (x509.load_der_x509_certificate, x509.load_der_x509_crl, x509.load_der_x509_csr):
        try:
            found: Found = load(content)
        except READING_ERRORS:
            continue
        return found
    try:
        return _key(lambda: load_der_private_key(content, password=None))
    except CertificateError:
        return _bundle(content, password=password)


def _key(load: Callable[[], object]) -> KeyFile:
    try:
        return KeyFile(kind=key_kind(load()), is_encrypted=False)
    except TypeError:
        return KeyFile(kind="not known without its passphrase", is_encrypted=True)
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("a private key in it is damaged, or of a kind that is not known") from None


def _loaded(what: str, load: Callable[[], Found]) -> Found:
    try:
        return load()
    except READING_ERRORS:
        raise CertificateError(f"a {what} in it is damaged") from None


def _bundle(content: bytes, *, password: bytes | None) -> Bundle:
    try:
        opened = pkcs12.load_pkcs12(content, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        if "password" not in str(exc).lower():
            problem = "is neither PEM nor a certificate, CRL, request, key or PKCS#12 file in DER"
        elif password is None:
            problem = "is a PKCS#12 file; give its password with --password-file FILE"
        else:
            problem = "is a PKCS#12 file, and the password is wrong"
        raise CertificateError(problem) from None
    own = [opened.cert.certificate] if opened.cert else []
    return Bundle(
        key=KeyFile(kind=key_kind(opened.key), is_encrypted=False) if opened.key else None,
        certificates=(*own, *(one.certificate for one in opened.additional_certs)),
    )
