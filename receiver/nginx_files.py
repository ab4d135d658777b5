"""Settings and paths to the files nginx reads. Starts nothing, and knows no certificate beyond its PEM block."""

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from receiver.config import Server, Settings
from receiver.errors import SettingsError, UsageError
from receiver.home import Home

MAIN_FILE: Final = "nginx.conf"
SITE_FILE: Final = "site.conf"

_BANNER: Final = "Rendered by `receiver nginx`; changes made here are lost. See nginx/README.md in the source."
_PACKAGE: Final = Path(__file__).parent
_CERTIFICATE: Final = "CERTIFICATE"
_CRL: Final = "X509 CRL"
# nginx has no way to write these inside quotes and mean them: `$` starts a variable even there.
_UNQUOTABLE: Final = re.compile(r'["$\\\x00-\x1f]')
_EDGE_KEY: Final = re.compile(r"[0-9a-f]{64}")
_MOST_CONNECTIONS: Final = 16384
_MOST_CAPTURE_CONNECTIONS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePaths:
    """Where things lie that nginx reads, writes or connects to.

    Attributes:
        conf: the directory of the rendered files.
        run: the directory of the sockets.
    """

    conf: Path
    run: Path
    access_log: Path
    server_certificate: Path
    server_key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """PEM text of every carrier's trust files, together."""

    anchors: str
    intermediates: str
    crls: str


def site(settings: Settings, paths: EdgePaths, bundles: Bundles) -> str:
    """The text at http level: what a development main file includes and a production host puts into sites-enabled.

    Raises:
        SettingsError: a path that nginx's syntax cannot hold.
    """
    return _render(
        "site.conf.j2",
        paths=paths,
        limits=settings.limits,
        listen=_addresses(settings.server),
        server_name=settings.server.domain,
        has_intermediates=bool(bundles.intermediates),
        has_crls=settings.nginx.crl,
    )


def main_file(settings: Settings, paths: EdgePaths, *, user: str | None, open_files: int) -> str:
    """The main file of a development home; `user` is for a master that runs as root, `open_files` what nginx may open.

    Raises:
        SettingsError: as `site`.
    """
    return _render(
        "main.conf.j2",
        paths=paths,
        user=user,
        workers=settings.nginx.workers,
        open_files=open_files,
        connections=min(_MOST_CONNECTIONS, open_files),
    )


def write(  # noqa: PLR0913 -- where to, from what, and for which kind of nginx
    home: Home,
    settings: Settings,
    paths: EdgePaths,
    *,
    is_whole: bool,
    user: str | None = None,
    open_files: int = 4096,
) -> Path:
    """Render everything into `paths.conf`, each file atomically; the answer is the file to start or to link.

    `is_whole` is for an nginx of its own; else it is a site for an nginx that is there.

    Raises:
        SettingsError: as `site`.
        UsageError: something that must be there first is missing.
    """
    bundles = _bundles(home, with_crls=settings.nginx.crl)
    files = {
        "client-cas.pem": bundles.anchors,
        "client-intermediates.pem": bundles.intermediates,
        "client-crls.pem": bundles.crls,
        "edge-key.conf": f'proxy_set_header X-Edge-Key "{_edge_key(home)}";\n',
        "receiver-headers.conf": _render("receiver-headers.conf.j2", paths=paths, server_name=settings.server.domain),
        SITE_FILE: site(settings, paths, bundles),
    }
    if is_whole:
        files[MAIN_FILE] = main_file(settings, paths, user=user, open_files=open_files)
    for name, text in files.items():
        replace_file(paths.conf / name, text)
    return paths.conf / (MAIN_FILE if is_whole else SITE_FILE)


def capture_file(  # noqa: PLR0913 -- each is a blank of the template
    settings: Settings, paths: EdgePaths, *, port: int, edge_key: str, user: str | None, open_files: int
) -> str:
    """The whole file of the nginx that `receiver capture` starts; its upstream is `capture.sock` in `paths.run`.

    Raises:
        SettingsError: as `site`.
    """
    return _render(
        "capture.conf.j2",
        paths=paths,
        limits=settings.limits,
        listen=_addresses(settings.server.model_copy(update={"https_port": port})),
        server_name=settings.server.domain,
        edge_key=edge_key,
        user=user,
        open_files=open_files,
        connections=min(_MOST_CAPTURE_CONNECTIONS, open_files),
    )


def production_paths(home: Home) -> EdgePaths:
    """Where a production host has things: sockets in /run, logs with nginx's own, the rest in the home."""
    return EdgePaths(
        conf=home.nginx,
        run=Path("/run/receiver"),
        access_log=Path("/var/log/nginx/receiver-access.log"),
        server_certificate=home.nginx / "server.pem",
        server_key=home.nginx / "server.key",
    )


def replace_file(path: Path, text: str) -> None:
    """Write a file, mode 0600, so that nobody ever reads half of it, with a strictly newer time in whole seconds.

    nginx from 1.27.4 on tells by inode and second whether a CRL has changed.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            second = max(int(temporary.stat().st_mtime), int(path.stat().st_mtime) + 1)
            os.utime(temporary, (second, second))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _addresses(server: Server) -> list[str]:
    if server.https_host == "*":
        return [str(server.https_port), f"[::]:{server.https_port}"]
    host = f"[{server.https_host}]" if ":" in server.https_host else server.https_host
    return [f"{host}:{server.https_port}"]


def _bundles(home: Home, *, with_crls: bool) -> Bundles:
    bundles = Bundles(
        anchors=_blocks(home.trust, "anchors", _CERTIFICATE),
        intermediates=_blocks(home.trust, "intermediates", _CERTIFICATE),
        crls=_blocks(home.trust, "crls", _CRL),
    )
    if not bundles.anchors:
        raise UsageError(f"{home.trust}: no carrier's CA is installed, so nginx could let nobody in")
    if with_crls and not bundles.crls:
        raise SettingsError(f"nginx.crl = true: there is no CRL under {home.trust}, so nginx could let nobody in")
    return bundles


def _blocks(trust: Path, folder: str, label: str) -> str:
    """Only the PEM blocks of one kind: whatever else lies in those files does not get into nginx's copy."""
    block = re.compile(f"-----BEGIN {label}-----\n.+?\n-----END {label}-----", re.DOTALL)
    found: dict[str, None] = {}
    for path in sorted(trust.glob(f"*/{folder}/*.pem")):
        texts = block.findall(path.read_text("utf-8", "replace").replace("\r\n", "\n"))
        if not texts:
            raise UsageError(f"{path}: holds no {label} in PEM, and nginx reads no other form")
        found |= dict.fromkeys(texts)
    return "".join(f"{text}\n" for text in found)


def _edge_key(home: Home) -> str:
    try:
        key = home.edge_key.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{home.edge_key}: cannot be read: {exc}; receiver init makes it") from None
    if not _EDGE_KEY.fullmatch(key):
        raise UsageError(f"{home.edge_key}: must be 64 hexadecimal digits; remove it and run receiver init")
    return key


def _quoted(path: Path, name: str = "", *, prefix: str = "") -> str:
    text = f"{prefix}{path / name}"
    if found := _UNQUOTABLE.search(text):
        raise SettingsError(f"{path}: nginx cannot use a path with the character {found.group()!r}")
    return f'"{text}"'


def _render(template: str, *, paths: EdgePaths, **values: object) -> str:
    shipped = _PACKAGE / "_shipped" / "nginx"
    environment = Environment(
        loader=FileSystemLoader(shipped if shipped.is_dir() else _PACKAGE.parent / "nginx"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the text is nginx configuration; settings are checked, paths are quoted
    )
    environment.filters["quoted"] = _quoted
    return environment.get_template(template).render(
        banner=_BANNER,
        conf=paths.conf,
        run=paths.run,
        access_log=paths.access_log,
        server_certificate=paths.server_certificate,
        server_key=paths.server_key,
        **values,
    )
