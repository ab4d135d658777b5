"""`receiver certs check`: one line per finding. Exit 0 all well, 1 warning, 2 critical, 3 could not check."""

import json
import re
import sys
import time
from pathlib import Path
from typing import Final

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.cli.certs_place import Place, placed
from receiver.cli.certs_server import check_installed
from receiver.errors import CertificateError, ReceiverError
from receiver.logs import printable
from receiver.pki import check_authorities, check_trust, findings
from receiver.pki.authority import Authority, find
from receiver.pki.findings import Finding, Level, Margins
from receiver.pki.profiles import Purpose
from receiver.trust.certificate import quietly

_STATUS: Final = {Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2, Level.UNKNOWN: 3}
_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Span(click.ParamType[int]):
    """A span of time such as 30d or 12h, in seconds."""

    name = "SPAN"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _SPAN.fullmatch(str(value))
        if not found:
            self.fail(f"{value!r} is not a span of time such as 30d or 12h", param, ctx)
        return int(found[1]) * _SECONDS[found[2]]


class _Check(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A monitor must not take wrong usage, which is usually 2, for a critical finding."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as exc:
            exc.exit_code = _STATUS[Level.UNKNOWN]  # type: ignore[misc]  # click reads it from the instance
            raise


@click.command(
    "check",
    cls=_Check,
    short_help="is all in order that certificates rest on?",
    epilog="Example: receiver certs check --warn 30d --crit 7d --json",
)
@click.option("--warn", type=_Span(), default="30d", show_default=True, help="Certificates that end sooner: warning.")
@click.option("--crit", type=_Span(), default="7d", show_default=True, help="Certificates that end sooner: critical.")
@placed
def check(*, warn: int, crit: int, home: Path, pki: Path | None, is_json: bool) -> None:
    """Check CAs, certificates, CRLs, keys, trust files, nginx's bundle, modes and the clock.

    Exits with 0 when all is well, 1 for a warning, 2 for something critical, 3 when it could not check. A CRL is a
    warning under a quarter of its life, and critical under a tenth.
    """
    place, now = Place.of(home, pki), int(time.time())
    try:
        with quietly():
            found = findings.sorted_by_level(_findings(place, now=now, margins=Margins(warn=warn, critical=crit)))
    except (ReceiverError, OSError) as exc:
        found = [Finding(level=Level.UNKNOWN, about=str(place.home.root if place.home else place.pki), text=str(exc))]
    level = findings.worst(found)
    _show(found, level, is_json=is_json)
    sys.exit(_STATUS[level])


def _findings(place: Place, *, now: int, margins: Margins) -> list[Finding]:
    found = check_authorities.check(place.pki, now=now, margins=margins)
    settings = place.settings()
    if place.home and settings:
        expected = check_trust.Expected(
            strictness={name: carrier.strictness for name, carrier in settings.carriers.items()},
            ours=tuple(_client_authorities(place.pki)),
            is_production=settings.is_production,
            nginx_crl=settings.nginx.crl,
        )
        found += check_trust.check(place.home.trust, expected, now=now, margins=margins)
        found.append(check_trust.check_bundle(place.home.trust, place.home.nginx, is_production=settings.is_production))
        found += [one for path in (place.home.root, place.home.edge_key) if (one := _mode(path))]
        if settings.is_production:
            found += check_installed(place.home, settings, now=now, margins=margins)
    elif not found:
        raise CertificateError("nothing to check: neither a home nor a PKI")
    return [*found, check_authorities.clock(place.pki, now=now)]


def _mode(path: Path) -> Finding | None:
    return findings.of_mode(path) if path.exists() else None


def _client_authorities(pki: Path) -> list[Authority]:
    try:
        return find(pki, Purpose.CLIENT)
    except CertificateError:
        # Found and said by the check of our own PKI.
        return []


def _show(found: list[Finding], level: Level, *, is_json: bool) -> None:
    if is_json:
        rows = [{"level": one.level, "about": one.about, "text": one.text, "step": one.step} for one in found]
        click.echo(json.dumps({"status": level, "findings": rows}))
        return
    table = Table("level", "what", "finding", "next step", box=box.SIMPLE_HEAD)
    for one in found:
        table.add_row(one.level, *(Text(printable(cell), overflow="fold") for cell in (one.about, one.text, one.step)))
    # One line for each finding, also where there is no terminal to fit it to.
    console = Console() if sys.stdout.isatty() else Console(width=400)
    console.print(table)
    click.echo(f"{level}: {len(found)} findings")
