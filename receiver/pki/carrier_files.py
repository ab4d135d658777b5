"""A carrier's CA certificates and CRLs on their way into HOME/trust: read, put in their place, taken away again."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from receiver.errors import CertificateError, UntrustedError
from receiver.pki import files
from receiver.pki.preflight import role_of
from receiver.trust import Strictness, pem
from receiver.trust.certificate import quietly, seconds
from receiver.trust.crl import Crl, accept
from receiver.trust.text import instant_text

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")
_CRL_LABEL: Final = b"X509 CRL"
_CERTIFICATE_LABELS: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE"})
_ZIP: Final = b"PK\x03\x04"
_MOST_BYTES: Final = 16 * 1024 * 1024
_STEM_LENGTH: Final = 40
_ID_DIGITS: Final = 8
_T = TypeVar("_T", x509.Certificate, x509.CertificateRevocationList)


class Kind(StrEnum):
    """What a trust file holds; also its directory."""

    ANCHORS = "anchors"
    INTERMEDIATES = "intermediates"
    CRLS = "crls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """The content of a file: certificates and CRLs, in its order."""

    certificates: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One certificate or CRL that lies, or is to lie, among the trust files."""

    kind: Kind
    path: Path
    content: x509.Certificate | x509.CertificateRevocationList

    @property
    def sha256(self) -> str:
        """SHA-256 of the DER, hexadecimal."""
        return sha256_of(self.content)

    @property
    def certificate(self) -> x509.Certificate | None:
        """The certificate, None for a CRL."""
        return self.content if isinstance(self.content, x509.Certificate) else None

    @property
    def crl(self) -> x509.CertificateRevocationList | None:
        """The CRL, None for a certificate."""
        return None if isinstance(self.content, x509.Certificate) else self.content


def sha256_of(content: x509.Certificate | x509.CertificateRevocationList) -> str:
    """SHA-256 of the DER, hexadecimal."""
    return hashlib.sha256(content.public_bytes(Encoding.DER)).hexdigest()


@quietly()
def offered(content: bytes) -> Offered:
    """Read a file that a carrier handed out, PEM or DER.

    Raises:
        CertificateError: it holds neither certificates nor CRLs, is damaged, or holds a private key.
    """
    if not content.strip():
        raise CertificateError("is empty")
    if len(content) > _MOST_BYTES:
        raise CertificateError("is too large to be a CA file")
    if content.startswith(_ZIP):
        raise CertificateError("is a ZIP archive; unpack it and give the certificate in it")
    labels = set(_BLOCK.findall(content))
    if any(label.endswith(b"PRIVATE KEY") for label in labels):
        raise CertificateError("holds a private key, which nobody should have handed out; take only the certificates")
    if b"PKCS7" in labels:
        raise CertificateError("is PKCS#7; unpack it with: openssl pkcs7 -print_certs -in FILE -out ca.pem")
    if not labels:
        return _offered_der(content)
    has_certificates = not labels.isdisjoint(_CERTIFICATE_LABELS)
    return Offered(
        # Without a CRL either, this says what the file holds instead.
        certificates=pem.certificates(content) if has_certificates or _CRL_LABEL not in labels else (),
        crls=pem.crls(content) if _CRL_LABEL in labels else (),
    )


def _offered_der(content: bytes) -> Offered:
    try:
        return Offered(certificates=pem.certificates(content), crls=())
    except CertificateError as exc:
        problem = exc
    try:
        return Offered(certificates=(), crls=pem.crls(content))
    except CertificateError:
        raise problem from None


@quietly()
def installed(directory: Path) -> tuple[Item, ...]:
    """Everything that lies in a carrier's directory.

    Raises:
        CertificateError: a file cannot be read; which one, and why.
    """
    return tuple(item for kind in Kind for path in _files(directory / kind) for item in _items(kind, path))


def _items(kind: Kind, path: Path) -> list[Item]:
    try:
        content = path.read_bytes()
        found = pem.crls(content) if kind is Kind.CRLS else pem.certificates(content)
    except OSError as exc:
        raise CertificateError(f"{path}: cannot be read: {exc.strerror}") from None
    except CertificateError as exc:
        raise CertificateError(f"{path}: {exc}") from None
    return [Item(kind=kind, path=path, content=one) for one in found]


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".pem")
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise CertificateError(f"{directory}: cannot be read: {exc.strerror}") from None


@quietly()
def planned(new: Offered, old: Sequence[Item], directory: Path, *, strictness: Strictness, now: int) -> list[Item]:
    """Where what is not installed yet is to lie; a CRL takes the place of the last one of its issuer.

    Raises:
        CertificateError: a CRL cannot be used, or is older than the one it would replace.
    """
    known = {item.sha256 for item in old}
    certificates = [
        Item(kind=kind, path=directory / kind / _file_name(one), content=one)
        for one in new.certificates
        for kind in [Kind(f"{role_of(one)}s")]
    ]
    authorities = [*new.certificates, *_contents(old, x509.Certificate)]
    crls = [_planned_crl(one, authorities, old, directory, strictness=strictness, now=now) for one in new.crls]
    # A CA before its CRL: a CRL whose CA is unknown keeps a receiver from starting, and until nginx is told of the CA
    # nobody comes under it.
    order = (Kind.INTERMEDIATES, Kind.ANCHORS, Kind.CRLS)
    plan = {item.path: item for item in (*certificates, *crls) if item.sha256 not in known}
    return sorted(plan.values(), key=lambda item: order.index(item.kind))


def _planned_crl(  # noqa: PLR0913 -- the CRL, and what it is judged by
    crl: x509.CertificateRevocationList,
    authorities: Sequence[x509.Certificate],
    old: Sequence[Item],
    directory: Path,
    *,
    strictness: Strictness,
    now: int,
) -> Item:
    is_strict = strictness is Strictness.STRICT
    try:
        new = accept(crl, authorities, now=now, is_strict=is_strict)
    except UntrustedError as exc:
        raise CertificateError(str(exc)) from None
    digest = hashlib.sha256(b"".join(new.issuer)).hexdigest()[:_ID_DIGITS]
    path = directory / Kind.CRLS / f"{_stem(crl.issuer)}-{digest}.pem"
    for item in old:
        if isinstance(item.content, x509.CertificateRevocationList) and item.content.issuer == crl.issuer:
            last = _accepted(item.content, authorities, now=now, is_strict=is_strict)
            if last is None or last.issuer != new.issuer or last.scope != new.scope:
                continue
            if seconds(item.content.last_update_utc) > new.this_update:
                age = f"the CRL of {new.issuer_text} is older ({instant_text(new.this_update)})"
                raise CertificateError(f"{age} than the one in {item.path}")
            if sum(other.path == item.path for other in old) == 1:
                path = item.path
    return Item(kind=Kind.CRLS, path=path, content=crl)


def _accepted(
    crl: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate], *, now: int, is_strict: bool
) -> Crl | None:
    try:
        return accept(crl, authorities, now=now, is_strict=is_strict)
    except UntrustedError:
        return None


def install(plan: Iterable[Item]) -> None:
    """Put the files of a plan in their place, each as a whole and in the plan's order.

    Raises:
        CertificateError: one cannot be written; those before it stay.
    """
    for item in plan:
        files.make_directory(item.path.parent)
        files.replace(item.path, item.content.public_bytes(Encoding.PEM))


def removal(which: str, items: Sequence[Item]) -> list[Item]:
    """What goes with the item of this file name or SHA-256 (its beginning is enough): a CA takes its CRLs along.

    Raises:
        CertificateError: there is no such item, or there are several.
    """
    digest = which.replace(":", "").lower()
    found = [
        item
        for item in items
        if which in {item.path.name, str(item.path)} or (len(digest) >= _ID_DIGITS and item.sha256.startswith(digest))
    ]
    paths = {item.path for item in found}
    if len(paths) != 1:
        problem = "is no trust file of this carrier" if not paths else "means several trust files; give a SHA-256"
        raise CertificateError(f"{which}: {problem} (see: receiver trust list)")
    gone = [item for item in items if item.path in paths]
    stay = [item for item in items if item.path not in paths]
    return [*gone, *_orphans(gone, stay)]


def _orphans(gone: Sequence[Item], stay: Sequence[Item]) -> list[Item]:
    """CRLs whose CA goes; one without its CA would keep the receiver from taking the files up."""
    left = {one.subject for one in _contents(stay, x509.Certificate)}
    lost = {one.subject for one in _contents(gone, x509.Certificate)} - left
    paths = {
        item.path
        for item in stay
        if isinstance(item.content, x509.CertificateRevocationList) and item.content.issuer in lost
    }
    for item in stay:
        is_shared = item.path in paths and isinstance(item.content, x509.CertificateRevocationList)
        if is_shared and item.content.issuer not in lost:
            raise CertificateError(f"{item.path} holds CRLs of other CAs too; split it first")
    return [item for item in stay if item.path in paths]


def unreadable(which: str, directory: Path) -> Path | None:
    """The file of this name, if it is there and holds nothing that can be read."""
    for kind in Kind:
        for path in _files(directory / kind):
            if which in {path.name, str(path)}:
                try:
                    _items(kind, path)
                except CertificateError:
                    return path
    return None


def remove(paths: Iterable[Path]) -> None:
    """Take files away, CA certificates first: a crash in between must not leave a CA without its CRL in force.

    Raises:
        CertificateError: one cannot be removed.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise CertificateError(f"{path}: cannot be removed: {exc.strerror}") from None
        files.sync_directory(path.parent)


def _contents(items: Iterable[Item], kind: type[_T]) -> list[_T]:
    return [item.content for item in items if isinstance(item.content, kind)]


def _file_name(certificate: x509.Certificate) -> str:
    return f"{_stem(certificate.subject)}-{sha256_of(certificate)[:_ID_DIGITS]}.pem"


def _stem(name: x509.Name) -> str:
    """A file name's beginning for people; the digest behind it tells files apart."""
    values = [str(one.value) for one in name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    text = re.sub(r"[^A-Za-z0-9]+", "-", values[-1] if values else "").strip("-").lower()
    return text[:_STEM_LENGTH] or "ca"
