"""From an authority to the trust files the receiver and nginx read: public files only. Decides nobody's trust."""

from pathlib import Path
from typing import Final

from cryptography import x509

from receiver.errors import CertificateError
from receiver.pki import files
from receiver.pki.authority import Authority

_ANCHORS: Final = "anchors"
_CRLS: Final = "crls"


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
    carriers = [
        directory.name for directory in sorted(trust.glob("*/")) if _is_trusted(authority, directory / _ANCHORS)
    ]
    for carrier in carriers:
        directory = trust / carrier / _CRLS
        files.make_directory(directory)
        _copy(authority.crl_path, _last_crl(authority, directory) or directory / f"{authority.name}.pem")
    return carriers


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
