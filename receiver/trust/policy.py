"""From a forwarded certificate to a peer: verified, bound to its carrier, or refused with a reason."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from receiver.errors import UntrustedError
from receiver.model import Peer
from receiver.trust.certificate import Leaf, quietly
from receiver.trust.header import Forwarded, parse
from receiver.trust.material import Material
from receiver.trust.pins import Block, FingerprintPin, Pin, matches
from receiver.trust.verify import refuse_outside_validity

CACHE_SECONDS: Final = 60
CACHE_SIZE: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierTrust:
    """Everything that decides who may speak for one carrier."""

    material: Material = field(default_factory=Material)
    pins: tuple[Pin, ...] = ()
    blocks: tuple[Block, ...] = ()
    accept_unpinned: bool = False


class _Verdict(NamedTuple):
    peer: Peer
    since: int
    until: int


class _State(NamedTuple):
    """What one generation of trust knows and remembers; replaced as a whole."""

    trusts: Mapping[str, CarrierTrust]
    verdicts: OrderedDict[tuple[str, str], _Verdict]


class Verifier:
    """Identifies peers by one generation of trust at a time, and remembers who passed for at most a minute."""

    def __init__(self, trusts: Mapping[str, CarrierTrust]) -> None:
        self.generation = 0
        self._state = _State(dict(trusts), OrderedDict())

    def replace(self, trusts: Mapping[str, CarrierTrust]) -> None:
        """Take up a new generation of trust; nothing remembered survives it."""
        self.generation += 1
        self._state = _State(dict(trusts), OrderedDict())

    def identify(self, forwarded: Forwarded, *, carrier: str, now: int) -> Peer:
        """Verify the forwarded certificate for a carrier at `now` (Unix seconds).

        `Peer.is_pinned` is False for a chain-valid certificate that no pin means: the caller holds its deliveries.

        Raises:
            UntrustedError: with one of the codes no_certificate, bad_header, bad_certificate, expired, not_yet_valid,
                untrusted, wrong_purpose, weak_key, revoked, crl_invalid, blocked, wrong_carrier.
        """
        trusts, verdicts = self._state
        is_plain = forwarded.verify == "SUCCESS" and len(forwarded.certificates) == 1
        key = (carrier, forwarded.certificates[0]) if is_plain else None
        if key and (verdict := verdicts.get(key)) and verdict.since <= now < verdict.until:
            verdicts.move_to_end(key)
            return verdict.peer
        with quietly():
            verdict = _judge(parse(forwarded), trusts, carrier=carrier, now=now)
        if key:
            verdicts[key] = verdict
            verdicts.move_to_end(key)
            if len(verdicts) > CACHE_SIZE:
                verdicts.popitem(last=False)
        return verdict.peer


def _judge(leaf: Leaf, trusts: Mapping[str, CarrierTrust], *, carrier: str, now: int) -> _Verdict:
    trust = trusts.get(carrier)
    if trust is None:
        raise UntrustedError("untrusted", "no trust is configured for this carrier")
    if any(matches(block, leaf, now=now) for block in trust.blocks):
        raise UntrustedError("blocked", f"the certificate with serial {leaf.serial} is blocked")
    refuse_outside_validity(leaf, now=now)
    pin = _pin_of(leaf, trust, now=now)
    others = [other for name, other in trusts.items() if name != carrier]
    not_after, is_verified = _chain(leaf, trust, pin=pin, others=others, now=now)
    if pin is None and any(_pin_of(leaf, other, now=now) for other in others):
        raise UntrustedError("wrong_carrier", "the certificate is bound to another carrier")
    peer = _peer(leaf, carrier, is_pinned=pin is not None or trust.accept_unpinned, is_verified=is_verified)
    return _Verdict(peer, since=now, until=_until(trust, not_after=not_after, now=now))


def _chain(
    leaf: Leaf, trust: CarrierTrust, *, pin: Pin | None, others: list[CarrierTrust], now: int
) -> tuple[int, bool]:
    """The earliest end of validity, and whether the library verified the chain or a SHA-256 pin stood in for it."""
    try:
        return trust.material.verify(leaf, now=now).not_after, True
    except UntrustedError as error:
        if isinstance(pin, FingerprintPin) and error.code != "revoked":
            # nginx has verified the chain; the library cannot, so the issuer is known by its name only.
            trust.material.revocation.refuse_by_name(leaf)
            return leaf.not_after, False
        if error.code == "untrusted" and any(_is_known(leaf, other, now=now) for other in others):
            raise UntrustedError("wrong_carrier", "the certificate belongs to another carrier") from None
        raise


def _is_known(leaf: Leaf, trust: CarrierTrust, *, now: int) -> bool:
    if _pin_of(leaf, trust, now=now):
        return True
    try:
        trust.material.verify(leaf, now=now)
    except UntrustedError:
        return False
    return True


def _pin_of(leaf: Leaf, trust: CarrierTrust, *, now: int) -> Pin | None:
    """The pin that means this certificate; one by SHA-256 before the others, because it admits more."""
    found = [pin for pin in trust.pins if matches(pin, leaf, now=now)]
    return next((pin for pin in found if isinstance(pin, FingerprintPin)), found[0] if found else None)


def _until(trust: CarrierTrust, *, not_after: int, now: int) -> int:
    """A verdict may be remembered until something it rests on ends; notAfter itself still belongs to the validity."""
    ends = [now + CACHE_SECONDS, not_after + 1]
    ends += [crl.next_update for crl in trust.material.crls if crl.next_update > now]
    # Any pin's end may change whom the certificate speaks for.
    ends += [one.until for one in trust.pins if isinstance(one, FingerprintPin) and one.until and one.until > now]
    return min(ends)


def _peer(leaf: Leaf, carrier: str, *, is_pinned: bool, is_verified: bool) -> Peer:
    return Peer(
        carrier=carrier,
        subject=leaf.subject,
        issuer=leaf.issuer,
        serial=leaf.serial,
        sha256=leaf.sha256,
        not_after=leaf.not_after,
        is_pinned=is_pinned,
        is_chain_verified=is_verified,
    )
