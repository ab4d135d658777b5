"""Which CAs the public trusts: the machine's own CA bundle, asked by key and by name. Judges no certificate."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from receiver.errors import CertificateError
from receiver.trust import pem
from receiver.trust.certificate import READING_ERRORS, quietly

SYSTEM_BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")
"""Where Debian and Ubuntu keep the public roots (package ca-certificates)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicRoots:
    """Names and public keys (DER) of the public roots; none when the machine has no bundle."""

    names: frozenset[bytes] = frozenset()
    keys: frozenset[bytes] = frozenset()

    @classmethod
    def load(cls, path: Path) -> "PublicRoots":
        """The roots of a bundle; a bundle that is not there holds none, and a root that cannot be read is left out."""
        found = []
        with suppress(OSError, CertificateError), quietly():
            for der in pem.certificate_ders(path.read_bytes()):
                with suppress(CertificateError, *READING_ERRORS):
                    root = pem.certificate(der)
                    found.append((root.subject.public_bytes(), _key(root)))
        return cls(names=frozenset(name for name, _ in found), keys=frozenset(key for _, key in found))

    def __bool__(self) -> bool:
        """Is there anything to compare with?"""
        return bool(self.keys)

    def has(self, certificate: x509.Certificate) -> bool:
        """Is this a public root (whichever certificate of its key), or a CA right below one?"""
        names = {certificate.subject.public_bytes(), certificate.issuer.public_bytes()}
        if not names.isdisjoint(self.names):
            return True
        with suppress(*READING_ERRORS):
            return _key(certificate) in self.keys
        return False


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
