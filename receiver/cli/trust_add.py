"""One `receiver trust add`: what a file would mean for a carrier, whether it may be installed, and how it is told."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import orjson
from cryptography import x509

from receiver.cli import trust_rules, trust_show
from receiver.cli.certs_place import content
from receiver.cli.trust_place import CarrierPlace
from receiver.errors import CertificateError
from receiver.logs import printable
from receiver.pki import carrier_files, public_roots
from receiver.pki.carrier_files import Item, Offered, sha256_of
from receiver.pki.preflight import Examined, Role, Side, among, examine, with_public_root
from receiver.pki.public_roots import PublicRoots
from receiver.trust import Pin
from receiver.trust.certificate import Leaf, quietly
from receiver.trust.text import name_text

_PIN_REASON: Final = "given with the CA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A file on its way to a carrier's trust files.

    Attributes:
        plan: what would be written; empty when all of it is there.
        pin: what is pinned before anything is installed; `leaf` is the certificate it was taken from, if any.
        knows_public_roots: the machine has a list of them to compare with.
    """

    place: CarrierPlace
    now: int
    offered: Offered
    plan: list[Item]
    examined: list[Examined]
    pin: Pin | None
    leaf: Leaf | None
    knows_public_roots: bool

    @classmethod
    def of(cls, place: CarrierPlace, file: Path, *, pin_file: Path | None, pin_san: str | None, now: int) -> "Addition":
        """Read and examine a file.

        Raises:
            ReceiverError: it cannot be read or used at all.
        """
        data, old = content(file), place.items()
        try:
            offered = carrier_files.offered(data)
            plan = carrier_files.planned(offered, old, place.directory, strictness=place.strictness, now=now)
        except CertificateError as exc:
            raise CertificateError(f"{file}: {exc}") from None
        leaf = place.leaf(pin_file) if pin_file else None
        roots = PublicRoots.load(public_roots.SYSTEM_BUNDLE)
        with quietly():
            examined = [_examined(one, offered, old, place, roots, now=now) for one in offered.certificates]
        return cls(
            place=place,
            now=now,
            offered=offered,
            plan=plan,
            examined=examined,
            pin=trust_rules.chosen_pin(leaf, san=pin_san) if leaf or pin_san else None,
            leaf=leaf,
            knows_public_roots=bool(roots),
        )

    def problem(self, *, anyway: bool, accept_unpinned: str | None) -> str | None:
        """Why it must not be installed, in one line."""
        planned = {item.sha256 for item in self.plan}
        is_holding = self.place.is_holding() and accept_unpinned is None
        for one in self.examined:
            who = name_text(one.certificate.subject)
            if sha256_of(one.certificate) not in planned:
                continue
            if one.has("not_a_ca"):
                return f"{who} is no CA certificate; one that the carrier presents is pinned with: receiver trust pin"
            if one.has("development") and self.place.settings.is_production:
                return f"{who} belongs to a development PKI, and this is a production home"
            if one.has("public_root") and not is_holding:
                return f"{who} is public, and holding is off or to be turned off: anybody could post as the carrier"
            if one.has("public_root") and self.pin is None:
                return (
                    f"{who} is public, so anybody can get a certificate under it; "
                    "give what the carrier presents as well: --pin FILE, or --pin-san dns:NAME"
                )
            sides = " and ".join(side for side in Side if one.is_refused_by(side))
            if sides and not anyway:
                return f"{sides} would accept nothing under {who}; to install it all the same, add --anyway"
        return None

    def carry_out(self, accept_unpinned: str | None) -> None:
        """Pin first, so that a public root is never there without its pin; then the files, then the record.

        Raises:
            ReceiverError: something cannot be written.
        """
        if self.pin:
            self.place.pin(self.pin, reason=_PIN_REASON, now=self.now)
        carrier_files.install(self.plan)
        if self.plan:
            self.place.record("trust_install", [item.path for item in self.plan])
        if accept_unpinned is not None and self.place.is_holding():
            trust_rules.holding_off(self.place, accept_unpinned)

    def show(self, *, is_installed: bool, is_json: bool) -> None:
        """Say what it is, what it would mean, and what was done."""
        certificates = [trust_show.examined(one, now=self.now) for one in self.examined]
        crls = [trust_show.revocations(one, now=self.now) for one in self.offered.crls]
        installed = [str(item.path) for item in self.plan] if is_installed else []
        lines = [*self._lines(is_installed=is_installed)]
        if is_json:
            facts: dict[str, Any] = {"carrier": self.place.carrier, "strictness": self.place.strictness.value}
            facts |= {"certificates": certificates, "crls": crls, "installed": installed, "lines": lines}
            click.echo(orjson.dumps(facts).decode())
            return
        for each in certificates:
            trust_show.certificate_screen(each)
            click.echo()
        for each in crls:
            trust_show.crl_screen(each)
        for line in (*(f"installed: {path}" for path in installed), *lines):
            click.echo(printable(line))

    def _lines(self, *, is_installed: bool) -> Iterator[str]:
        home = self.place.home.root
        if not self.plan:
            yield "all of it is installed already"
        if self.examined and not self.knows_public_roots:
            yield "note: this machine has no list of public roots, so nobody looked whether this is one"
        if roots := [one for one in self.examined if one.role is Role.ANCHOR and not one.is_refused_by(Side.NGINX)]:
            means = "It means" if is_installed or not self.plan else "It would mean"
            yield f"{means}: whoever has a certificate under {_names(roots)} gets past nginx; {self._fate()}"
        if is_installed and any(item.certificate for item in self.plan):
            yield f"Next, so that nginx knows it: receiver nginx --home {home}"
        if is_installed:
            yield from self._doubts()

    def _fate(self) -> str:
        """What becomes of callbacks under a root that says nothing about whose they are."""
        carrier, pins = self.place.carrier, len(self.place.rows("pin_list"))
        if not self.place.is_holding():
            return "every one counts as the carrier's, because holding is off"
        if pins or self.pin:
            return f"what comes under no pin of {carrier} is held"
        return f"all of it is held until the carrier's own is pinned: receiver trust pin {carrier} FILE"

    def _doubts(self) -> Iterator[str]:
        if self.leaf and self.pin:
            yield from trust_rules.doubts(self.place, self.leaf, self.pin)
        try:
            self.place.material(now=self.now)
        except CertificateError as exc:
            yield f"warning: the receiver cannot take the files up as they are: {exc}"


def _examined(  # noqa: PLR0913 -- the certificate, and what it is seen beside
    certificate: x509.Certificate,
    offered: Offered,
    old: tuple[Item, ...],
    place: CarrierPlace,
    roots: PublicRoots,
    *,
    now: int,
) -> Examined:
    authorities = [*offered.certificates, *(item.certificate for item in old if item.certificate)]
    crls = [*offered.crls, *(item.crl for item in old if item.crl)]
    one = examine(certificate, strictness=place.strictness, now=now)
    one = among(one, authorities, crls, is_nginx_checking_crls=place.settings.nginx.crl)
    return with_public_root(one) if roots.has(certificate) else one


def _names(authorities: list[Examined]) -> str:
    return " or ".join(name_text(one.certificate.subject) for one in authorities)
