"""Are a home's trust files in order, and does nginx read the same? Changes nothing; judges no peer."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from receiver.errors import CertificateError, ReceiverError
from receiver.pki import findings, issuing
from receiver.pki.authority import Authority
from receiver.pki.build import is_development
from receiver.pki.findings import Finding, Level, Margins
from receiver.trust import pem
from receiver.trust.certificate import has_signed, seconds
from receiver.trust.crl import Crl, accept, identity
from receiver.trust.text import name_text

_RENDER: Final = "receiver nginx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a home's settings and our own PKI say about its trust files.

    Attributes:
        strictness: of each configured carrier.
        ours: our own client CAs, whose CRLs we owe.
        nginx_crl: nginx judges by CRLs itself, so each CA needs one.
    """

    strictness: Mapping[str, str]
    ours: tuple[Authority, ...]
    is_production: bool
    nginx_crl: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Carrier:
    name: str
    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    crls: tuple[Crl, ...]

    def crl_of(self, authority: x509.Certificate) -> Crl | None:
        """Of several by one CA, the one that lasts longest."""
        own = [crl for crl in self.crls if crl.issuer == identity(authority)]
        return max(own, key=lambda crl: crl.next_update, default=None)


def check(trust: Path, expected: Expected, *, now: int, margins: Margins) -> list[Finding]:
    """The trust files of every configured carrier."""
    found: list[Finding] = []
    for name, strictness in expected.strictness.items():
        try:
            carrier = _read(trust / name, is_strict=strictness == "strict", now=now)
        except ReceiverError as exc:
            step = f"mend or remove it; the receiver keeps the last good files of {name}"
            found.append(findings.of_error(f"trust of {name}", exc, step=step))
            continue
        found += _carrier(carrier, expected, now=now, margins=margins)
    return found


def check_bundle(trust: Path, nginx: Path, *, is_production: bool) -> Finding:
    """`client-cas.pem`, from which nginx judges, holds exactly the anchors of all carriers."""
    path = nginx / "client-cas.pem"
    if not path.exists():
        # A development home renders it at every start.
        level = Level.CRITICAL if is_production else Level.OK
        return Finding(level=level, about=str(path), text="is not rendered yet", step=_RENDER if is_production else "")
    try:
        bundled = set(pem.certificate_ders(path.read_bytes()))
        trusted = {der for one in sorted(trust.glob("*/anchors/*.pem")) for der in _ders(one)}
    except OSError as exc:
        level = Level.UNKNOWN if isinstance(exc, PermissionError) else Level.CRITICAL
        return Finding(level=level, about=str(path), text=f"{exc.filename}: cannot be read: {exc.strerror}")
    except CertificateError as exc:
        return findings.of_error(str(path), exc, step=_RENDER)
    if bundled == trusted:
        return Finding(level=Level.OK, about=str(path), text=f"holds the {len(trusted)} anchors of the trust files")
    text = f"lacks {len(trusted - bundled)} anchors of the trust files and has {len(bundled - trusted)} others"
    return Finding(level=Level.CRITICAL, about=str(path), text=text, step=_RENDER)


def _ders(path: Path) -> tuple[bytes, ...]:
    try:
        return pem.certificate_ders(path.read_bytes())
    except CertificateError as exc:
        raise CertificateError(f"{path}: {exc}") from None


def _read(directory: Path, *, is_strict: bool, now: int) -> _Carrier:
    anchors = _certificates(directory / "anchors")
    intermediates = _certificates(directory / "intermediates")
    crls = []
    for path in sorted((directory / "crls").glob("*.pem")):
        try:
            found = pem.crls(_content(path))
            crls += [accept(crl, (*anchors, *intermediates), now=now, is_strict=is_strict) for crl in found]
        except ReceiverError as exc:
            raise CertificateError(f"{path}: {exc}") from None
    return _Carrier(name=directory.name, anchors=anchors, intermediates=intermediates, crls=tuple(crls))


def _certificates(directory: Path) -> tuple[x509.Certificate, ...]:
    found: list[x509.Certificate] = []
    for path in sorted(directory.glob("*.pem")):
        try:
            found += pem.certificates(_content(path))
        except CertificateError as exc:
            raise CertificateError(f"{path}: {exc}") from None
    return tuple(found)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise CertificateError(f"cannot be read: {exc.strerror}") from None


def _carrier(carrier: _Carrier, expected: Expected, *, now: int, margins: Margins) -> Iterator[Finding]:
    about = f"trust of {carrier.name}"
    if not carrier.anchors:
        step = f"receiver trust add {carrier.name} FILE"
        yield Finding(level=Level.WARNING, about=about, text="no anchor, so nobody is let in", step=step)
    for authority in (*carrier.anchors, *carrier.intermediates):
        yield _authority(carrier, authority, now=now, margins=margins)
        if expected.is_production and is_development(authority):
            text = f"{name_text(authority.subject)} is a development CA in a production home"
            yield Finding(level=Level.CRITICAL, about=about, text=text, step=f"receiver trust remove {carrier.name}")
        yield _revocation(carrier, authority, expected, now=now)
    yield from _uncovered(carrier, expected.ours, now=now)


def _authority(carrier: _Carrier, authority: x509.Certificate, *, now: int, margins: Margins) -> Finding:
    return findings.of_validity(
        f"CA {name_text(authority.subject)} of {carrier.name}",
        start=seconds(authority.not_valid_before_utc),
        end=seconds(authority.not_valid_after_utc),
        now=now,
        margins=margins,
        step=f"ask {carrier.name} for its next CA, then: receiver trust add {carrier.name} FILE",
    )


def _revocation(carrier: _Carrier, authority: x509.Certificate, expected: Expected, *, now: int) -> Finding:
    """Each CA of ours has its newest CRL here; a carrier's own may have none, unless nginx wants one."""
    about = f"CRL of {name_text(authority.subject)} for {carrier.name}"
    ours = next((one for one in expected.ours if one.certificate == authority), None)
    step = "receiver certs crl" if ours else f"get {carrier.name}'s CRL into HOME/trust/{carrier.name}/crls"
    crl = carrier.crl_of(authority)
    if crl is None:
        level = Level.CRITICAL if ours or expected.nginx_crl else Level.OK
        text = "there is none, so only `receiver trust block` can shut a certificate out"
        return Finding(level=level, about=about, text=text, step=step if level is Level.CRITICAL else "")
    if ours and (missing := _revoked(ours) - crl.serials):
        text = f"lacks {len(missing)} of the certificates that were revoked; they are still let in"
        return Finding(level=Level.CRITICAL, about=about, text=text, step=step)
    return findings.of_crl_dates(about, this_update=crl.this_update, next_update=crl.next_update, now=now, step=step)


def _revoked(authority: Authority) -> frozenset[int]:
    # A register or a CRL of ours that cannot be used is a finding about our PKI, and reported there.
    try:
        issued = issuing.issued([authority])
    except CertificateError:
        return frozenset()
    return frozenset(one.certificate.serial_number for one in issued if one.revoked)


def _uncovered(carrier: _Carrier, ours: Iterable[Authority], *, now: int) -> Iterator[Finding]:
    """Certificates we issued for this carrier whose CA is none of its anchors."""
    for authority in ours:
        if any(has_signed(anchor, authority.certificate) for anchor in carrier.anchors):
            continue
        try:
            issued = issuing.issued([authority])
        except CertificateError:
            continue
        valid = [one for one in issued if one.carrier == carrier.name and not one.revoked and one.not_after >= now]
        if valid:
            text = f"{len(valid)} valid certificates of {authority.name} are refused: that CA is no anchor"
            step = f"receiver trust add {carrier.name} {authority.path}"
            yield Finding(level=Level.CRITICAL, about=f"trust of {carrier.name}", text=text, step=step)
