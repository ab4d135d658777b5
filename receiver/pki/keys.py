"""Private keys: made, written as PKCS#8, read back; and the public key of a signing request. Keeps no file itself."""

from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from receiver.errors import CertificateError

SigningKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
LeafKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

RSA_BITS: Final = (2048, 3072)
MIN_PASSPHRASE: Final = 12
"""Characters. PKCS#8 as the library writes it hardens a passphrase with 2048 rounds only, so length must do it."""

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_PEM_START: Final = b"-----BEGIN"


def generate(*, rsa_bits: int | None = None) -> SigningKey:
    """Make a key: ECDSA P-256, or RSA for clients too old for that."""
    if rsa_bits is None:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)


def key_pem(key: SigningKey, *, passphrase: bytes | None) -> bytes:
    """A private key as PKCS#8 PEM, encrypted when there is a passphrase."""
    protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def load_key(pem: bytes, *, passphrase: bytes | None, where: str) -> SigningKey:
    """Read a private key that can sign.

    Raises:
        CertificateError: it is no such key, or the passphrase is missing or wrong.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=passphrase)
    except TypeError:
        raise CertificateError(f"{where}: {_passphrase_problem(passphrase)}") from None
    except ValueError:
        problem = "the passphrase is wrong" if b"ENCRYPTED" in pem and passphrase else "not a private key in PEM"
        raise CertificateError(f"{where}: {problem}") from None
    except UnsupportedAlgorithm:
        raise CertificateError(f"{where}: a private key of a kind that is not supported") from None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise CertificateError(f"{where}: the key is neither ECDSA nor RSA")
    return key


def requested_key(request: bytes, *, where: str) -> LeafKey:
    """The public key of a certificate signing request (PEM or DER): all that is taken from it.

    Raises:
        CertificateError: it cannot be read, its signature is wrong, or its key is too weak.
    """
    try:
        is_pem = request.lstrip().startswith(_PEM_START)
        csr = x509.load_pem_x509_csr(request) if is_pem else x509.load_der_x509_csr(request)
        is_signed, key = csr.is_signature_valid, csr.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{where}: not a certificate signing request in PEM or DER") from None
    if not is_signed:
        raise CertificateError(f"{where}: the request's signature is wrong, so its key may be somebody else's")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= min(RSA_BITS):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise CertificateError(f"{where}: the request's key is not RSA of 2048 bits, ECDSA on P-256 to P-521, or Ed25519")


def check_passphrase(passphrase: bytes, *, where: str) -> bytes:
    """A passphrase good enough for a new key.

    Raises:
        CertificateError: it is too short.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise CertificateError(
            f"{where}: the passphrase has fewer than {MIN_PASSPHRASE} characters; "
            "make one with: (umask 077; openssl rand -base64 32 > FILE)"
        )
    return passphrase


def _passphrase_problem(passphrase: bytes | None) -> str:
    if passphrase is None:
        return "the key is encrypted; give its passphrase with --passphrase-file FILE"
    return "the key is not encrypted; leave out --passphrase-file"
