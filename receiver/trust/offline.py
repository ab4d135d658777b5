"""One client certificate judged from the bytes of files, as for a callback, pins aside (`receiver certs verify`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from receiver.errors import CertificateError, UntrustedError
from receiver.trust import pem
from receiver.trust.certificate import Leaf, quietly, read
from receiver.trust.crl import Crl, accept
from receiver.trust.files import crl_warnings
from receiver.trust.material import Material, Verified
from receiver.trust.profiles import Strictness
from receiver.trust.text import instant_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A certificate that would be accepted, and what a person should know beside that."""

    leaf: Leaf
    verified: Verified
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The content of the files a certificate is judged by; each may hold several certificates or CRLs."""

    anchors: bytes
    intermediates: Sequence[bytes] = ()
    crls: Sequence[bytes] = ()


@quietly()
def judge(leaf: bytes, files: Files, *, now: int, strictness: Strictness) -> Accepted:
    """Judge the first certificate of `leaf` at `now` (Unix seconds).

    Every CRL must be usable. A running receiver goes on refusing what an expired one lists; here, where the one who
    asks has chosen the CRL, the strict profile does not judge by it at all.

    Raises:
        UntrustedError: why it would be refused.
        CertificateError: a file of CA certificates holds none.
    """
    anchor_ders = _ders("anchors", files.anchors)
    pool_ders = [der for content in files.intermediates for der in _ders("intermediate", content)]
    try:
        anchors = [pem.certificate(der) for der in anchor_ders]
        pool = [pem.certificate(der) for der in pool_ders]
        leaf_ders = _ders("leaf", leaf)
    except CertificateError as exc:
        raise UntrustedError("bad_certificate", str(exc)) from None
    crls = _crls(files, (*anchors, *pool), now=now, is_strict=strictness is Strictness.STRICT)
    material = Material(anchors=anchors, intermediates=pool, crls=crls, strictness=strictness)
    found = read(leaf_ders[0])
    warnings = crl_warnings(crls, now=now)
    if len(leaf_ders) > 1:
        warnings.append("the file holds several certificates; the first was judged")
    return Accepted(leaf=found, verified=material.verify(found, now=now), warnings=tuple(warnings))


def _ders(role: str, content: bytes) -> tuple[bytes, ...]:
    try:
        return pem.certificate_ders(content)
    except CertificateError as exc:
        raise CertificateError(f"{role}: {exc}") from None


def _crls(files: Files, authorities: Sequence[x509.Certificate], *, now: int, is_strict: bool) -> list[Crl]:
    try:
        loaded = [one for content in files.crls for one in pem.crls(content)]
    except CertificateError as exc:
        raise UntrustedError("crl_invalid", str(exc)) from None
    crls = [accept(one, authorities, now=now, is_strict=is_strict) for one in loaded]
    for crl in crls:
        if is_strict and crl.next_update < now:
            raise UntrustedError(
                "crl_invalid", f"the CRL of {crl.issuer_text} expired at {instant_text(crl.next_update)}"
            )
    return crls
