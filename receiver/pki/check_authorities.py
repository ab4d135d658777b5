"""Is our own PKI in order? Dates, CRLs, keys that match, modes, the clock. Changes nothing and knows no home."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from receiver.errors import CertificateError, ReceiverError
from receiver.pki import findings, issuing, register
from receiver.pki.authority import Authority, load_certificate
from receiver.pki.findings import Finding, Level, Margins
from receiver.pki.issuing import Issued
from receiver.pki.profiles import Purpose
from receiver.trust import pem
from receiver.trust.crl import accept

# Files of ours may carry a time a little ahead: each that is replaced gets a newer second.
_CLOCK_SECONDS: Final = 300


def check(pki: Path, *, now: int, margins: Margins) -> list[Finding]:
    """Everything under a PKI directory; at least one finding for each authority and certificate."""
    found = [finding for path in _directories(pki) for finding in _authority(path, now=now, margins=margins)]
    if found and (mode := findings.of_mode(pki)):
        found.append(mode)
    return found


def clock(pki: Path, *, now: int) -> Finding:
    """The clock against everything that was made here before: none of it can come from the future."""
    newest = max((_made(path) for path in pki.glob("*-*/**/*.pem")), default=0)
    if newest > now + _CLOCK_SECONDS:
        text = f"says {findings.instant(now)}, but a file was made at {findings.instant(newest)}"
        return Finding(level=Level.CRITICAL, about="clock", text=text, step="set the clock: timedatectl set-ntp true")
    return Finding(level=Level.OK, about="clock", text=f"says {findings.instant(now)}")


def _made(path: Path) -> int:
    try:
        return int(path.stat().st_mtime)
    except OSError:
        return 0


def _directories(pki: Path) -> Iterator[Path]:
    for purpose in Purpose:
        yield from sorted(path for path in pki.glob(f"{purpose}-*") if path.is_dir())


def _authority(directory: Path, *, now: int, margins: Margins) -> Iterator[Finding]:
    path = directory / "ca.pem"
    try:
        certificate = load_certificate(path)
    except CertificateError as exc:
        yield findings.of_error(str(path), exc, step="restore it from a backup")
        return
    purpose = Purpose(directory.name.partition("-")[0])
    one = Authority(directory=directory, purpose=purpose, certificate=certificate)
    about = f"{purpose} CA {one.name}"
    yield findings.of_validity(
        about,
        start=int(certificate.not_valid_before_utc.timestamp()),
        end=one.not_after,
        now=now,
        margins=margins,
        step=f"receiver certs rotate-ca add --purpose {purpose}",
    )
    # Whoever is out of its own dates is trusted for nothing; its CRL does not matter any more.
    if now <= one.not_after:
        yield _crl(one, now=now)
    yield from _key(one.key_path, certificate)
    yield from _modes((directory, one.issued_directory, directory / "register.json"))
    yield from _leaves(one, now=now, margins=margins)


def _crl(one: Authority, *, now: int) -> Finding:
    about, step = f"CRL of {one.name}", f"receiver certs crl --purpose {one.purpose}"
    try:
        (found,) = pem.crls(one.crl_path.read_bytes())
        crl = accept(found, [one.certificate], now=now, is_strict=True)
        missing = [entry for entry in register.read(one.directory).revoked if entry.serial not in crl.serials]
    except OSError as exc:
        level = Level.UNKNOWN if isinstance(exc, PermissionError) else Level.CRITICAL
        return Finding(level=level, about=about, text=f"{one.crl_path}: cannot be read: {exc.strerror}", step=step)
    except ValueError:
        return Finding(level=Level.CRITICAL, about=about, text=f"{one.crl_path}: holds several CRLs", step=step)
    except ReceiverError as exc:
        return findings.of_error(about, exc, step=step)
    if missing:
        text = f"does not list {len(missing)} of the certificates that were revoked"
        return Finding(level=Level.CRITICAL, about=about, text=text, step=step)
    return findings.of_crl_dates(about, this_update=crl.this_update, next_update=crl.next_update, now=now, step=step)


def _leaves(one: Authority, *, now: int, margins: Margins) -> Iterator[Finding]:
    try:
        issued = [leaf for leaf in issuing.issued([one]) if not leaf.revoked]
    except CertificateError as exc:
        yield findings.of_error(str(one.issued_directory), exc, step="restore it from a backup")
        return
    for leaf in issued:
        if leaf.key_path:
            yield from _key(leaf.key_path, leaf.certificate)
    yield from (_leaf(leaf, issued, now=now, margins=margins) for leaf in issued)


def _leaf(leaf: Issued, all_issued: Iterable[Issued], *, now: int, margins: Margins) -> Finding:
    """One that a later one has taken over from may end in peace."""
    whose = leaf.carrier or leaf.names[0]
    about = f"{leaf.authority.purpose} certificate {whose} {leaf.serial[-8:]}"
    later = [one for one in all_issued if is_successor(one, leaf)]
    if later:
        text = f"ends at {findings.instant(leaf.not_after)}; {later[-1].serial[-8:]} takes over"
        return Finding(level=Level.OK, about=about, text=text)
    return findings.of_validity(
        about,
        start=int(leaf.certificate.not_valid_before_utc.timestamp()),
        end=leaf.not_after,
        now=now,
        margins=margins,
        step=f"receiver certs renew {leaf.serial[-8:]}" + ("" if leaf.key_path else " --csr FILE"),
    )


def is_successor(later: Issued, earlier: Issued) -> bool:
    """Does one certificate stand for the same carrier or host names, and last longer?"""
    is_same = later.carrier == earlier.carrier and (bool(later.carrier) or set(earlier.names) <= set(later.names))
    return is_same and later.not_after > earlier.not_after


def _key(path: Path, certificate: x509.Certificate) -> Iterator[Finding]:
    """A key that is elsewhere is nobody's fault; one that is here is private, and the certificate's."""
    if not path.exists():
        return
    yield from _modes([path])
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except TypeError:
        # Encrypted: only those who know the passphrase can compare it, and a timer does not.
        return
    except OSError as exc:
        yield Finding(level=Level.UNKNOWN, about=str(path), text=f"cannot be read: {exc.strerror}")
        return
    except (ValueError, UnsupportedAlgorithm):
        text = "is not a private key in PEM"
        yield Finding(level=Level.CRITICAL, about=str(path), text=text, step="restore it from a backup")
        return
    if key.public_key() != certificate.public_key():
        text = "is not the key of the certificate beside it"
        yield Finding(level=Level.CRITICAL, about=str(path), text=text, step="restore it from a backup")


def _modes(paths: Iterable[Path]) -> Iterator[Finding]:
    yield from (finding for path in paths if path.exists() and (finding := findings.of_mode(path)))
