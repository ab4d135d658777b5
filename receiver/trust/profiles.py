"""The two strictness profiles as extension policies. Each relaxes the library's defaults and adds what they leave out.

A rule that is replaced loses its built-in check, so every validator here repeats it.
"""

from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy


class Strictness(StrEnum):
    """`strict` for our own PKI; `tolerant` for a carrier's own CA, named per carrier (contract, section 7)."""

    STRICT = "strict"
    TOLERANT = "tolerant"


# Raised inside the library, which shows them as "... : MESSAGE"; explain.py finds them by this text.
NOT_FOR_SIGNING: Final = "keyUsage without digitalSignature"
SIGNS_CERTIFICATES: Final = "keyUsage with keyCertSign in an end-entity certificate"
_NO_CERT_SIGN: Final = "keyUsage without keyCertSign in a CA certificate"


def _leaf_key_usage(policy: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    """RFC 5280, 4.2.1.3: a TLS client signs the handshake. nginx refuses such a certificate too (error 26)."""
    del policy, certificate
    if usage is None:
        return
    if not usage.digital_signature:
        raise ValueError(NOT_FOR_SIGNING)
    if usage.key_cert_sign:
        raise ValueError(SIGNS_CERTIFICATES)


def _ca_key_usage(policy: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    """RFC 5280, 6.1.4 (n): keyCertSign whenever keyUsage is present."""
    del policy, certificate
    if usage is not None and not usage.key_cert_sign:
        raise ValueError(_NO_CERT_SIGN)


_STRICT_LEAF: Final = ExtensionPolicy.webpki_defaults_ee().may_be_present(
    x509.KeyUsage, Criticality.AGNOSTIC, _leaf_key_usage
)
_TOLERANT_LEAF: Final = (
    _STRICT_LEAF
    # Most tools make certificates with a common name only; some mark the SAN critical beside a subject.
    .may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    # Absent from what simple CAs issue; it only helps to find the issuer.
    .may_be_present(x509.AuthorityKeyIdentifier, Criticality.NON_CRITICAL, None)
)
_TOLERANT_CA: Final = (
    ExtensionPolicy.webpki_defaults_ca()
    # `openssl req -x509` makes roots without keyUsage.
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _ca_key_usage)
    # easy-rsa marks it non-critical. The library checks cA and the path length whatever the policy says.
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
)

LEAF_POLICIES: Final = {Strictness.STRICT: _STRICT_LEAF, Strictness.TOLERANT: _TOLERANT_LEAF}
CA_POLICIES: Final = {Strictness.STRICT: ExtensionPolicy.webpki_defaults_ca(), Strictness.TOLERANT: _TOLERANT_CA}
