"""`receiver trust`: whose certificates speak for a carrier. CA files in and out; pins and blocks are `trust_rules`."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import orjson

from receiver import config
from receiver.cli import trust_rules, trust_show
from receiver.cli.certs_place import FILE
from receiver.cli.store_terminal import home_option, json_option
from receiver.cli.trust_add import Addition
from receiver.cli.trust_place import CarrierPlace, now
from receiver.errors import CertificateError, UsageError
from receiver.home import Home
from receiver.pki import carrier_files, files
from receiver.pki.carrier_files import Item, sha256_of
from receiver.trust import pem
from receiver.trust.files import TrustFiles


@click.group(epilog="Example: receiver trust add tencent TencentQQAuthCA.crt")
def command() -> None:
    """Say whose certificates speak for a carrier: CA files, CRLs, pins, blocks."""


@command.command(epilog="Example: receiver trust add tencent TencentQQAuthCA.crt --dry-run")
@click.argument("carrier")
@click.argument("file", type=FILE)
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say what it would mean.")
@click.option("--pin", "pin_file", type=FILE, help="Pin this certificate, by issuer and subject, first.")
@click.option("--pin-san", metavar="dns:NAME", help="Pin this subject alternative name first.")
@click.option("--accept-unpinned", metavar="REASON", help="Accept whatever comes under the carrier's CAs.")
@click.option("--anyway", is_flag=True, help="Install even a CA under which nobody will be accepted.")
@json_option
@home_option
def add(  # noqa: PLR0913 -- one argument for each option
    *,
    home: Path,
    carrier: str,
    file: Path,
    is_dry: bool,
    pin_file: Path | None,
    pin_san: str | None,
    accept_unpinned: str | None,
    anyway: bool,
    is_json: bool,
) -> None:
    """Look at a carrier's CA certificates and CRLs, say what they would mean, and install them.

    Roots, intermediates and CRLs are told apart by their content, PEM or DER. Several CAs may be installed at once, so
    that a rotation overlaps. nginx takes them up with: receiver nginx
    """
    place = CarrierPlace.of(home, carrier)
    place.check_owner()
    if accept_unpinned is not None and not accept_unpinned.strip():
        raise UsageError("--accept-unpinned: give the reason; it is shown wherever trust is")
    with files.locked(place.home.trust):
        addition = Addition.of(place, file, pin_file=pin_file, pin_san=pin_san, now=now())
        problem = addition.problem(anyway=anyway, accept_unpinned=accept_unpinned)
        done = problem is None and not is_dry
        if done:
            addition.carry_out(accept_unpinned)
        # Within the lock still: telling asks the store, which takes one command at a time.
        addition.show(is_installed=done, is_json=is_json)
    if problem:
        raise CertificateError(f"{file}: {problem}")


@command.command("list", epilog="Example: receiver trust list --json")
@click.argument("carrier", required=False)
@json_option
@home_option
def list_(*, home: Path, carrier: str | None, is_json: bool) -> None:
    """Show every CA, CRL, pin and block: what expires when, and what a person should look at."""
    settings = config.load(home)
    known_to_nginx = _known_to_nginx(Home(home))
    names = [carrier] if carrier else [*settings.carriers]
    facts = [_facts(CarrierPlace.of(home, name), known_to_nginx) for name in names]
    if is_json:
        click.echo(orjson.dumps({"carriers": facts}).decode())
    else:
        trust_show.listing(facts)


def _facts(place: CarrierPlace, known_to_nginx: frozenset[str]) -> dict[str, Any]:
    warnings: list[str] = []
    items: tuple[Item, ...] = ()
    at = now()
    try:
        items = place.items()
        trust_files = TrustFiles(place.home.trust, {place.carrier: place.strictness.value})
        trust_files.load(now=at)
        warnings += [line.removeprefix(f"{place.carrier}: ") for line in trust_files.warnings(now=at)]
    except CertificateError as exc:
        warnings.append(f"a receiver that runs keeps what it has, and none can start: {exc}")
    rows = [trust_show.file_row(item, now=at, known_to_nginx=known_to_nginx) for item in items]
    if any(not row.get("known_to_nginx", True) for row in rows):
        warnings.append(f"nginx does not know every CA yet: receiver nginx --home {place.home.root}")
    pins = place.rows("pin_list")
    if rows and not pins:
        warnings.append("no pin: everything that comes is held")
    return {
        "carrier": place.carrier,
        "strictness": place.strictness.value,
        "is_holding": place.is_holding(),
        "files": rows,
        "pins": [trust_show.rule_row("pin", row, now=at) for row in pins],
        "blocks": [trust_show.rule_row("block", row, now=at) for row in place.rows("block_list")],
        "warnings": warnings,
    }


def _known_to_nginx(home: Home) -> frozenset[str]:
    """SHA-256 of the CAs in what was last rendered for nginx."""
    found: set[str] = set()
    for name in ("client-cas.pem", "client-intermediates.pem"):
        with suppress(OSError, CertificateError):
            found |= {sha256_of(one) for one in pem.certificates((home.nginx / name).read_bytes())}
    return frozenset(found)


@command.command(epilog="Example: receiver trust remove tencent 5f3a9c01d2e4")
@click.argument("carrier")
@click.argument("which")
@json_option
@home_option
def remove(*, home: Path, carrier: str, which: str, is_json: bool) -> None:
    """Trust a CA no more, or take a CRL away: WHICH is the id of `receiver trust list`, or a file's name.

    A CA takes its CRLs along. Certificates under it are refused from now on.
    """
    place = CarrierPlace.of(home, carrier)
    place.check_owner()
    with files.locked(place.home.trust):
        paths = _gone(which, place)
        carrier_files.remove(paths)
        place.record("trust_remove", paths)
    lines = [f"Next, so that nginx drops it too: receiver nginx --home {home}"]
    if not any((place.directory / "anchors").glob("*.pem")):
        lines.insert(0, f"warning: {carrier} has no root CA now, so no certificate of it is accepted")
    text = f"{carrier}: removed {', '.join(path.name for path in paths)}"
    facts = {"carrier": carrier, "removed": [str(path) for path in paths], "text": text, "lines": lines}
    trust_show.told(facts, is_json=is_json)


def _gone(which: str, place: CarrierPlace) -> list[Path]:
    if broken := carrier_files.unreadable(which, place.directory):
        return [broken]
    return list(dict.fromkeys(item.path for item in carrier_files.removal(which, place.items())))


for _each in (trust_rules.pin, trust_rules.unpin, trust_rules.block, trust_rules.unblock):
    command.add_command(_each)
