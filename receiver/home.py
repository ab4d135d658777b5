"""Where everything of a home lies. Paths only; nothing here opens a file."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """One directory with all state of one receiver, mode 0700. Sockets lie elsewhere: see `run_file`."""

    root: Path

    @property
    def settings(self) -> Path:
        """The one settings file."""
        return self.root / "receiver.toml"

    @property
    def pki(self) -> Path:
        """Our own certificate authorities and what they issued."""
        return self.root / "pki"

    @property
    def trust(self) -> Path:
        """Per carrier: `CARRIER/anchors/*.pem`, `CARRIER/intermediates/*.pem`, `CARRIER/crls/*.pem`."""
        return self.root / "trust"

    @property
    def nginx(self) -> Path:
        """Rendered nginx configuration and the files it reads."""
        return self.root / "nginx"

    @property
    def edge_key(self) -> Path:
        """The key nginx adds to every request, 64 hexadecimal digits; readable by nginx's master and the receiver."""
        return self.nginx / "edge.key"

    @property
    def callee_key(self) -> Path:
        """The key of the callee hash, 32 bytes; whoever loses it can no longer look up erased callees."""
        return self.root / "secrets" / "callee.key"

    @property
    def log(self) -> Path:
        """Log files of a development home."""
        return self.root / "log"

    @property
    def lock(self) -> Path:
        """Held by `receiver run` while it runs this home."""
        return self.root / "lock"

    @property
    def run_file(self) -> Path:
        """Holds the name of the directory in which the sockets lie, while something runs."""
        return self.root / "run"

    @property
    def ready(self) -> Path:
        """Written when the development home answers; addresses and credentials for a first callback."""
        return self.root / "ready.json"

    @property
    def read_token(self) -> Path:
        """The operations token (role `read`) of a development home."""
        return self.root / "secrets" / "read.token"
