"""`receiver certs install-server`: a certificate made elsewhere, checked and put where nginx takes it from."""

import json
import shlex
import time
from dataclasses import replace
from pathlib import Path

import click
from cryptography import x509

from receiver import nginx_files
from receiver.cli.certs_place import FILE, Place, content, placed
from receiver.cli.certs_reload import take_up
from receiver.config import Settings
from receiver.errors import CertificateError, ReceiverError, UsageError
from receiver.home import Home
from receiver.logs import printable
from receiver.pki import authority, findings, server_chain, server_place
from receiver.pki.build import is_development
from receiver.pki.findings import Finding, Level, Margins
from receiver.pki.profiles import Purpose
from receiver.pki.server_chain import ServerChain
from receiver.trust import pem
from receiver.trust.certificate import quietly


@click.command(
    "install-server",
    short_help="put a server certificate to where nginx takes it",
    epilog="Example: receiver certs install-server fullchain.pem privkey.pem --reload",
)
@click.argument("fullchain", type=FILE)
@click.argument("key", type=FILE)
@click.option("--root", type=FILE, help="A root of your own, under which the certificate stands.")
@click.option("--reload", "is_reload", is_flag=True, help="Have nginx take it up, or keep what was there.")
@placed
def install_server(  # noqa: PLR0913 -- one argument for each option
    *, fullchain: Path, key: Path, root: Path | None, is_reload: bool, home: Path, pki: Path | None, is_json: bool
) -> None:
    """Check a server certificate of a public CA with its key, and put both where the production site takes them from.

    FULLCHAIN holds the certificate and what stands between it and the CA's root. Every pair ever installed stays.
    """
    place = Place.of(home, None)
    settings = place.settings()
    if place.home is None or settings is None or not settings.is_production:
        raise UsageError(f"{home}: not a production home; a development home makes its server certificate itself")
    with quietly():
        roots = _roots(Place(pki=pki or place.pki, home=None), root)
        chain = _good_chain(fullchain, key, roots=roots, domain=settings.server.domain)
    if root:
        chain = replace(chain, root=content(root))
    paths = nginx_files.production_paths(place.home)
    previous = server_place.install(
        chain, certificate=paths.server_certificate, key=paths.server_key, now=int(time.time())
    )
    if is_reload:
        _take_up(place.home, settings, previous=previous)
    _show(chain, place.home, is_reload=is_reload, is_json=is_json)


def check_installed(home: Home, settings: Settings, *, now: int, margins: Margins) -> list[Finding]:
    """Is what nginx presents in a production home what clients accept?"""
    paths = nginx_files.production_paths(home)
    about, step = f"server certificate {paths.server_certificate}", "receiver certs install-server FULLCHAIN KEY"
    if not (paths.server_certificate.exists() and paths.server_key.exists()):
        return [Finding(level=Level.CRITICAL, about=about, text="it or its key is missing", step=step)]
    try:
        roots = _roots(Place(pki=home.pki, home=None), server_place.own_root(paths.server_certificate))
        chain = server_chain.read(paths.server_certificate.read_bytes(), paths.server_key.read_bytes(), roots=roots)
    except OSError as exc:
        return [Finding(level=Level.UNKNOWN, about=about, text=f"{exc.filename}: cannot be read: {exc.strerror}")]
    except CertificateError as exc:
        return [findings.of_error(about, exc, step=step)]
    found = [
        Finding(level=Level.CRITICAL, about=about, text=problem, step=step)
        for problem in server_chain.problems(chain, domain=settings.server.domain, now=now)
    ]
    mode = findings.of_mode(paths.server_key)
    dates = findings.of_validity(
        about, start=chain.not_before, end=chain.not_after, now=now, margins=margins, step=step
    )
    return [*found, *([mode] if mode else []), dates]


def _good_chain(fullchain: Path, key: Path, *, roots: list[x509.Certificate], domain: str) -> ServerChain:
    try:
        chain = server_chain.read(content(fullchain), content(key), roots=roots)
    except CertificateError as exc:
        raise CertificateError(f"{fullchain}, {key}: {exc}") from None
    found = server_chain.problems(chain, domain=domain, now=int(time.time()))
    if any(is_development(one) for one in chain.certificates):
        found.append("it is of a development PKI")
    if found:
        raise CertificateError(f"{fullchain}: not installed: {'; '.join(found)}")
    return chain


def _roots(place: Place, root: Path | None) -> list[x509.Certificate]:
    ours = [one.certificate for one in authority.find(place.pki, Purpose.SERVER)]
    return [*server_chain.system_roots(), *ours, *(pem.certificates(content(root)) if root else ())]


def _take_up(home: Home, settings: Settings, *, previous: str | None) -> None:
    try:
        take_up(home, settings)
    except ReceiverError as exc:
        if previous is None:
            raise
        server_place.switch(nginx_files.production_paths(home).server_certificate, previous)
        raise CertificateError(f"{exc}; the server certificate from before is in its place again") from None


def _show(chain: ServerChain, home: Home, *, is_reload: bool, is_json: bool) -> None:
    paths = nginx_files.production_paths(home)
    hook = (
        f"receiver certs install-server --home {shlex.quote(str(home.root))} --reload "
        '"$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem"'
    )
    if is_json:
        facts = {"names": chain.names, "not_after": findings.instant(chain.not_after), "hook": hook}
        files = {"certificate": str(paths.server_certificate), "key": str(paths.server_key), "reloaded": is_reload}
        click.echo(json.dumps(facts | files))
        return
    click.echo(printable(f"{paths.server_certificate}: for {', '.join(chain.names)}"))
    click.echo(
        f"{len(chain.certificates)} certificates are presented; the first ends at {findings.instant(chain.not_after)}"
    )
    click.echo("nginx has taken it up" if is_reload else "Next: receiver certs reload")
    click.echo(f"For the renewal (certbot: --deploy-hook): {hook}")
