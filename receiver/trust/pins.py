"""Pins and blocks: which certificates speak for a carrier, and which never do. Compares names as DER, never as text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from cryptography import x509

from receiver.errors import UsageError
from receiver.trust.certificate import READING_ERRORS, Leaf, serial_text
from receiver.trust.text import printable

Row: TypeAlias = Mapping[str, str | int | None]
"""A pin or block as plain columns, as the store keeps it; None and "" both mean that a column is absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamePin:
    """Chain-valid certificates of exactly this issuer and subject. Both names are DER."""

    issuer: bytes
    subject: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SanPin:
    """Chain-valid certificates with this subject alternative name, written `dns:NAME`, `uri:`, `email:` or `ip:`."""

    san: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintPin:
    """Exactly one certificate, up to `until` (Unix seconds; None: as long as it is valid)."""

    sha256: str
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintBlock:
    """Exactly one certificate."""

    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialBlock:
    """The certificate with this serial (hexadecimal) of this issuer (DER)."""

    issuer: bytes
    serial: str


ACCEPT_UNPINNED: Final = "any"
"""The kind of a row among a carrier's pins that is none: it says that certificates under no pin are not held."""

Pin: TypeAlias = NamePin | SanPin | FingerprintPin
Block: TypeAlias = FingerprintBlock | SerialBlock


def matches(rule: Pin | Block, leaf: Leaf, *, now: int) -> bool:
    """Does a pin or a block mean this certificate at this time?"""
    match rule:
        case NamePin():
            return rule.issuer == leaf.issuer_der and rule.subject == leaf.subject_der
        case SanPin():
            return rule.san in sans(leaf.certificate)
        case FingerprintPin():
            return rule.sha256 == leaf.sha256 and (rule.until is None or now < rule.until)
        case FingerprintBlock():
            return rule.sha256 == leaf.sha256
        case SerialBlock():
            return rule.issuer == leaf.issuer_der and rule.serial == leaf.serial


def sans(certificate: x509.Certificate) -> frozenset[str]:
    """The subject alternative names that can be pinned, in the form of `SanPin`; DNS names in lower case."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *READING_ERRORS):
        return frozenset()
    return frozenset(text for name in names if (text := _san_text(name)))


def _san_text(name: x509.GeneralName) -> str | None:
    match name:
        case x509.DNSName():
            return f"dns:{name.value.lower()}"
        case x509.UniformResourceIdentifier():
            return f"uri:{name.value}"
        case x509.RFC822Name():
            return f"email:{name.value}"
        case x509.IPAddress():
            return f"ip:{name.value}"
        case _:  # the other kinds have no common text form
            return None


def pin_of(leaf: Leaf, *, kind: str = "name", san: str | None = None, until: int | None = None) -> Pin:
    """The pin of this kind (`name`, `san`, `sha256`) that means a certificate at hand.

    Raises:
        UsageError: the certificate has no such name, or the kind is unknown.
    """
    match kind:
        case "name":
            return NamePin(issuer=leaf.issuer_der, subject=leaf.subject_der)
        case "sha256":
            return FingerprintPin(sha256=leaf.sha256, until=until)
        case "san":
            return _san_pin(leaf, san)
        case _:
            raise UsageError(f"a pin is one of name, san, sha256, not {kind}")


def _san_pin(leaf: Leaf, san: str | None) -> SanPin:
    names = sans(leaf.certificate)
    if san not in names or san is None:
        known = ", ".join(printable(name) for name in sorted(names)) or "none"
        raise UsageError(f"the certificate has no subject alternative name {san}; it has: {known}")
    return SanPin(san=san)


def pin_row(pin: Pin) -> dict[str, str | int | None]:
    """A pin as columns: `kind`, and those of `issuer`, `subject`, `san`, `sha256`, `until` that it has."""
    match pin:
        case NamePin():
            return {"kind": "name", "issuer": _name_column(pin.issuer), "subject": _name_column(pin.subject)}
        case SanPin():
            return {"kind": "san", "san": pin.san}
        case FingerprintPin():
            return {"kind": "sha256", "sha256": pin.sha256, "until": pin.until}


def block_row(block: Block) -> dict[str, str | int | None]:
    """A block as columns: `kind`, and `sha256`, or `issuer` and `serial`."""
    match block:
        case FingerprintBlock():
            return {"kind": "sha256", "sha256": block.sha256}
        case SerialBlock():
            return {"kind": "serial", "issuer": _name_column(block.issuer), "serial": block.serial}


def pin_from(row: Row) -> Pin:
    """A pin from its columns.

    Raises:
        UsageError: the columns make no pin.
    """
    match _given(row):
        case {"kind": "name", "issuer": str(issuer), "subject": str(subject)}:
            return NamePin(issuer=_name_der(issuer), subject=_name_der(subject))
        case {"kind": "san", "san": str(san)}:
            return SanPin(san=san)
        case {"kind": "sha256", "sha256": str(sha256), "until": int(until)}:
            return FingerprintPin(sha256=sha256.lower(), until=until)
        case {"kind": "sha256", "sha256": str(sha256)}:
            return FingerprintPin(sha256=sha256.lower())
        case _:
            raise UsageError(f"not a pin: kind {row.get('kind')!r} with its columns incomplete")


def block_from(row: Row) -> Block:
    """A block from its columns.

    Raises:
        UsageError: the columns make no block.
    """
    match _given(row):
        case {"issuer": str(issuer), "serial": str(serial)}:
            return SerialBlock(issuer=_name_der(issuer), serial=_serial(serial))
        case {"sha256": str(sha256)}:
            return FingerprintBlock(sha256=sha256.lower())
        case _:
            raise UsageError("not a block: it needs sha256, or issuer and serial")


def _given(row: Row) -> Row:
    return {column: value for column, value in row.items() if value not in {None, ""}}


def _serial(text: str) -> str:
    try:
        return serial_text(int(text, 16))
    except ValueError:
        raise UsageError(f"not a serial number in hexadecimal: {text!r}") from None


# A name is kept as its RFC 4514 text, for people, and its DER, which alone is compared: `CN=a,O=b;der=3019...`.
_DER_MARK: Final = ";der="


def _name_column(der: bytes) -> str:
    return f"{x509.Name.from_bytes(der).rfc4514_string()}{_DER_MARK}{der.hex()}"


def _name_der(column: str) -> bytes:
    try:
        return bytes.fromhex(column.rsplit(_DER_MARK, 1)[1])
    except (IndexError, ValueError):
        raise UsageError("not a pinned name: its DER is missing") from None
