"""A server certificate made elsewhere: names, dates, key, intermediates. Writes nothing, and knows no nginx."""

import ipaddress
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import AuthorityInformationAccessOID

from receiver.errors import CertificateError
from receiver.trust import pem
from receiver.trust.certificate import READING_ERRORS, has_signed, seconds
from receiver.trust.text import instant_text, name_text, printable

_MIN_RSA_BITS: Final = 2048
_T = TypeVar("_T", bound=x509.ExtensionType)
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChain:
    """A key, and the certificates to present with it: the key's own first, each signed by the next, no root.

    `root` is a file of roots that no public list has, and under which it is complete.
    """

    certificates: tuple[x509.Certificate, ...]
    key: bytes
    is_complete: bool
    root: bytes | None = None

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of the key."""
        return self.certificates[0]

    @property
    def names(self) -> list[str]:
        """Host names and addresses it is valid for."""
        sans = _extension(self.leaf, x509.SubjectAlternativeName)
        return [str(name.value) for name in sans or () if isinstance(name, (x509.DNSName, x509.IPAddress))]

    @property
    def not_before(self) -> int:
        """The start of the leaf's validity, Unix seconds."""
        return seconds(self.leaf.not_valid_before_utc)

    @property
    def not_after(self) -> int:
        """The first end of a validity in it, Unix seconds."""
        return min(seconds(one.not_valid_after_utc) for one in self.certificates)

    @property
    def pem(self) -> bytes:
        """What nginx is to present."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.certificates)


def read(fullchain: bytes, key: bytes, *, roots: Sequence[x509.Certificate]) -> ServerChain:
    """Find the key's certificate and put what follows it into order.

    Raises:
        CertificateError: a file cannot be used, or none of the certificates is the key's.
    """
    certificates = pem.certificates(fullchain)
    public_key = _public_key(key)
    own = [one for one in certificates if _key_of(one) == public_key]
    if not own:
        subject = name_text(certificates[0].subject)
        raise CertificateError(f"the key is not the one of the certificate {subject}, nor of another in the file")
    chain = [own[0]]
    while following := next((one for one in certificates if one not in chain and has_signed(one, chain[-1])), None):
        chain.append(following)
    is_complete = any(has_signed(root, chain[-1]) for root in (chain[-1], *roots))
    # A root is nothing that a client would take from us.
    if len(chain) > 1 and has_signed(chain[-1], chain[-1]):
        chain.pop()
    return ServerChain(certificates=tuple(chain), key=key, is_complete=is_complete)


def problems(chain: ServerChain, *, domain: str, now: int) -> list[str]:
    """Why clients would refuse it; none when it is good."""
    leaf, found = chain.leaf, []
    if now < chain.not_before:
        found.append(f"it is valid only from {instant_text(chain.not_before)}")
    if now > chain.not_after:
        found.append(f"it, or a certificate above it, expired at {instant_text(chain.not_after)}")
    if not any(_means(name, domain) for name in chain.names):
        names = printable(", ".join(chain.names)) or "no name"
        found.append(f"it is not for {domain} (server.domain in the settings) but for {names}")
    if not chain.is_complete:
        found.append(_missing_intermediate(chain.certificates[-1]))
    usage = _extension(leaf, x509.ExtendedKeyUsage)
    if usage and x509.OID_SERVER_AUTH not in usage:
        found.append("its extendedKeyUsage does not name serverAuth")
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints and constraints.ca:
        found.append("it is a CA certificate")
    public_key = _key_of(leaf)
    if isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size < _MIN_RSA_BITS:
        found.append(f"its RSA key has only {public_key.key_size} bits")
    if not all(_is_well_hashed(one) for one in chain.certificates):
        found.append("a signature in it uses an algorithm that clients refuse")
    return found


def system_roots() -> tuple[x509.Certificate, ...]:
    """The public CAs this machine knows; none where `ca-certificates` is not installed."""
    cafile = ssl.get_default_verify_paths().openssl_cafile
    path = next((Path(one) for one in (cafile, "/etc/ssl/certs/ca-certificates.crt") if Path(one).is_file()), None)
    if path is None:
        return ()
    found = []
    for der in pem.certificate_ders(path.read_bytes()):
        try:
            found.append(pem.certificate(der))
        except CertificateError:
            continue
    return tuple(found)


def _public_key(key: bytes) -> object:
    try:
        return load_pem_private_key(key, password=None).public_key()
    except TypeError:
        problem = "the key is encrypted, and nginx starts unattended; give it without a passphrase"
        raise CertificateError(problem) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("the key file holds no private key in PEM that nginx could use") from None


def _key_of(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except READING_ERRORS:
        return None


def _is_well_hashed(certificate: x509.Certificate) -> bool:
    try:
        return isinstance(certificate.signature_hash_algorithm, _HASHES)
    except UnsupportedAlgorithm:
        return False


def _means(name: str, domain: str) -> bool:
    """RFC 6125, 6.4.3: a wildcard stands for exactly one label, the leftmost."""
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(domain)
    except ValueError:
        name, domain = name.lower(), domain.lower()
    return name == domain or (name.startswith("*.") and name[1:] == domain[domain.find(".") :])


def _missing_intermediate(last: x509.Certificate) -> str:
    text = f"the certificate of its issuer {name_text(last.issuer)} is missing in the file, so some clients refuse it"
    return f"{text}; append it{_where(last)}, or name a root of your own with --root FILE"


def _where(certificate: x509.Certificate) -> str:
    access = _extension(certificate, x509.AuthorityInformationAccess)
    places: Iterable[str] = (
        printable(str(one.access_location.value))
        for one in access or ()
        if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
    )
    return "".join(f" (from {place})" for place in places)


def _extension(certificate: x509.Certificate, kind: type[_T]) -> _T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *READING_ERRORS):
        return None
