"""What authorities issue and revoke. The certificate file is its own record; a key file is never written twice.

    issued/NAME-DAY-SERIAL.pem, and .key beside it where the key was made here

A client certificate names its carrier in its alternative names, so no list can disagree with the certificates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from receiver.errors import CertificateError
from receiver.pki import build, files, keys, register
from receiver.pki.authority import Authority, load_certificate, publish_crl, signer
from receiver.pki.build import Revoked, Signer
from receiver.pki.keys import LeafKey, SigningKey
from receiver.pki.profiles import leaf_profile

_SERIAL_DIGITS: Final = 8
_CARRIER_URN: Final = "urn:x-voice-carrier:"
"""Every client certificate names its carrier so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate that an authority issued. `key_path` is None when the key was made elsewhere."""

    authority: Authority
    path: Path
    key_path: Path | None
    certificate: x509.Certificate
    revoked: Revoked | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of the DER, lower-case hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def serial(self) -> str:
        """Its serial number, lower-case hexadecimal; file names end in its last digits."""
        return f"{self.certificate.serial_number:x}"

    @property
    def names(self) -> list[str]:
        """Its subject alternative names: host names, addresses, URIs."""
        sans = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [str(name.value) for name in sans]

    @property
    def carrier(self) -> str | None:
        """The carrier it was issued for; None for a server certificate."""
        carriers = [name.removeprefix(_CARRIER_URN) for name in self.names if name.startswith(_CARRIER_URN)]
        return carriers[0] if carriers else None

    @property
    def not_after(self) -> int:
        """The end of its validity, Unix seconds."""
        return int(self.certificate.not_valid_after_utc.timestamp())


def issue_server(
    authority: Authority, names: Sequence[str], *, now: int, passphrase: bytes | None, rsa_bits: int | None = None
) -> Issued:
    """Issue a server certificate for host names and IP addresses, with a new key.

    Raises:
        CertificateError: a name that is none, or the authority's key cannot be used.
    """
    if not names:
        raise CertificateError("a server certificate needs at least one host name or IP address")
    draft = _Draft(stem=names[0], values={"name": names[0]}, sans=tuple(build.alternative_names(names)))
    own = signer(authority, passphrase=passphrase)
    key = keys.generate(rsa_bits=rsa_bits)
    return _issue(authority, draft, public_key=key.public_key(), key=key, signer=own, now=now)


def issue_client(  # noqa: PLR0913 -- what a client certificate can differ in
    authority: Authority,
    carrier: str,
    *,
    now: int,
    passphrase: bytes | None,
    request: bytes | None = None,
    rsa_bits: int | None = None,
) -> Issued:
    """Issue a client certificate for a carrier: with a new key, or for the public key of its signing request.

    Raises:
        CertificateError: the request or the authority's key cannot be used.
    """
    urn = x509.UniformResourceIdentifier(f"{_CARRIER_URN}{carrier}")
    draft = _Draft(stem=carrier, values={"carrier": carrier}, sans=(urn,))
    if request is not None:
        public_key = keys.requested_key(request, where="signing request")
        own = signer(authority, passphrase=passphrase)
        return _issue(authority, draft, public_key=public_key, key=None, signer=own, now=now)
    own = signer(authority, passphrase=passphrase)
    key = keys.generate(rsa_bits=rsa_bits)
    return _issue(authority, draft, public_key=key.public_key(), key=key, signer=own, now=now)


def issued(authorities: Iterable[Authority]) -> list[Issued]:
    """Everything the authorities issued, oldest first.

    Raises:
        CertificateError: a certificate or a register is damaged.
    """
    found = []
    for authority in authorities:
        state = register.read(authority.directory)
        for path in authority.issued_directory.glob("*.pem"):
            one = _existing(authority, path)
            found.append(replace(one, revoked=state.find(one.certificate.serial_number)))
    return sorted(found, key=lambda one: (one.certificate.not_valid_before_utc, one.path.name))


def revoke(one: Issued, *, reason: str, now: int, passphrase: bytes | None) -> Revoked:
    """Revoke a certificate and write the CRL. Doing it again writes the CRL again and keeps the first date.

    Raises:
        CertificateError: the authority's key or register cannot be used.
    """
    authority, serial = one.authority, one.certificate.serial_number
    own = signer(authority, passphrase=passphrase)
    with files.locked(authority.directory.parent):
        state = register.read(authority.directory)
        revoked = state.find(serial)
        if not revoked:
            revoked = Revoked(serial=serial, at=now, reason=reason)
            state = replace(state, revoked=(*state.revoked, revoked))
        publish_crl(authority, state, signer=own, now=now)
    return revoked


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """What a certificate is about: the profile's placeholders, more alternative names, the start of its file name."""

    stem: str
    values: dict[str, str]
    sans: tuple[x509.GeneralName, ...] = ()


def _issue(  # noqa: PLR0913 -- what a certificate is made of
    authority: Authority, draft: _Draft, *, public_key: LeafKey, key: SigningKey | None, signer: Signer, now: int
) -> Issued:
    profile = leaf_profile(authority.purpose)
    more_sans = [build.filled(name, draft.values) for name in profile.subject_alternative_names]
    certificate = build.leaf(
        profile,
        subject=build.subject(
            build.filled(profile.common_name, draft.values),
            is_development=build.is_development(authority.certificate),
        ),
        sans=[*draft.sans, *build.alternative_names(more_sans)],
        key=public_key,
        signer=signer,
        now=now,
    )
    day = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d")
    serial = f"{certificate.serial_number:0{_SERIAL_DIGITS}x}"[-_SERIAL_DIGITS:]
    path = authority.issued_directory / f"{draft.stem.replace('*', '_')}-{day}-{serial}.pem"
    # The key first: a certificate without its key would be a record of something nobody can use.
    if key:
        files.write_new(path.with_suffix(".key"), keys.key_pem(key, passphrase=None), mode=files.KEY_MODE)
    files.write_new(path, certificate.public_bytes(Encoding.PEM), mode=files.PUBLIC_MODE)
    return _existing(authority, path)


def _existing(authority: Authority, path: Path) -> Issued:
    key_path = path.with_suffix(".key")
    return Issued(
        authority=authority,
        path=path,
        key_path=key_path if key_path.exists() else None,
        certificate=load_certificate(path),
    )
