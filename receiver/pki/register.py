"""What an authority has revoked, and the number of its last CRL: one small JSON file, replaced as a whole."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from receiver.errors import CertificateError
from receiver.pki import files
from receiver.pki.build import Revoked

_FILE: Final = "register.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """`crl_number` is that of the last CRL that was begun; RFC 5280, 5.2.3 wants it to grow always."""

    crl_number: int = 0
    revoked: tuple[Revoked, ...] = ()

    def find(self, serial: int) -> Revoked | None:
        """The revocation of a serial, if it is revoked."""
        return next((one for one in self.revoked if one.serial == serial), None)


def read(directory: Path) -> Register:
    """Read an authority's register.

    Raises:
        CertificateError: it is missing or damaged. It is never made anew: a lost one would un-revoke.
    """
    path = directory / _FILE
    try:
        content = json.loads(path.read_bytes())
        return Register(
            crl_number=int(content["crl_number"]), revoked=tuple(_revoked(row) for row in content["revoked"])
        )
    except OSError as exc:
        raise CertificateError(
            f"{path}: the register cannot be read: {exc.strerror}; restore it from a backup"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise CertificateError(f"{path}: the register is damaged; restore it from a backup") from None


def write(directory: Path, register: Register) -> None:
    """Replace an authority's register.

    Raises:
        CertificateError: it cannot be written; the old one stays.
    """
    rows = [asdict(one) | {"serial": f"{one.serial:X}"} for one in register.revoked]
    content = json.dumps({"crl_number": register.crl_number, "revoked": rows}, indent=2)
    files.replace(directory / _FILE, content.encode() + b"\n", mode=files.KEY_MODE)


def _revoked(row: dict[str, Any]) -> Revoked:
    return Revoked(serial=int(row["serial"], 16), at=int(row["at"]), reason=str(row["reason"]))
