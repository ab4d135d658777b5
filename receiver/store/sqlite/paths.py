"""Where the files of an embedded store lie. Makes the directory, opens no file."""

from dataclasses import dataclass
from pathlib import Path

from receiver.errors import StoreError


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """One directory, mode 0700."""

    directory: Path

    @property
    def journal(self) -> Path:
        """The journal and the state; written by whoever holds `lock`."""
        return self.directory / "journal.db"

    @property
    def derived(self) -> Path:
        """Calls and roll-ups, which can be computed again; written by whoever holds `projector_lock`."""
        return self.directory / "derived.db"

    @property
    def rebuilt(self) -> Path:
        """What takes the place of `derived` once it is complete."""
        return self.directory / "derived.db.new"

    @property
    def lock(self) -> Path:
        """Held by the process that serves the store, or by a command that writes to it."""
        return self.directory / "store.lock"

    @property
    def projector_lock(self) -> Path:
        """Held by the projector, which may outlive a killed server for a moment."""
        return self.directory / "projector.lock"

    def make(self) -> None:
        """Make the directory.

        Raises:
            StoreError: it cannot be made.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreError(f"{self.directory}: {exc.strerror}") from exc

    def require(self) -> None:
        """See that there is a store.

        Raises:
            StoreError: there is none.
        """
        if not self.journal.exists():
            raise StoreError(f"{self.directory}: no store here yet; it is made when the receiver first serves")
