"""`receiver trust pin`, `unpin`, `block`, `unblock`: which certificates speak for a carrier, and which never do."""

import re
from pathlib import Path
from typing import Any, Final

import click

from receiver import control
from receiver.cli.certs_place import FILE
from receiver.cli.store_terminal import home_option, json_option
from receiver.cli.trust_place import CarrierPlace, first_certificate, instant, now
from receiver.cli.trust_show import told
from receiver.errors import CertificateError, UntrustedError, UsageError
from receiver.home import Home
from receiver.trust import (
    Block,
    FingerprintBlock,
    FingerprintPin,
    Pin,
    SanPin,
    SerialBlock,
    block_row,
    pin_of,
)
from receiver.trust.certificate import Leaf, quietly, serial_text

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SERIAL: Final = re.compile(r"(0x)?[0-9A-Fa-f:]{1,60}")
_SAN: Final = re.compile(r"(dns|uri|email|ip):.+")

_reason_option = click.option("--reason", default="", help="Why; kept and shown with it.")


@click.command(epilog="Example: receiver trust pin tencent callback.pem --by sha256 --until 2027-06-30")
@click.argument("carrier")
@click.argument("file", type=FILE, required=False)
@click.option(
    "--by",
    type=click.Choice(["name", "sha256"]),
    default="name",
    show_default=True,
    help="What of FILE is pinned: its exact issuer and subject, or this one certificate.",
)
@click.option("--san", metavar="dns:NAME", help="A subject alternative name, with dns: uri: email: or ip: before it.")
@click.option("--sha256", metavar="HEX", help="One certificate, by the SHA-256 of its DER.")
@click.option("--until", metavar="DATE", help="With a SHA-256: when the pin ends.  [default: with the certificate]")
@click.option("--accept-unpinned", metavar="REASON", help="Pin nothing: accept whatever comes under the carrier's CAs.")
@_reason_option
@json_option
@home_option
def pin(  # noqa: PLR0913 -- one argument for each option
    *,
    home: Path,
    carrier: str,
    file: Path | None,
    by: str,
    san: str | None,
    sha256: str | None,
    until: str | None,
    accept_unpinned: str | None,
    reason: str,
    is_json: bool,
) -> None:
    """Say which certificates under a carrier's CAs are the carrier's own; deliveries under any other one are held.

    FILE is a certificate that the carrier presents. By name and by SAN, a renewed certificate is still the carrier's.
    A SHA-256 means one certificate only, and also accepts one that the receiver itself cannot process (X.509 version
    1, odd extensions) if nginx has verified its chain.
    """
    place = CarrierPlace.of(home, carrier)
    if accept_unpinned is not None:
        if file or san or sha256:
            raise UsageError("--accept-unpinned pins nothing; give it alone")
        told(holding_off(place, accept_unpinned), is_json=is_json)
        return
    leaf = place.leaf(file) if file else None
    ends_at = instant(until)
    chosen = chosen_pin(leaf, by=by, san=san, sha256=sha256, until=ends_at)
    if ends_at and not isinstance(chosen, FingerprintPin):
        raise UsageError("--until is for a pin by SHA-256; a name is pinned until it is unpinned")
    told(pinned(place, chosen, leaf, reason=reason), is_json=is_json)


def pinned(place: CarrierPlace, chosen: Pin, leaf: Leaf | None, *, reason: str) -> dict[str, Any]:
    """Add a pin; what was done, and what it means.

    Raises:
        ReceiverError: it cannot be added.
    """
    number = place.pin(chosen, reason=reason, now=now())
    text = "pinned already, as before" if number is None else f"pin {number} is in force"
    lines = doubts(place, leaf, chosen) if leaf else []
    if not place.is_holding():
        lines.append(f"warning: holding is off for {place.carrier}, so certificates under no pin are accepted as well")
    return {"carrier": place.carrier, "pin": number, "text": f"{place.carrier}: {text}", "lines": lines}


def holding_off(place: CarrierPlace, reason: str) -> dict[str, Any]:
    """Turn holding off; what was done, and what it means.

    Raises:
        UsageError: it must not be, or is off.
    """
    if not reason.strip():
        raise UsageError("--accept-unpinned: give the reason; it is shown wherever trust is")
    number = place.stop_holding(reason=reason, now=now())
    return {
        "carrier": place.carrier,
        "pin": number,
        "text": f"{place.carrier}: holding is off; every certificate under its CAs is accepted as the carrier's",
        "lines": [f"To hold again what comes under no pin: receiver trust unpin {place.carrier} {number}"],
    }


def chosen_pin(
    leaf: Leaf | None,
    *,
    by: str = "name",
    san: str | None = None,
    sha256: str | None = None,
    until: int | None = None,
) -> Pin:
    """The pin that options ask for; a certificate at hand must have what is pinned.

    Raises:
        UsageError: they ask for none, or for one that means nothing.
    """
    if san and sha256:
        raise UsageError("give one of --san and --sha256")
    if sha256:
        digest = _digest(sha256)
        if leaf and leaf.sha256 != digest:
            raise UsageError(f"--sha256 is not that of the certificate in the file, which is {leaf.sha256}")
        return FingerprintPin(sha256=digest, until=until)
    if san:
        name = san.lower() if san.startswith("dns:") else san
        if not _SAN.fullmatch(name):
            raise UsageError(f"--san {san}: must begin with dns: uri: email: or ip:")
        return pin_of(leaf, kind="san", san=name) if leaf else SanPin(san=name)
    if leaf is None:
        raise UsageError("give a certificate file, --san or --sha256")
    if by == "name" and not list(leaf.certificate.subject):
        raise UsageError("the certificate's subject is empty, so its name says nothing; pin it by --san or --by sha256")
    return pin_of(leaf, kind=by, until=until)


def doubts(place: CarrierPlace, leaf: Leaf, chosen: Pin) -> list[str]:
    """What keeps the very certificate that is pinned from being accepted."""
    try:
        with quietly():
            place.material(now=now()).verify(leaf, now=now())
    except CertificateError as exc:
        return [f"warning: {exc}"]
    except UntrustedError as exc:
        line = f"warning: the receiver refuses this certificate now ({exc.code}): {exc}"
        if isinstance(chosen, FingerprintPin) and exc.code not in {"revoked", "expired", "not_yet_valid"}:
            return [f"note: the receiver cannot verify it itself ({exc}); it is accepted when nginx has"]
        return [line]
    return []


@click.command(epilog="Example: receiver trust unpin tencent 3")
@click.argument("carrier")
@click.argument("number", type=int)
@json_option
@home_option
def unpin(*, home: Path, carrier: str, number: int, is_json: bool) -> None:
    """Take a pin away; its NUMBER stands in `receiver trust list`. What came under it stays counted."""
    place = CarrierPlace.of(home, carrier)
    _check_number(place, "pin", number)
    control.call(place.home, "pin_remove", pin_id=number)
    lines = [] if place.rows("pin_list") else [f"{carrier} has no pin now: everything that comes is held"]
    told({"carrier": carrier, "pin": number, "text": f"pin {number} is gone", "lines": lines}, is_json=is_json)


@click.command(epilog="Example: receiver trust block tencent stolen.pem --reason 'key on a stolen laptop'")
@click.argument("carrier")
@click.argument("file", type=FILE, required=False)
@click.option("--sha256", metavar="HEX", help="The SHA-256 of the certificate's DER.")
@click.option("--serial", metavar="HEX", help="Its serial number; with --issuer.")
@click.option("--issuer", metavar="FILE", type=FILE, help="The certificate of the CA that issued it.")
@_reason_option
@json_option
@home_option
def block(  # noqa: PLR0913 -- one argument for each option
    *,
    home: Path,
    carrier: str,
    file: Path | None,
    sha256: str | None,
    serial: str | None,
    issuer: Path | None,
    reason: str,
    is_json: bool,
) -> None:
    """Refuse one certificate from now on, whatever its CA and its CRLs say of it.

    A FILE is blocked by issuer and serial number: the bytes of a signature can be changed without breaking it, and
    with them the SHA-256.
    """
    place = CarrierPlace.of(home, carrier)
    if sum(map(bool, (file, sha256, serial))) != 1 or bool(serial) != bool(issuer):
        raise UsageError("say which certificate: FILE, or --sha256, or --serial with --issuer")
    columns = block_row(_block(file=file, sha256=sha256, serial=serial, issuer=issuer))
    named = {name: value for name, value in columns.items() if value is not None}
    known = next((row["id"] for row in place.rows("block_list") if row["columns"] == named), None)
    number = known or control.call(
        place.home, "block_add", carrier=carrier, columns=columns, reason=reason, created_at=now()
    )
    text = f"blocked already, as block {number}" if known else f"block {number} is in force"
    told({"carrier": carrier, "block": number, "text": f"{carrier}: {text}", "lines": []}, is_json=is_json)


def _block(*, file: Path | None, sha256: str | None, serial: str | None, issuer: Path | None) -> Block:
    if sha256:
        return FingerprintBlock(sha256=_digest(sha256))
    if serial and issuer:
        if not _SERIAL.fullmatch(serial):
            raise UsageError(f"--serial {serial}: must be hexadecimal")
        number = int(serial.replace(":", ""), 16)
        return SerialBlock(issuer=first_certificate(issuer).subject_der, serial=serial_text(number))
    if file is None:
        raise UsageError("say which certificate")
    leaf = first_certificate(file)
    return SerialBlock(issuer=leaf.issuer_der, serial=leaf.serial)


@click.command(epilog="Example: receiver trust unblock tencent 2")
@click.argument("carrier")
@click.argument("number", type=int)
@json_option
@home_option
def unblock(*, home: Path, carrier: str, number: int, is_json: bool) -> None:
    """Take a block away; its NUMBER stands in `receiver trust list`."""
    place = CarrierPlace.of(home, carrier)
    _check_number(place, "block", number)
    control.call(Home(home), "block_remove", block_id=number)
    told({"carrier": carrier, "block": number, "text": f"block {number} is gone", "lines": []}, is_json=is_json)


def _check_number(place: CarrierPlace, what: str, number: int) -> None:
    if all(row["id"] != number for row in place.rows(f"{what}_list")):
        raise UsageError(f"{place.carrier} has no {what} {number} (see: receiver trust list)")


def _digest(text: str) -> str:
    digest = text.replace(":", "").lower()
    if not _SHA256.fullmatch(digest):
        raise UsageError(f"--sha256 {text}: must be 64 hexadecimal digits")
    return digest
