"""From an authority to the trust files the receiver and nginx read: public files only. Decides nobody's trust."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from receiver.errors import CertificateError
from receiver.pki import files
from receiver.pki.authority import Authority
from receiver.trust import pem

_ANCHORS: Final = "anchors"
_CRLS: Final = "crls"

_T = TypeVar("_T", x509.Certificate, x509.CertificateRevocationList)


def trust_authority(authority: Authority, trust: Path, *, carrier: str) -> bool:
    """Make an authority a trust anchor of a carrier, with its CRL; False when it is one already.

    Raises:
        CertificateError: a file cannot be read or written.
    """
    directory = trust / carrier
    if _is_trusted(authority, directory / _ANCHORS):
        return False
    for one in (trust, directory, directory / _CRLS, directory / _ANCHORS):
        files.make_directory(one)
    # The CRL with or before its CA: with `ssl_crl`, nginx refuses everybody of a CA that has none.
    _copy(authority.crl_path, directory / _CRLS / f"{authority.name}.pem")
    _copy(authority.path, directory / _ANCHORS / f"{authority.name}.pem")
    return True


def publish_crl(authority: Authority, trust: Path) -> list[str]:
    """Hand an authority's CRL to every carrier that trusts it, in place of its last one; returns those carriers.

    Raises:
        CertificateError: a file cannot be read or written.
    """
    carriers = trusted_by(authority, trust)
    for carrier in carriers:
        directory = trust / carrier / _CRLS
        files.make_directory(directory)
        _copy(authority.crl_path, _last_crl(authority, directory) or directory / f"{authority.name}.pem")
    return carriers


def trusted_by(authority: Authority, trust: Path) -> list[str]:
    """The carriers that have an authority as an anchor."""
    return [directory.name for directory in sorted(trust.glob("*/")) if _is_trusted(authority, directory / _ANCHORS)]


def known_by(authority: Authority, trust: Path) -> list[str]:
    """The carriers that have an authority as an anchor, or still a CRL of it after a removal that was interrupted."""
    directories = sorted(trust.glob("*/"))
    with_crl = {one.name for one in directories if _last_crl(authority, one / _CRLS)}
    return sorted(with_crl | set(trusted_by(authority, trust)))


def withdraw(authority: Authority, trust: Path) -> list[str]:
    """Take an authority out of every carrier's trust files; returns those carriers. Its own files stay.

    The anchors first, then the CRLs: at no time is it trusted while what it revoked is forgotten.

    Raises:
        CertificateError: a file cannot be read or written.
    """
    carriers = known_by(authority, trust)
    for carrier in carriers:
        for path in sorted((trust / carrier / _ANCHORS).glob("*.pem")):
            _keep(path, pem.certificates, lambda one: one != authority.certificate)
    for carrier in carriers:
        for path in sorted((trust / carrier / _CRLS).glob("*.pem")):
            _keep(path, pem.crls, lambda one: one.issuer != authority.certificate.subject)
    return carriers


def _keep(path: Path, parse: Callable[[bytes], Sequence[_T]], is_kept: Callable[[_T], bool]) -> None:
    """Leave only some of a public file's objects in it, or no file when none is left."""
    try:
        found = parse(path.read_bytes())
    except OSError as exc:
        raise CertificateError(f"{path}: cannot be read: {exc.strerror}") from None
    except CertificateError as exc:
        raise CertificateError(f"{path}: {exc}") from None
    kept = [one for one in found if is_kept(one)]
    if len(kept) == len(found):
        return
    if kept:
        files.replace(path, b"".join(one.public_bytes(Encoding.PEM) for one in kept))
        return
    try:
        path.unlink()
    except OSError as exc:
        raise CertificateError(f"{path}: cannot be removed: {exc.strerror}") from None
    files.sync_directory(path.parent)


def _is_trusted(authority: Authority, anchors: Path) -> bool:
    for path in anchors.glob("*.pem"):
        try:
            found = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError):
            # A broken anchor file is reported where anchors are used.
            continue
        if authority.certificate in found:
            return True
    return False


def _last_crl(authority: Authority, crls: Path) -> Path | None:
    for path in sorted(crls.glob("*.pem")):
        try:
            crl = x509.load_pem_x509_crl(path.read_bytes())
        except (OSError, ValueError):
            continue
        if crl.issuer == authority.certificate.subject:
            return path
    return None


def _copy(source: Path, target: Path) -> None:
    try:
        content = source.read_bytes()
        if target.is_file() and target.read_bytes() == content:
            return
    except OSError as exc:
        raise CertificateError(f"{exc.filename}: cannot be read: {exc.strerror}") from None
    files.replace(target, content)
