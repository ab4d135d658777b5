"""`receiver certs reload`: have nginx take up certificates and trust files, then prove it with a real handshake."""

import json
import os
import ssl
import time
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from receiver import nginx_files
from receiver.cli.certs_place import FILE, Place, content, placed
from receiver.config import Settings
from receiver.errors import CertificateError, ReceiverError, UntrustedError, UsageError
from receiver.home import Home
from receiver.logs import printable
from receiver.pki import authority, issuing
from receiver.pki.issuing import Issued
from receiver.pki.profiles import Purpose
from receiver.supervise import nginx_reload
from receiver.supervise.client_probe import Probed, probe_until
from receiver.trust import certificate, pem
from receiver.trust.certificate import quietly
from receiver.trust.files import TrustFiles


def take_up(home: Home, settings: Settings) -> None:
    """Have a running nginx take up what settings and trust files say; it judges them first, and may refuse.

    Raises:
        ReceiverError: nginx refuses them and goes on with the old ones, or nobody answers.
    """
    if settings.is_production:
        paths = nginx_files.production_paths(home)
        # Only root may try ports below 1024; else whoever answers the request tries it first.
        if os.geteuid() == 0:
            nginx_reload.trial(home, settings, certificate=paths.server_certificate, key=paths.server_key)
        nginx_files.write(home, settings, paths, is_whole=False)
    nginx_reload.ask(home)


@click.command(
    "reload",
    short_help="have nginx take it up, and prove it",
    epilog="Example: receiver certs reload --home /var/lib/receiver",
)
@click.option("--cert", type=FILE, help="The client certificate to probe with.  [default: one issued here]")
@click.option("--key", type=FILE, help="Its key.")
@click.option("--root", type=FILE, help="A root of your own, under which the server's certificate stands.")
@placed
def reload(  # noqa: PLR0913 -- one argument for each option
    *, cert: Path | None, key: Path | None, root: Path | None, home: Path, pki: Path | None, is_json: bool
) -> None:
    """Have nginx take up certificates and trust files, then probe it with a real client certificate and with none."""
    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together")
    place = Place.of(home, None)
    settings = place.settings()
    if place.home is None or settings is None:
        raise UsageError(f"{home}: no home with settings; reload is for the host where nginx runs")
    take_up(place.home, settings)
    settings = _as_it_runs(place.home, settings)
    place = Place(pki=pki or place.pki, home=place.home)
    client = (cert, key) if cert and key else _own_client(place, settings)
    with quietly():
        lines = _probed(place, settings, client=client, roots=_roots(place, root))
    if is_json:
        click.echo(json.dumps({"reloaded": True, "probed": client is not None, "lines": lines}))
        return
    for line in ("nginx has taken it up", *lines):
        click.echo(printable(line))


def _as_it_runs(home: Home, settings: Settings) -> Settings:
    """A development home may run on another port than its settings say; `ready.json` knows."""
    try:
        port = urlsplit(json.loads(home.ready.read_text("utf-8"))["callbacks_url"]).port
    except (OSError, ValueError, KeyError):
        return settings
    return settings.model_copy(update={"server": settings.server.model_copy(update={"https_port": port})})


def _probed(place: Place, settings: Settings, *, client: tuple[Path, Path] | None, roots: str) -> list[str]:
    """Both handshakes; each must end as it should."""
    carrier = next(iter(settings.carriers))
    stranger = _ask(settings, HTTPStatus.FORBIDDEN, carrier=carrier, client=None, roots=roots)
    if stranger.status != HTTPStatus.FORBIDDEN:
        raise CertificateError(f"nginx answers {stranger.status} to a client without a certificate; 403 was due")
    ends = x509.load_der_x509_certificate(stranger.server).not_valid_after_utc.strftime("%Y-%m-%d")
    lines = [f"without a certificate: refused with 403; the server's certificate ends on {ends}"]
    if client is None:
        return [*lines, "with a certificate: not probed, no key of a client is here; give one with --cert and --key"]
    found = _ask(settings, HTTPStatus.METHOD_NOT_ALLOWED, carrier=carrier, client=client, roots=roots)
    if found.status != HTTPStatus.METHOD_NOT_ALLOWED:
        raise CertificateError(f"nginx refuses {client[0]} with {found.status} {found.reason}")
    return [*lines, f"with {client[0].name}: nginx lets it in; {_verdict(place, settings, client[0])}"]


def _ask(
    settings: Settings, status: HTTPStatus, *, carrier: str, client: tuple[Path, Path] | None, roots: str
) -> Probed:
    try:
        return probe_until(status, settings.server, roots=roots, carrier=carrier, client=client)
    except ssl.SSLError as exc:
        raise CertificateError(f"the handshake with nginx fails: {exc.reason or exc}") from None
    except (OSError, ValueError) as exc:
        where = f"{settings.server.https_host}:{settings.server.https_port}"
        raise CertificateError(f"nginx does not answer on {where}: {exc}") from None


def _verdict(place: Place, settings: Settings, path: Path) -> str:
    """What the receiver's own trust files say of the same certificate."""
    now = int(time.time())
    strictness = {name: carrier.strictness for name, carrier in settings.carriers.items()}
    files = TrustFiles((place.home or Home(place.pki)).trust, strictness)
    files.load(now=now)
    leaf = certificate.read(pem.certificate_ders(content(path))[0])
    problems = []
    for name, trust in files.carriers().items():
        try:
            trust.material.verify(leaf, now=now)
        except UntrustedError as exc:
            problems.append(f"{name}: {exc}")
        else:
            return f"the receiver verifies it for {name}"
    raise CertificateError(f"nginx lets {path} in, but the receiver refuses it: {'; '.join(problems)}")


def _own_client(place: Place, settings: Settings) -> tuple[Path, Path] | None:
    now = int(time.time())
    found = [one for one in issuing.issued(authority.find(place.pki, Purpose.CLIENT)) if _is_usable(one, now=now)]
    usable = [one for one in found if one.carrier in settings.carriers]
    return (usable[-1].path, usable[-1].key_path) if usable and usable[-1].key_path else None


def _is_usable(one: Issued, *, now: int) -> bool:
    return bool(one.key_path) and not one.revoked and one.not_after >= now


def _roots(place: Place, root: Path | None) -> str:
    """Our own server CAs, and what was given; the public ones are known to the library."""
    try:
        found = [one.certificate for one in authority.find(place.pki, Purpose.SERVER)]
        found += pem.certificates(content(root)) if root else ()
    except ReceiverError as exc:
        raise CertificateError(f"the server's CA cannot be read: {exc}") from None
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)
