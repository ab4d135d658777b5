"""Who may speak for a carrier: from the certificate nginx forwards to a peer, or a refusal with a reason."""

from receiver.trust.header import Forwarded
from receiver.trust.material import Material
from receiver.trust.pins import (
    ACCEPT_UNPINNED,
    Block,
    FingerprintBlock,
    FingerprintPin,
    NamePin,
    Pin,
    SanPin,
    SerialBlock,
    block_from,
    block_row,
    pin_from,
    pin_of,
    pin_row,
)
from receiver.trust.policy import CarrierTrust, Verifier
from receiver.trust.profiles import Strictness

__all__ = [
    "ACCEPT_UNPINNED",
    "Block",
    "CarrierTrust",
    "FingerprintBlock",
    "FingerprintPin",
    "Forwarded",
    "Material",
    "NamePin",
    "Pin",
    "SanPin",
    "SerialBlock",
    "Strictness",
    "Verifier",
    "block_from",
    "block_row",
    "pin_from",
    "pin_of",
    "pin_row",
]
