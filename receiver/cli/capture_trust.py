"""Captured certificates against CA files: does each verify, why not, and which command to run next."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receiver.cli.certs_place import content
from receiver.cli.trust_place import CarrierPlace
from receiver.errors import CertificateError, UntrustedError
from receiver.pki import carrier_files, public_roots
from receiver.pki.preflight import (
    Examined,
    Role,
    Side,
    among,
    examine,
    is_authority,
    key_text,
    role_of,
    signature_text,
    with_public_root,
)
from receiver.pki.public_roots import PublicRoots
from receiver.trust import Material, pem
from receiver.trust.certificate import Leaf, quietly, read
from receiver.trust.crl import accept
from receiver.trust.text import instant_text, printable
from receiver.web.capture_file import write_private

_INSTALLED = "installed"
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """CA certificates that may verify what comes: a file's, or (`file` is None) those installed for the carrier."""

    file: Path | None
    material: Material
    examined: tuple[Examined, ...] = ()

    @property
    def name(self) -> str:
        """How it is called in the report."""
        return str(self.file) if self.file else _INSTALLED

    @property
    def is_public(self) -> bool:
        """Can anybody get a certificate under it?"""
        return any(one.has("public_root") for one in self.examined)

    def facts(self) -> dict[str, Any]:
        """What a person must know of the file before it is trusted."""
        return {
            "name": printable(self.name),
            "findings": [
                {
                    "subject": printable(one.certificate.subject.rfc4514_string()),
                    "text": printable(each.text),
                    "refused_by": [side.value for side in each.refused_by],
                }
                for one in self.examined
                for each in one.findings
            ],
        }


def judges(place: CarrierPlace, files: Sequence[Path], *, now: int) -> list[Judge]:
    """Everything captured certificates are to be judged by.

    Raises:
        CertificateError: a file cannot be read or used.
    """
    found = [_of_file(place, file, now=now) for file in files]
    if any(item.certificate for item in place.items()):
        found.append(Judge(file=None, material=place.material(now=now)))
    return found


@quietly()
def _of_file(place: CarrierPlace, file: Path, *, now: int) -> Judge:
    try:
        offered = carrier_files.offered(content(file))
        is_strict = place.settings.carriers[place.carrier].strictness == "strict"
        crls = [accept(one, offered.certificates, now=now, is_strict=is_strict) for one in offered.crls]
    except (CertificateError, UntrustedError) as exc:
        raise CertificateError(f"{file}: {exc}") from None
    if not offered.certificates:
        raise CertificateError(f"{file}: holds no CA certificate")
    # As `trust add` will place them.
    roles = {role: [one for one in offered.certificates if role_of(one) is role] for role in Role}
    material = Material(
        anchors=roles[Role.ANCHOR],
        intermediates=roles[Role.INTERMEDIATE],
        crls=crls,
        strictness=place.strictness,
    )
    roots, is_nginx_checking = PublicRoots.load(public_roots.SYSTEM_BUNDLE), place.settings.nginx.crl
    examined = []
    for certificate in offered.certificates:
        one = examine(certificate, strictness=place.strictness, now=now)
        one = among(one, offered.certificates, offered.crls, is_nginx_checking_crls=is_nginx_checking)
        examined.append(with_public_root(one) if roots.has(certificate) else one)
    return Judge(file=file, material=material, examined=tuple(examined))


@quietly()
def judged(
    presented: Mapping[str, int], place: CarrierPlace, everybody: Sequence[Judge], *, stem: Path, now: int
) -> list[dict[str, Any]]:
    """Each certificate that was presented (PEM to how often), the verdicts on it, and what to run next.

    Writes each beside the capture file, for the commands that follow.
    """
    return [
        _one(text, count, place, everybody, path=stem.with_name(f"{stem.name}.certificate-{number}.pem"), now=now)
        for number, (text, count) in enumerate(presented.items(), start=1)
    ]


def _one(  # noqa: PLR0913 -- the certificate, whom it is for, who judges it, where it goes
    text: str, count: int, place: CarrierPlace, everybody: Sequence[Judge], *, path: Path, now: int
) -> dict[str, Any]:
    write_private(path, text.encode())
    try:
        leaf = read(pem.certificate_ders(text.encode())[0])
    except (CertificateError, UntrustedError) as exc:
        problem = printable(str(exc))
        return {"file": str(path), "requests": count, "problem": problem, "verdicts": [], "next": []}
    verdicts = [_verdict(leaf, one, now=now) for one in everybody]
    certificate = leaf.certificate
    return {
        "file": str(path),
        "requests": count,
        "subject": printable(leaf.subject, limit=_LONGEST_NAME),
        "issuer": printable(leaf.issuer, limit=_LONGEST_NAME),
        "serial": leaf.serial,
        "sha256": leaf.sha256,
        "key": key_text(certificate),
        "signature": signature_text(certificate),
        "not_before": instant_text(leaf.not_before),
        "not_after": instant_text(leaf.not_after),
        "is_self_signed": leaf.subject_der == leaf.issuer_der,
        "verdicts": verdicts,
        "next": [*_next(leaf, place, list(zip(everybody, verdicts, strict=True)), path=path)],
    }


def _verdict(leaf: Leaf, judge: Judge, *, now: int) -> dict[str, Any]:
    try:
        verified = judge.material.verify(leaf, now=now)
    except UntrustedError as exc:
        return {"ca": printable(judge.name), "ok": False, "reason": exc.code, "detail": printable(str(exc))}
    names = [printable(one.subject.rfc4514_string()) for one in verified.chain]
    return {"ca": printable(judge.name), "ok": True, "chain": names, "revocation": verified.revocation.value}


def _next(
    leaf: Leaf, place: CarrierPlace, verdicts: Sequence[tuple[Judge, Mapping[str, Any]]], *, path: Path
) -> Iterator[str]:
    """The commands that let this certificate in, or the one that asks again."""
    good = next((judge for judge, verdict in reversed(verdicts) if verdict["ok"]), None)
    if good is None:
        # Only a pin by SHA-256 admits what the library cannot process, and nginx must have verified its chain.
        odd = next((judge for judge, verdict in verdicts if verdict["reason"] == "bad_certificate"), None)
        if odd is None or is_authority(leaf.certificate):
            yield _command(
                place, "certs", "verify", str(path), "--anchors", "CA-FILE", "--profile", place.strictness.value
            )
            return
        good, by = odd, ["--by", "sha256"]
    else:
        by = [] if list(leaf.certificate.subject) else ["--by", "sha256"]
    if good.file is not None:
        is_one_step = good.is_public and not by
        pin = ["--pin", str(path)] if is_one_step else []
        anyway = ["--anyway"] if by and any(one.is_refused_by(Side.RECEIVER) for one in good.examined) else []
        yield _command(place, "trust", "add", place.carrier, str(good.file), *pin, *anyway, home=True)
        if is_one_step:
            return
    yield _command(place, "trust", "pin", place.carrier, str(path), *by, home=True)


def _command(place: CarrierPlace, *words: str, home: bool = False) -> str:
    return shlex.join(["receiver", *words, *(["--home", str(place.home.root)] if home else [])])
