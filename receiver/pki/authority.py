"""Certificate authorities as directories: make one, find them, keep their CRL. Each change is whole or not at all.

PKI/client-20261122/        one authority: its purpose and the day its key was made
    ca.pem  ca.key          the key 0600, encrypted unless made without a passphrase
    crl.pem                 there from the first minute
    register.json           what is revoked, and the last CRL number
    issued/                 see issuing.py
"""

import os
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from receiver.errors import CertificateError
from receiver.pki import build, files, keys, register
from receiver.pki.build import Signer
from receiver.pki.profiles import Purpose, authority_profile
from receiver.pki.register import Register

_CERTIFICATE: Final = "ca.pem"
_KEY: Final = "ca.key"
_CRL: Final = "crl.pem"
_ISSUED: Final = "issued"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """One certificate authority: a directory, and the certificate in it."""

    directory: Path
    purpose: Purpose
    certificate: x509.Certificate

    @property
    def name(self) -> str:
        """How commands and messages call it."""
        return self.directory.name

    @property
    def path(self) -> Path:
        """Its certificate."""
        return self.directory / _CERTIFICATE

    @property
    def key_path(self) -> Path:
        """Its private key, where it lies on this machine."""
        return self.directory / _KEY

    @property
    def not_after(self) -> int:
        """The end of its certificate's validity, Unix seconds."""
        return int(self.certificate.not_valid_after_utc.timestamp())

    @property
    def crl_path(self) -> Path:
        """Its CRL."""
        return self.directory / _CRL

    @property
    def issued_directory(self) -> Path:
        """Where the certificates lie that it issued."""
        return self.directory / _ISSUED


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlFacts:
    """A CRL's number, when the next is due (Unix seconds), and how many certificates it lists."""

    number: int
    next_update: int
    revoked: int


def initialise(
    pki: Path, purpose: Purpose, *, now: int, passphrase: bytes | None, is_development: bool = False
) -> Authority:
    """Make an authority under a name of its own, with an empty CRL; whatever was there stays.

    Raises:
        CertificateError: a file cannot be written.
    """
    with files.locked(pki):
        directory = _new_directory(pki, purpose, now=now)
        # Made beside and renamed: an authority is there with all its files, or not at all.
        draft = directory.with_name(f".{directory.name}.{os.getpid()}")
        try:
            files.make_directory(draft)
            files.make_directory(draft / _ISSUED)
            date = directory.name.removeprefix(f"{purpose}-")
            authority = _fill(draft, purpose, date=date, now=now, passphrase=passphrase, is_development=is_development)
            draft.rename(directory)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        files.sync_directory(pki)
    return replace(authority, directory=directory)


def find(pki: Path, purpose: Purpose | None = None) -> list[Authority]:
    """All authorities, or those of a purpose: by purpose, the newest last.

    Raises:
        CertificateError: one of them is damaged.
    """
    purposes = [purpose] if purpose else list(Purpose)
    return [_open(path, one) for one in purposes for path in sorted(pki.glob(f"{one}-*"), key=_age)]


def current(pki: Path, purpose: Purpose) -> Authority:
    """The authority that issues now: the newest.

    Raises:
        CertificateError: there is none yet.
    """
    found = find(pki, purpose)
    if not found:
        raise CertificateError(f"{pki}: no {purpose} CA yet; make one with: receiver certs init-ca --purpose {purpose}")
    return found[-1]


def signer(authority: Authority, *, passphrase: bytes | None) -> Signer:
    """Take up an authority's key.

    Raises:
        CertificateError: it is not here, not its key, or the passphrase is missing or wrong.
    """
    path = authority.key_path
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        raise CertificateError(f"{path}: the CA's key is not on this machine; run this where it is kept") from None
    except OSError as exc:
        raise CertificateError(f"{path}: cannot be read: {exc.strerror}") from None
    key = keys.load_key(pem, passphrase=passphrase, where=str(path))
    if key.public_key() != authority.certificate.public_key():
        raise CertificateError(f"{path}: is not the key of {authority.path}")
    return Signer(authority.certificate, key)


def refresh_crl(authority: Authority, *, now: int, passphrase: bytes | None, days: int | None = None) -> None:
    """Write the CRL anew, with the next number and new dates.

    Raises:
        CertificateError: the authority's key or register cannot be used.
    """
    own = signer(authority, passphrase=passphrase)
    with files.locked(authority.directory.parent):
        publish_crl(authority, register.read(authority.directory), signer=own, now=now, days=days)


def crl_facts(authority: Authority) -> CrlFacts:
    """What an authority's CRL says of itself.

    Raises:
        CertificateError: it cannot be read.
    """
    path = authority.crl_path
    try:
        crl = x509.load_pem_x509_crl(path.read_bytes())
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except OSError as exc:
        raise CertificateError(f"{path}: cannot be read: {exc.strerror}") from None
    except (ValueError, x509.ExtensionNotFound):
        raise CertificateError(f"{path}: not a CRL of ours; write it anew with: receiver certs crl") from None
    next_update = crl.next_update_utc
    return CrlFacts(number=number, next_update=int(next_update.timestamp()) if next_update else 0, revoked=len(crl))


def publish_crl(authority: Authority, state: Register, *, signer: Signer, now: int, days: int | None = None) -> None:
    """Keep the register, then write the CRL that says the same. The caller holds the lock.

    The register goes first: after a crash in between, the next CRL revokes what it should, under a number of its own.

    Raises:
        CertificateError: a file cannot be written; the old CRL stays.
    """
    profile = authority_profile(authority.purpose).crl
    if days is not None:
        profile = profile.model_copy(update={"days": days})
    state = replace(state, crl_number=state.crl_number + 1)
    crl = build.crl(profile, state.revoked, number=state.crl_number, signer=signer, now=now)
    register.write(authority.directory, state)
    files.replace(authority.crl_path, crl.public_bytes(Encoding.PEM))


def load_certificate(path: Path) -> x509.Certificate:
    """One certificate from a PEM file.

    Raises:
        CertificateError: it cannot be read.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as exc:
        raise CertificateError(f"{path}: cannot be read: {exc.strerror}") from None
    except ValueError:
        raise CertificateError(f"{path}: not a certificate in PEM") from None


def _fill(  # noqa: PLR0913 -- what an authority is made of
    directory: Path, purpose: Purpose, *, date: str, now: int, passphrase: bytes | None, is_development: bool
) -> Authority:
    profile = authority_profile(purpose)
    name = build.subject(build.filled(profile.common_name, {"date": date}), is_development=is_development)
    key = keys.generate()
    certificate = build.authority(profile, name=name, key=key, now=now)
    authority = Authority(directory=directory, purpose=purpose, certificate=certificate)
    files.write_new(directory / _KEY, keys.key_pem(key, passphrase=passphrase), mode=files.KEY_MODE)
    files.write_new(authority.path, certificate.public_bytes(Encoding.PEM), mode=files.PUBLIC_MODE)
    publish_crl(authority, Register(), signer=Signer(certificate, key), now=now)
    return authority


def _new_directory(pki: Path, purpose: Purpose, *, now: int) -> Path:
    # The day in the name shows the key's age; two keys of one day still get two names.
    date = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d")
    directory, turn = pki / f"{purpose}-{date}", 1
    while directory.exists():
        turn += 1
        directory = pki / f"{purpose}-{date}-{turn}"
    return directory


def _age(path: Path) -> tuple[str, int]:
    _, date, *turn = path.name.split("-")
    return date, int(turn[0]) if turn and turn[0].isdecimal() else 1


def _open(directory: Path, purpose: Purpose) -> Authority:
    return Authority(directory=directory, purpose=purpose, certificate=load_certificate(directory / _CERTIFICATE))
