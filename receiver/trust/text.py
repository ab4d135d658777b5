"""Foreign text made safe to show: names in certificates are written by others."""

from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from receiver.logs import printable as escaped

_LIMIT: Final = 200


def printable(text: str, *, limit: int = _LIMIT) -> str:
    """Foreign text for a message: escaped, and cut after `limit` characters."""
    return escaped(text if len(text) <= limit else text[: limit - 1] + "…")


def name_text(name: x509.Name) -> str:
    """A distinguished name (RFC 4514) for a message."""
    return f'"{printable(name.rfc4514_string())}"'


def instant_text(at: int) -> str:
    """Unix seconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
