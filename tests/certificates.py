"""Certificates made in process for tests: good ones, and every kind of bad one. Knows nothing of the receiver.

    from certificates import DAY, Issued, authority, client, crl, nginx_header, now

    ca = authority()                                    # a client CA: P-256, path length 0
    good = client(ca)                                   # a certificate the strict profile accepts
    unpinned = client(ca, "somebody.else")              # chain-valid, with names that no pin means
    expired = client(ca, not_before=NOW - 10 * DAY, not_after=NOW - DAY)
    early = client(ca, not_before=NOW + DAY)
    foreign = client(authority("Somebody else's CA"))   # under a CA nobody configured
    good.write(tmp_path, "good")                        # good.pem and good.key (0600) for curl, nginx, aiohttp

`Issued.load(ca_pem, ca_key)` takes up a CA from files, so a test can issue from the development CA of a home
(`ca.pem` and `ca.key` lie side by side). Times are aware datetimes: `NOW` is a fixed instant for pure tests; with a
real TLS stack pass `at=now()`, the clock's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

NOW: Final = datetime(2026, 11, 22, 10, tzinfo=UTC)
NOW_AT: Final = int(NOW.timestamp())
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)
YEAR: Final = timedelta(days=365)

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Hash: TypeAlias = hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512
Extensions: TypeAlias = Mapping[type[x509.ExtensionType], tuple[x509.ExtensionType, bool] | None]
"""Extensions to put in place of the usual ones, by class: (value, critical), or None to leave it out."""


def now() -> datetime:
    """The clock's time, for tests whose certificates meet a real TLS stack."""
    return datetime.now(UTC).replace(microsecond=0)


def p256() -> ec.EllipticCurvePrivateKey:
    """A new key of the usual kind."""
    return ec.generate_private_key(ec.SECP256R1())


def name(common_name: str, **more: str) -> x509.Name:
    """A name, e.g. `name("x", organization_name="y")`; one attribute per keyword, named as in `x509.NameOID`."""
    attributes = [x509.NameAttribute(getattr(x509.NameOID, key.upper()), value) for key, value in more.items()]
    return x509.Name([*attributes, x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def key_usage(*usages: str) -> x509.KeyUsage:
    """A keyUsage with exactly these bits, named as the arguments of `x509.KeyUsage`."""
    bits = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{bit: bit in usages for bit in bits})


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    @classmethod
    def load(cls, certificate: Path, key: Path) -> "Issued":
        """Take up a certificate and its unencrypted key from files."""
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
        assert isinstance(private, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey))
        return cls(x509.load_pem_x509_certificate(certificate.read_bytes()), private)

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM."""
        return self.key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    @property
    def sha256(self) -> str:
        """SHA-256 of the DER, lower-case hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def write(self, directory: Path, stem: str) -> tuple[Path, Path]:
        """Write STEM.pem and STEM.key (0600) and return their paths."""
        certificate, key = directory / f"{stem}.pem", directory / f"{stem}.key"
        certificate.write_bytes(self.pem)
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)
        return certificate, key


def authority(  # noqa: PLR0913 -- every one of them is a way for a CA to be wrong
    common_name: str | x509.Name = "Test client CA",
    *,
    parent: Issued | None = None,
    path_length: int | None = 0,
    key: PrivateKey | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    extensions: Extensions | None = None,
    algorithm: Hash | None = None,
    at: datetime = NOW,
) -> Issued:
    """A certificate authority, self-signed or issued by `parent`; valid a year before and ten years after `at`."""
    key = key or p256()
    usual: dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool] | None] = {
        x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=path_length), True),
        x509.KeyUsage: (key_usage("key_cert_sign", "crl_sign"), True),
        x509.SubjectKeyIdentifier: (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    }
    if parent:
        usual[x509.AuthorityKeyIdentifier] = _authority_key(parent)
    return sign(
        common_name,
        issuer=parent,
        key=key,
        not_before=not_before or at - YEAR,
        not_after=not_after or at + 10 * YEAR,
        extensions=usual | dict(extensions or {}),
        algorithm=algorithm,
    )


def client(  # noqa: PLR0913 -- every one of them is a way for a certificate to be wrong
    issuer: Issued,
    common_name: str | x509.Name = "callback.tencent.test",
    *,
    key: PrivateKey | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    san: Iterable[x509.GeneralName] = (x509.DNSName("callback.tencent.test"),),
    extensions: Extensions | None = None,
    algorithm: Hash | None = None,
    serial: int | None = None,
    at: datetime = NOW,
) -> Issued:
    """A client certificate the strict profile accepts, unless changed; valid a day before and a year after `at`."""
    usual: dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool] | None] = {
        x509.KeyUsage: (key_usage("digital_signature"), True),
        x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage([x509.OID_CLIENT_AUTH]), False),
        x509.AuthorityKeyIdentifier: _authority_key(issuer),
        x509.SubjectAlternativeName: (x509.SubjectAlternativeName(san), False),
    }
    return sign(
        common_name,
        issuer=issuer,
        key=key or p256(),
        not_before=not_before or at - DAY,
        not_after=not_after or at + YEAR,
        extensions=usual | dict(extensions or {}),
        algorithm=algorithm,
        serial=serial,
    )


def sign(  # noqa: PLR0913 -- the fields of a certificate
    subject: str | x509.Name,
    *,
    issuer: Issued | None,
    key: PrivateKey,
    not_before: datetime,
    not_after: datetime,
    extensions: Extensions,
    algorithm: Hash | None = None,
    serial: int | None = None,
) -> Issued:
    """Sign a certificate with exactly these fields and extensions; self-signed without an issuer."""
    subject = name(subject) if isinstance(subject, str) else subject
    signing_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension in extensions.values():
        if extension:
            builder = builder.add_extension(extension[0], critical=extension[1])
    return Issued(builder.sign(signing_key, _hash_for(signing_key, algorithm)), key)


def crl(  # noqa: PLR0913 -- every one of them is a way for a CRL to be wrong
    issuer: Issued,
    revoked: Sequence[x509.Certificate | Issued | int | x509.RevokedCertificate] = (),
    *,
    number: int | None = 1,
    this_update: datetime | None = None,
    next_update: datetime | None = None,
    signer: Issued | None = None,
    extensions: Extensions | None = None,
    at: datetime = NOW,
) -> x509.CertificateRevocationList:
    """A CRL the strict profile accepts, unless changed; current for 29 days after `at`. `signer` forges it."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update or at - DAY)
        .next_update(next_update or at + 29 * DAY)
    )
    usual: dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool] | None] = {
        x509.AuthorityKeyIdentifier: _authority_key(issuer),
        x509.CRLNumber: None if number is None else (x509.CRLNumber(number), False),
    }
    for extension in (usual | dict(extensions or {})).values():
        if extension:
            builder = builder.add_extension(extension[0], critical=extension[1])
    for item in revoked:
        builder = builder.add_revoked_certificate(_entry(item, at))
    key = (signer or issuer).key
    return builder.sign(key, _hash_for(key, None))


def crl_pem(revocations: x509.CertificateRevocationList) -> bytes:
    """A CRL as PEM."""
    return revocations.public_bytes(Encoding.PEM)


def nginx_header(certificate: Issued | bytes) -> str:
    """What nginx sends as `$ssl_client_escaped_cert`: the PEM with everything but unreserved characters escaped."""
    return quote(certificate if isinstance(certificate, bytes) else certificate.pem, safe="")


def _entry(item: x509.Certificate | Issued | int | x509.RevokedCertificate, at: datetime) -> x509.RevokedCertificate:
    if isinstance(item, x509.RevokedCertificate):
        return item
    if isinstance(item, Issued):
        item = item.certificate
    serial = item.serial_number if isinstance(item, x509.Certificate) else item
    return x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at - DAY).build()


def _authority_key(issuer: Issued) -> tuple[x509.ExtensionType, bool]:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False


def _hash_for(key: PrivateKey, algorithm: Hash | None) -> Hash | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else algorithm or hashes.SHA256()
