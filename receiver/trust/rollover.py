"""Chains across self-issued CA certificates, which a CA makes when it changes its key (RFC 4210, 4.4).

RFC 5280 (4.2.1.9, 6.1.4) does not count them against a path length; the library does. So where it finds no chain, the
part above a self-issued certificate and the part below it are verified one after the other, and what joins them is
checked here. Parts are never joined under name constraints: those must be seen by one verification of the whole.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.x509.verification import Store, VerificationError

from receiver.trust.certificate import READING_ERRORS, has_signed

Chain: TypeAlias = tuple[x509.Certificate, ...]
Verify: TypeAlias = Callable[[x509.Certificate, Store], Sequence[x509.Certificate]]
"""Verify a certificate up to a store; raises VerificationError or another error of the library."""

# More than this is no rollover, and the time for a verdict stays bounded.
_MOST: Final = 8


def rollovers(intermediates: Sequence[x509.Certificate]) -> Chain:
    """The self-issued CA certificates that are signed by another key than their own."""
    found = tuple(one for one in intermediates if is_self_issued(one) and not has_signed(one, one))
    return found if len(found) <= _MOST else ()


def chain_across(  # noqa: PLR0913 -- what is verified, and how
    leaf: x509.Certificate,
    anchors: Chain,
    candidates: Chain,
    *,
    verify_leaf: Verify,
    verify_authority: Verify,
    most_intermediates: int,
) -> Chain | None:
    """A chain that holds for the whole though the library counts otherwise; None when there is none."""
    above: dict[x509.Certificate, Chain] = {}
    for _ in candidates:
        found = {
            one: chain
            for one in candidates
            if one not in above and (chain := _joined(one, anchors, above, verify=verify_authority))
        }
        if not found:
            break
        above |= found
    chain = _joined(leaf, anchors, above, verify=verify_leaf) if above else None
    is_whole = chain and len(chain) - 2 <= most_intermediates and _obeys_path_lengths(chain)
    return chain if is_whole else None


def is_self_issued(certificate: x509.Certificate) -> bool:
    """RFC 5280, 6.1: the same name as subject and issuer."""
    return certificate.subject == certificate.issuer


def _joined(
    certificate: x509.Certificate, anchors: Chain, above: dict[x509.Certificate, Chain], *, verify: Verify
) -> Chain | None:
    try:
        lower = tuple(verify(certificate, Store([*anchors, *above])))
    except (VerificationError, *READING_ERRORS):
        return None
    upper = above.get(lower[-1], ())[1:]
    return None if any(_has_name_constraints(one) for one in upper) else (*lower, *upper)


def _has_name_constraints(certificate: x509.Certificate) -> bool:
    return any(extension.oid == x509.OID_NAME_CONSTRAINTS for extension in certificate.extensions)


def _obeys_path_lengths(chain: Chain) -> bool:
    below = 0
    for authority in chain[1:]:
        length = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if length is not None and below > length:
            return False
        below += not is_self_issued(authority)
    return True
