"""Accepted CRLs, applied to every certificate their issuers signed. Reads no CRL and builds no chain."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from receiver.errors import UntrustedError
from receiver.trust.certificate import Leaf, has_signed, serial_text
from receiver.trust.crl import Crl, identity
from receiver.trust.text import name_text


class RevocationState(StrEnum):
    """Whether the issuer of each certificate below the anchor has a CRL."""

    CHECKED = "checked"
    PARTIAL = "partial"
    UNCHECKED = "unchecked"


class Revocation:
    """Who is revoked among the CAs at hand, and the sets to look a leaf up in."""

    def __init__(
        self,
        crls: Sequence[Crl],
        *,
        anchors: Sequence[x509.Certificate] = (),
        intermediates: Sequence[x509.Certificate] = (),
    ) -> None:
        self.crls = tuple(crls)
        self._by_authority = {authority: _crls_of(authority, crls) for authority in (*anchors, *intermediates)}
        # One certificate for each CA that has CRLs, however many certificates of it there are.
        self._signers = {own[0].issuer: authority for authority, own in self._by_authority.items() if own}
        # An anchor needs nobody's word for it, so only being listed counts against it.
        found = {one: _listed(one, self._crls_about(one)) for one in anchors}
        found |= {one: _judge(one, self._crls_about(one)) for one in intermediates if one not in found}
        self.refused: Mapping[x509.Certificate, UntrustedError] = {one: why for one, why in found.items() if why}
        """CA certificates that must not be part of a chain, and why."""

    def refuse(self, leaf: Leaf, *, issuer: x509.Certificate) -> None:
        """Judge a leaf by the CRLs of the CA that signed it.

        Raises:
            UntrustedError: `revoked`, or `crl_invalid` when none of its issuer's CRLs covers it.
        """
        if problem := _judge(leaf.certificate, self._by_authority.get(issuer, ())):
            raise problem

    def refuse_by_name(self, leaf: Leaf) -> None:
        """Judge a leaf whose chain is unknown: it is revoked if any CRL of its issuer's name lists it.

        Raises:
            UntrustedError: `revoked`.
        """
        named = [crl for crl in self.crls if crl.issuer[0] == leaf.issuer_der]
        if problem := _listed(leaf.certificate, named):
            raise problem

    def state(self, chain: Sequence[x509.Certificate]) -> RevocationState:
        """How far CRLs reach along a verified chain, anchor last."""
        checked = [bool(self._by_authority.get(issuer)) for issuer in chain[1:]]
        if checked and all(checked):
            return RevocationState.CHECKED
        return RevocationState.PARTIAL if any(checked) else RevocationState.UNCHECKED

    def _crls_about(self, authority: x509.Certificate) -> list[Crl]:
        """The CRLs of the CAs at hand that signed this one."""
        return [
            crl
            for signer in self._signers.values()
            if signer.subject == authority.issuer and has_signed(signer, authority)
            for crl in self._by_authority[signer]
        ]


def _crls_of(authority: x509.Certificate, crls: Sequence[Crl]) -> tuple[Crl, ...]:
    try:
        issuer = identity(authority)
    except (ValueError, UnsupportedAlgorithm):
        return ()
    return tuple(crl for crl in crls if crl.issuer == issuer)


def _judge(certificate: x509.Certificate, crls: Sequence[Crl]) -> UntrustedError | None:
    if problem := _listed(certificate, crls):
        return problem
    if crls and not any(crl.covers(certificate) for crl in crls):
        return UntrustedError(
            "crl_invalid",
            f"the CRL of {crls[0].issuer_text} covers only a distribution point that "
            f"the certificate {name_text(certificate.subject)} does not name",
        )
    return None


def _listed(certificate: x509.Certificate, crls: Sequence[Crl]) -> UntrustedError | None:
    for crl in crls:
        if certificate.serial_number in crl.serials:
            who = f"{name_text(certificate.subject)}, serial {serial_text(certificate.serial_number)}"
            return UntrustedError("revoked", f"the certificate {who}, is revoked by the CRL of {crl.issuer_text}")
    return None
