"""`receiver certs rotate-ca`: the next authority in three stages, each of which can be repeated."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from receiver.cli.certs_place import Place, passphrase_in, placed, with_passphrase
from receiver.errors import UsageError
from receiver.logs import printable
from receiver.pki import keys, rotation
from receiver.pki.findings import instant
from receiver.pki.profiles import Purpose
from receiver.pki.rotation import Rotation, Stage

_STAGES: Final = ("add", "reissue", "remove")
_PURPOSE: Final = click.Choice([purpose.value for purpose in Purpose])


@click.command(
    "rotate-ca",
    short_help="replace a CA by a new one, in three stages",
    epilog="Example: receiver certs rotate-ca add --passphrase-file ca.pass",
)
@click.argument("stage", required=False, type=click.Choice(_STAGES))
@click.option("--purpose", type=_PURPOSE, default=Purpose.CLIENT.value, show_default=True)
@with_passphrase
@click.option("--no-passphrase", is_flag=True, help="Leave the new key unencrypted (a development PKI).")
@placed
def rotate_ca(  # noqa: PLR0913 -- one argument for each option
    *,
    stage: str | None,
    purpose: str,
    passphrase_file: Path | None,
    no_passphrase: bool,
    home: Path,
    pki: Path | None,
    is_json: bool,
) -> None:
    """Replace a CA by a new one, without a gap. Without a STAGE it shows where this stands.

    `add` makes the new CA, trusted beside the old one, its CRL first. `reissue` issues new certificates under it, while
    the old ones stay valid. `remove` trusts the old CA no more; it is refused while valid certificates of it exist.

    Each stage may be repeated. The old CA's own files, its key among them, stay where they are.
    """
    place, now, of = Place.of(home, pki), int(time.time()), Purpose(purpose)
    trust = place.home.trust if place.home and place.settings() else None
    key = _Key(passphrase=passphrase_in(passphrase_file), path=passphrase_file, is_without=no_passphrase)
    # A PKI that is not there is found before a lock is made in it.
    found, lines = rotation.derive(place.pki, trust, of, now=now), list[str]()
    if stage:
        with rotation.alone(place.pki):
            lines = _carry_out(stage, place, trust, of, key=key, now=now)
            found = rotation.derive(place.pki, trust, of, now=now)
    _show(found, of, trust=trust, lines=lines, is_json=is_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """What was said about the passphrase of the CA's key."""

    passphrase: bytes | None
    path: Path | None
    is_without: bool

    def check(self) -> None:
        """Is it enough for a new key?"""
        if (self.passphrase is None) == (not self.is_without):
            raise click.UsageError("give either --passphrase-file FILE or --no-passphrase for the new CA's key")
        if self.passphrase is not None:
            keys.check_passphrase(self.passphrase, where=str(self.path))


def _carry_out(  # noqa: PLR0913 -- a stage, where, of what, and with which key
    stage: str, place: Place, trust: Path | None, purpose: Purpose, *, key: _Key, now: int
) -> list[str]:
    found = rotation.derive(place.pki, trust, purpose, now=now)
    if stage == "reissue":
        return _reissue(place, found, now=now, passphrase=key.passphrase)
    if stage == "remove":
        return _remove(found, trust)
    if rotation.needs_key(place.pki, trust, purpose, now=now):
        key.check()
    carriers = rotation.add(place.pki, trust, purpose, now=now, passphrase=key.passphrase)
    return [f"The new CA is an anchor of {carrier} now, beside the old one." for carrier in carriers]


def _reissue(place: Place, found: Rotation, *, now: int, passphrase: bytes | None) -> list[str]:
    if found.stage in {Stage.NONE, Stage.ADD}:
        raise UsageError("there is nothing to reissue before: receiver certs rotate-ca add")
    lines = []
    # One that was issued before a crash may not have been pinned.
    for one in rotation.successors(found):
        if one.carrier:
            place.take_up(one, carrier=one.carrier, now=now)
    for old, new in rotation.reissue(found, now=now, passphrase=passphrase):
        lines.append(f"{new.path}: instead of {old.path}, which stays valid until {instant(old.not_after)}")
        lines += place.take_up(new, carrier=new.carrier, now=now) if new.carrier else []
    return lines


def _remove(found: Rotation, trust: Path | None) -> list[str]:
    if trust is None and found.stage is Stage.NONE:
        raise UsageError("an old CA is removed where the receiver runs: receiver trust remove")
    if found.stage is Stage.NONE:
        return ["Nothing of an old CA is in use."]
    carriers = rotation.remove(found, trust or Path())
    return [f"{carrier} trusts the old CA no more." for carrier in carriers]


def _show(found: Rotation, purpose: Purpose, *, trust: Path | None, lines: list[str], is_json: bool) -> None:
    facts = _facts(found)
    if is_json:
        click.echo(json.dumps(facts | {"lines": lines, "next": _next(found, purpose, trust=trust)}))
        return
    for line in lines:
        click.echo(printable(line))
    click.echo(f"CA: {found.new.name}, until {instant(found.new.not_after)}")
    for one in found.old:
        click.echo(f"still in use: {one.name}, until {instant(one.not_after)}")
    for leaf in (*found.due, *found.lasting):
        whose, state = leaf.carrier or leaf.names[0], "has a successor" if leaf in found.lasting else "to be reissued"
        click.echo(printable(f"  {whose} {leaf.serial[-8:]}, valid until {instant(leaf.not_after)}: {state}"))
    for line in _next(found, purpose, trust=trust):
        click.echo(printable(line))


def _facts(found: Rotation) -> dict[str, Any]:
    return {
        "stage": found.stage,
        "new": found.new.name,
        "old": [one.name for one in found.old],
        "missing": list(found.missing),
        "due": [leaf.serial for leaf in found.due],
        "lasting": [leaf.serial for leaf in found.lasting],
    }


def _next(found: Rotation, purpose: Purpose, *, trust: Path | None) -> list[str]:
    again = f"receiver certs rotate-ca {{}} --purpose {purpose}"
    match found.stage:
        case Stage.NONE:
            return [f"No rotation is under way. Begin one: {again.format('add')}"]
        case Stage.ADD:
            return [f"Next: {again.format('add')}"]
        case Stage.REISSUE:
            return [*_first(found, purpose, trust=trust), *_ways(found, again)]
        case Stage.WAIT:
            end = instant(max(leaf.not_after for leaf in found.lasting))
            return [f"Wait until {end}, or revoke what is left; then: {again.format('remove')}"]
        case Stage.REMOVE:
            return [f"Next: {again.format('remove')}, then: receiver certs reload"]


def _first(found: Rotation, purpose: Purpose, *, trust: Path | None) -> list[str]:
    if purpose is Purpose.SERVER:
        return [f"First give {found.new.path} to every carrier, and wait until it trusts it beside the old one."]
    if trust is None:
        where = "to where the receiver runs, the CRL first"
        return [f"First bring {found.new.crl_path} and {found.new.path} {where}."]
    return ["First have nginx take up the new CA: receiver certs reload"]


def _ways(found: Rotation, again: str) -> list[str]:
    asked = sorted({leaf.carrier or "" for leaf in found.due if not leaf.key_path})
    lines = [f"Ask {carrier} for a new request: receiver certs renew {carrier} --csr FILE" for carrier in asked]
    return [f"Next: {again.format('reissue')}", *lines] if any(leaf.key_path for leaf in found.due) else lines
