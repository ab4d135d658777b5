"""Where simulated callbacks may go: a development home on this machine, and nowhere else."""

import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from receiver import config
from receiver.errors import UsageError
from receiver.home import Home

_KEYS: Final = ("callbacks_url", "ops_url", "token_file", "server_ca", "client_cert", "client_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running development home, as its `ready.json` says. `callbacks_url` has no application at its end."""

    carrier: str
    callbacks_url: str
    ops_url: str
    token: str
    server_ca: Path
    client_cert: Path
    client_key: Path

    def app_url(self, app: str) -> str:
        """The callback address of one application."""
        return f"{self.callbacks_url}/{app}"

    def tls(self) -> ssl.SSLContext:
        """A context that proves the carrier and trusts only the home's own server CA.

        Raises:
            UsageError: the certificate files cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.server_ca)
            context.load_cert_chain(self.client_cert, self.client_key)
        except OSError as exc:
            raise UsageError(
                f"{self.client_cert}, {self.client_key}, {self.server_ca}: cannot be used: {exc}"
            ) from None
        return context


def read(ready: Path, *, carrier: str) -> Target:
    """The home that wrote this `ready.json`.

    Raises:
        UsageError: nothing runs there, the home is a production home, or an address is not on this machine.
    """
    _refuse_production(ready.parent)
    content = _content(ready)
    base = content["callbacks_url"].rsplit("/", 2)[0]
    for url in (base, content["ops_url"]):
        _refuse_other_machines(url)
    return Target(
        carrier=carrier,
        callbacks_url=f"{base}/{carrier}",
        ops_url=content["ops_url"],
        token=_text(Path(content["token_file"])).strip(),
        server_ca=Path(content["server_ca"]),
        client_cert=Path(content["client_cert"]),
        client_key=Path(content["client_key"]),
    )


def _refuse_production(home: Path) -> None:
    settings_file = Home(home).settings
    if settings_file.exists() and config.load(home).is_production:
        raise UsageError(f"{home} is a production home; simulated callbacks go to development homes only")


def _content(ready: Path) -> dict[str, Any]:
    if not ready.exists():
        raise UsageError(f"{ready}: no such file; start the development home first: scripts/run --home {ready.parent}")
    try:
        content = json.loads(_text(ready))
    except ValueError as exc:
        raise UsageError(f"{ready}: not JSON: {exc}") from None
    missing = [key for key in _KEYS if not isinstance(content, dict) or not isinstance(content.get(key), str)]
    if missing:
        raise UsageError(f"{ready}: not written by a development home: {', '.join(missing)} missing")
    return dict(content)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: cannot be read: {exc}") from None


def _refuse_other_machines(url: str) -> None:
    if not config.is_loopback(urlsplit(url).hostname or ""):
        raise UsageError(f"{url} is not on this machine; simulated callbacks go to loopback addresses only")
