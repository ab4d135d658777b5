"""Path validation for a client certificate (RFC 5280, section 6) by the library. Knows no CRL, no pin, no carrier."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from receiver.errors import UntrustedError
from receiver.trust.certificate import READING_ERRORS, Leaf
from receiver.trust.explain import explain
from receiver.trust.profiles import CA_POLICIES, LEAF_POLICIES, Strictness
from receiver.trust.rollover import chain_across, rollovers
from receiver.trust.text import instant_text

MAX_INTERMEDIATES: Final = 8
"""Intermediate certificates between leaf and anchor; nginx gets the same as `ssl_verify_depth`."""

_MIN_RSA_BITS: Final = 2048
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_ACCEPTED_KEYS: Final = f"RSA of at least {_MIN_RSA_BITS} bits, ECDSA on P-256, P-384 or P-521, or Ed25519"


class Roots:
    """The anchors and intermediates of one carrier, ready to verify with."""

    def __init__(
        self, anchors: Sequence[x509.Certificate], intermediates: Sequence[x509.Certificate], *, strictness: Strictness
    ) -> None:
        self.anchors = tuple(anchors)
        self.intermediates = tuple(intermediates)
        self._pool = list(intermediates)
        self._store = Store(list(anchors)) if anchors else None
        self._rollovers = rollovers(intermediates)
        builder = PolicyBuilder().max_chain_depth(MAX_INTERMEDIATES)
        ca_policy = CA_POLICIES[strictness]
        self._for_leaf = builder.extension_policies(ca_policy=ca_policy, ee_policy=LEAF_POLICIES[strictness])
        self._for_authority = builder.extension_policies(ca_policy=ca_policy, ee_policy=ExtensionPolicy.permit_all())

    def chain(self, leaf: Leaf, *, now: int) -> tuple[x509.Certificate, ...]:
        """Build and verify the chain, leaf first, anchor last.

        Raises:
            UntrustedError: why there is none, with a short code and one readable sentence.
        """
        refuse_outside_validity(leaf, now=now)
        if leaf.serial_number <= 0:  # RFC 5280, 4.1.2.2
            raise UntrustedError("bad_certificate", "the certificate's serial number is not positive")
        if self._store is None:
            raise UntrustedError("untrusted", "no trust anchor is configured")
        try:
            chain = self._verify(leaf.certificate, self._store, builder=self._for_leaf, now=now)
        except (VerificationError, *READING_ERRORS) as exc:
            across = self._chain_across(leaf, now=now) if self._rollovers else None
            if across is None:
                raise explain(exc, leaf, (*self.anchors, *self.intermediates), now=now) from None
            chain = across
        _refuse_weak_key(leaf)
        return chain

    def _verify(
        self, certificate: x509.Certificate, store: Store, *, builder: PolicyBuilder, now: int
    ) -> tuple[x509.Certificate, ...]:
        # A verifier holds the time it was built at, so each verification gets its own (1 us).
        verifier = builder.store(store).time(datetime.fromtimestamp(now, UTC)).build_client_verifier()
        return tuple(verifier.verify(certificate, self._pool).chain)

    def _chain_across(self, leaf: Leaf, *, now: int) -> tuple[x509.Certificate, ...] | None:
        return chain_across(
            leaf.certificate,
            self.anchors,
            self._rollovers,
            verify_leaf=partial(self._verify, builder=self._for_leaf, now=now),
            # Its conformance as a CA is checked where it stands above others.
            verify_authority=partial(self._verify, builder=self._for_authority, now=now),
            most_intermediates=MAX_INTERMEDIATES,
        )


def refuse_outside_validity(leaf: Leaf, *, now: int) -> None:
    """RFC 5280, 4.1.2.5: both ends of the validity period belong to it.

    Raises:
        UntrustedError: `expired` or `not_yet_valid`.
    """
    if now > leaf.not_after:
        raise UntrustedError("expired", f"the certificate expired at {instant_text(leaf.not_after)}")
    if now < leaf.not_before:
        raise UntrustedError("not_yet_valid", f"the certificate is valid only from {instant_text(leaf.not_before)}")


def _refuse_weak_key(leaf: Leaf) -> None:
    # The library judges the keys of issuers only.
    try:
        key = leaf.certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise UntrustedError("weak_key", f"the certificate's key is not {_ACCEPTED_KEYS}") from None
    match key:
        case rsa.RSAPublicKey():
            is_strong = key.key_size >= _MIN_RSA_BITS
            kind = f"RSA with {key.key_size} bits"
        case ec.EllipticCurvePublicKey():
            is_strong = isinstance(key.curve, _CURVES)
            kind = f"on the curve {key.curve.name}"
        case _:
            is_strong = isinstance(key, ed25519.Ed25519PublicKey)
            kind = f"of the kind {type(key).__name__.removesuffix('PublicKey')}"
    if not is_strong:
        raise UntrustedError("weak_key", f"the certificate's key is {kind}, not {_ACCEPTED_KEYS}")
