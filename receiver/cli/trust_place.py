"""The home a trust command works on: its carrier's settings, files, pins and blocks. Prints nothing."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from receiver import config, control
from receiver.cli.certs_place import content
from receiver.errors import CertificateError, ReceiverError, UntrustedError, UsageError
from receiver.home import Home
from receiver.pki import carrier_files, public_roots
from receiver.pki.build import is_development
from receiver.pki.carrier_files import Item
from receiver.pki.preflight import is_authority
from receiver.pki.public_roots import PublicRoots
from receiver.trust import ACCEPT_UNPINNED, Pin, Strictness, pem, pin_row
from receiver.trust.certificate import Leaf, quietly, read
from receiver.trust.files import TrustFiles
from receiver.trust.material import Material


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierPlace:
    """One configured carrier of a home."""

    home: Home
    settings: config.Settings
    carrier: str

    @classmethod
    def of(cls, home: Path, carrier: str) -> "CarrierPlace":
        """From the options and arguments every command has.

        Raises:
            UsageError: the settings know no such carrier.
            SettingsError: they cannot be used.
        """
        settings = config.load(home)
        if carrier not in settings.carriers:
            known = ", ".join(sorted(settings.carriers))
            raise UsageError(f"no carrier {carrier!r} in the settings; known: {known}")
        return cls(home=Home(home), settings=settings, carrier=carrier)

    @property
    def strictness(self) -> Strictness:
        """How this carrier's certificates are judged."""
        return Strictness(self.settings.carriers[self.carrier].strictness)

    @property
    def directory(self) -> Path:
        """Where this carrier's trust files lie."""
        return self.home.trust / self.carrier

    def items(self) -> tuple[Item, ...]:
        """Everything installed for the carrier.

        Raises:
            CertificateError: a file cannot be read.
        """
        return carrier_files.installed(self.directory)

    def material(self, *, now: int) -> Material:
        """What the receiver judges the carrier's certificates by.

        Raises:
            CertificateError: the files cannot be taken up as they are.
        """
        files = TrustFiles(self.home.trust, {self.carrier: self.strictness.value})
        files.load(now=now)
        return files.carriers()[self.carrier].material

    def rows(self, command: str) -> list[dict[str, Any]]:
        """The carrier's rows of `pin_list` or `block_list`; a block without a carrier concerns every one."""
        return [row for row in control.call(self.home, command) if row["carrier"] in {self.carrier, None}]

    def pin(self, pin: Pin, *, reason: str, now: int) -> int | None:
        """Add a pin; None when the carrier has it already.

        Raises:
            UsageError: it is another carrier's.
        """
        columns = pin_row(pin)
        named = {name: value for name, value in columns.items() if value is not None}
        for row in control.call(self.home, "pin_list"):
            if row["columns"] == named:
                if row["carrier"] != self.carrier:
                    owner = f"{row['carrier']} (pin {row['id']})"
                    raise UsageError(f"this is pinned for {owner}, and a certificate speaks for one carrier only")
                return None
        return int(
            control.call(self.home, "pin_add", carrier=self.carrier, columns=columns, reason=reason, created_at=now)
        )

    def is_holding(self) -> bool:
        """Are deliveries under no pin held?"""
        return not any(row["columns"]["kind"] == ACCEPT_UNPINNED for row in self.rows("pin_list"))

    def stop_holding(self, *, reason: str, now: int) -> int:
        """Have certificates under no pin count as the carrier's; the number of the row that says so.

        Raises:
            UsageError: it is so already, or a public root is trusted, under which anybody gets a certificate.
        """
        if not self.is_holding():
            raise UsageError(f"holding is off for {self.carrier} already")
        roots = PublicRoots.load(public_roots.SYSTEM_BUNDLE)
        if any(roots.has(item.certificate) for item in self.items() if item.certificate):
            raise UsageError(f"a public root is trusted for {self.carrier}: without pins, anybody could post")
        columns = {"kind": ACCEPT_UNPINNED}
        row = control.call(self.home, "pin_add", carrier=self.carrier, columns=columns, reason=reason, created_at=now)
        return int(row)

    def check_owner(self) -> None:
        """Files made by somebody else would be out of the receiver's reach.

        Raises:
            UsageError: the home is another user's.
        """
        owner = self.home.root.stat().st_uid
        if owner != os.geteuid():
            raise UsageError(f"{self.home.root} belongs to the user {owner}; give this command as that user")

    def record(self, command: str, paths: Sequence[Path]) -> None:
        """Audit a change of trust files, and have a running receiver take it up now.

        Raises:
            ReceiverError: the files are changed, but it could not be recorded.
        """
        names = [str(path.relative_to(self.home.trust)) for path in paths]
        try:
            control.call(self.home, command, carrier=self.carrier, files=names)
        except ReceiverError as exc:
            raise UsageError(f"the trust files are changed, but the audit has no record of it: {exc}") from None

    def leaf(self, path: Path) -> Leaf:
        """The first certificate of a file that shall speak for the carrier.

        Raises:
            ReceiverError: it cannot be read, is a CA's, or is for development only and this is a production home.
        """
        leaf = first_certificate(path)
        if is_authority(leaf.certificate):
            raise UsageError(
                f"{path}: a CA certificate, which no carrier presents; take it up with: receiver trust add"
            )
        if self.settings.is_production and is_development(leaf.certificate):
            raise UsageError(f"{path}: a certificate of a development PKI is not let into a production home")
        return leaf


def first_certificate(path: Path) -> Leaf:
    """The first certificate of a file.

    Raises:
        ReceiverError: it cannot be read.
    """
    der = content(path)
    try:
        with quietly():
            return read(pem.certificate_ders(der)[0])
    except (CertificateError, UntrustedError) as exc:
        raise CertificateError(f"{path}: {exc}") from None


def now() -> int:
    """The clock's time in Unix seconds."""
    return int(time.time())


def instant(text: str | None) -> int | None:
    """An option that is a date or RFC 3339, in Unix seconds; a date is its beginning in UTC.

    Raises:
        UsageError: it is neither, or has passed.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.upper())
    except ValueError:
        raise UsageError(f"--until {text}: must be a date or an instant such as 2027-01-31T00:00:00Z") from None
    seconds = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    if seconds <= now():
        raise UsageError(f"--until {text}: has passed already")
    return seconds
