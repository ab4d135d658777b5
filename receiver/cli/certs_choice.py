"""Which of the issued certificates a person means: by serial, SHA-256, file or carrier."""

from pathlib import Path
from typing import Final

from receiver.errors import UsageError
from receiver.pki import authority
from receiver.pki.issuing import Issued

_SERIAL_DIGITS: Final = 8


def choose(everything: list[Issued], which: str, *, now: int) -> Issued:
    """The one certificate that is meant; a carrier means its only valid one.

    Raises:
        UsageError: none or several are meant.
    """
    found = named(everything, which)
    if not found:
        found = [one for one in everything if one.carrier == which and is_valid(one, now=now)]
    if not found:
        raise UsageError(f"{which}: no certificate issued here has this serial, SHA-256, file or carrier")
    if len(found) > 1:
        serials = ", ".join(one.serial for one in found)
        raise UsageError(f"{which} means several certificates; name one by its serial: {serials}")
    return found[0]


def newest(everything: list[Issued], which: str) -> Issued:
    """The one certificate that is meant; a carrier or a host name means its newest that is not revoked.

    Raises:
        UsageError: none or several are meant, or it is revoked.
    """
    found = named(everything, which)
    if len(found) == 1 and found[0].revoked:
        raise UsageError(f"{which}: is revoked; issue another: receiver certs issue-{found[0].authority.purpose}")
    if len(found) > 1:
        raise UsageError(f"{which} means several certificates; name one by its whole serial")
    whose = [one for one in everything if not one.revoked and (which == one.carrier or _is_server(one, which))]
    last = sorted(found or whose, key=_issued_at)
    if not last:
        raise UsageError(f"{which}: no certificate issued here has this serial, SHA-256, file, carrier or host name")
    return last[-1]


def named(everything: list[Issued], which: str) -> list[Issued]:
    """Those with this serial (or its last digits), SHA-256, or the content of this file."""
    found = [one for one in everything if _is_named(one, which.replace(":", "").lower())]
    if not found and Path(which).is_file():
        wanted = authority.load_certificate(Path(which))
        found = [one for one in everything if one.certificate == wanted]
    return found


def is_valid(one: Issued, *, now: int) -> bool:
    """Neither revoked nor expired."""
    return one.revoked is None and now <= one.not_after


def _issued_at(one: Issued) -> tuple[float, int]:
    """Certificates know whole seconds; files know more."""
    return one.certificate.not_valid_before_utc.timestamp(), one.path.stat().st_mtime_ns


def _is_server(one: Issued, which: str) -> bool:
    return one.carrier is None and which in one.names


def _is_named(one: Issued, text: str) -> bool:
    return text == one.sha256 or (len(text) >= _SERIAL_DIGITS and one.serial.endswith(text.lstrip("0")))
