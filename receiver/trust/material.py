"""What one carrier's certificates are judged by: anchors, intermediates and CRLs. Knows no pin and no carrier.

`receiver certs verify` and every callback go through `Material.verify`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from receiver.errors import UntrustedError
from receiver.trust.certificate import Leaf, seconds
from receiver.trust.crl import Crl
from receiver.trust.profiles import Strictness
from receiver.trust.revocation import Revocation, RevocationState
from receiver.trust.verify import Roots


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A chain in force, leaf first, anchor last; `not_after` is the earliest end of validity in it."""

    chain: tuple[x509.Certificate, ...]
    not_after: int
    revocation: RevocationState


class Material:
    """Anchors, intermediates and accepted CRLs, put together once and then only read."""

    def __init__(
        self,
        *,
        anchors: Sequence[x509.Certificate] = (),
        intermediates: Sequence[x509.Certificate] = (),
        crls: Sequence[Crl] = (),
        strictness: Strictness = Strictness.STRICT,
    ) -> None:
        self.anchors = tuple(anchors)
        self.intermediates = tuple(intermediates)
        self.strictness = strictness
        self.revocation = Revocation(crls, anchors=anchors, intermediates=intermediates)
        self._all = Roots(anchors, intermediates, strictness=strictness)
        self._usable = self._all if not self.revocation.refused else self._without_refused()

    @property
    def crls(self) -> tuple[Crl, ...]:
        """The CRLs in use."""
        return self.revocation.crls

    def verify(self, leaf: Leaf, *, now: int) -> Verified:
        """Chain, validity, purpose, key strength and revocation of a client certificate, at `now` (Unix seconds).

        Raises:
            UntrustedError: why it is refused.
        """
        try:
            chain = self._usable.chain(leaf, now=now)
        except UntrustedError as error:
            raise self._revoked_issuer(leaf, now=now) or error from None
        self.revocation.refuse(leaf, issuer=chain[min(1, len(chain) - 1)])
        return Verified(
            chain=chain,
            not_after=min(seconds(certificate.not_valid_after_utc) for certificate in chain),
            revocation=self.revocation.state(chain),
        )

    def _without_refused(self) -> Roots:
        # Left out before a chain is built, so that a CA certificate that was issued again still gives one.
        refused = self.revocation.refused
        return Roots(
            [anchor for anchor in self.anchors if anchor not in refused],
            [intermediate for intermediate in self.intermediates if intermediate not in refused],
            strictness=self.strictness,
        )

    def _revoked_issuer(self, leaf: Leaf, *, now: int) -> UntrustedError | None:
        if not self.revocation.refused:
            return None
        try:
            chain = self._all.chain(leaf, now=now)
        except UntrustedError:
            return None
        return next((self.revocation.refused[one] for one in chain if one in self.revocation.refused), None)
