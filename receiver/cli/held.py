"""`receiver held`: deliveries whose certificate was good but matched no pin, and what becomes of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import orjson

from receiver.cli.store_terminal import PAGE, ask, decide, home_option, instant, json_option, show
from receiver.errors import UsageError
from receiver.model import Selection
from receiver.store.interface import DeliveryRow
from receiver.store.sqlite import SqliteReader


@click.group(epilog="Example: receiver held list")
def command() -> None:
    """Look at deliveries that came under no pin; let them count, or not."""


@command.command("list", epilog="Example: receiver held list --json")
@home_option
@json_option
def list_(home: Path, is_json: bool) -> None:
    """List what waits for a release."""
    show("held", [_line(row) for row in ask(home, _all_rows)], is_json=is_json)


def _deciding(function: Callable[..., None]) -> Callable[..., None]:
    """The options by which deliveries are chosen."""
    options = [
        click.argument("cursors", type=int, nargs=-1),
        click.option("--peer", metavar="SHA256", help="All of this certificate (hexadecimal)."),
        click.option("--app", help="All for this application."),
        click.option("--carrier", help="All of this carrier."),
        click.option("--reason", default="", help="Why; kept with the decision."),
        json_option,
        home_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


@command.command(epilog="Example: receiver held release --peer 9f86d081...")
@_deciding
def release(*, home: Path, reason: str, is_json: bool, cursors: tuple[int, ...], **chosen: str | None) -> None:
    """Let held deliveries count: those of these journal cursors, or all for which everything given holds."""
    _decide(home, "release", _selection(cursors, **chosen), reason=reason, is_json=is_json)


@command.command(epilog="Example: receiver held discard 4711 4712 --reason 'a stranger'")
@_deciding
def discard(*, home: Path, reason: str, is_json: bool, cursors: tuple[int, ...], **chosen: str | None) -> None:
    """Have held deliveries count for nothing; they stay in the journal, and a later release lets them count."""
    _decide(home, "discard", _selection(cursors, **chosen), reason=reason, is_json=is_json)


def _selection(cursors: tuple[int, ...], *, peer: str | None, app: str | None, carrier: str | None) -> Selection:
    if not cursors and peer is None and app is None and carrier is None:
        raise UsageError("give journal cursors, or at least one of --peer, --app and --carrier")
    return Selection(carrier=carrier, app=app, peer_sha256=peer and peer.lower(), seqs=cursors or None)


def _decide(home: Path, kind: str, selection: Selection, *, reason: str, is_json: bool) -> None:
    count = ask(home, lambda reader: reader.count_selected(selection, is_held=True))
    if not count:
        raise UsageError("no held delivery matches")
    seq = decide(home, kind, selection, reason=reason)
    done = {"release": "released", "discard": "discarded"}[kind]
    click.echo(
        orjson.dumps({"deliveries": count, "decision": seq})
        if is_json
        else f"decision {seq}: {count} deliveries are {done}"
    )


async def _all_rows(reader: SqliteReader) -> list[DeliveryRow]:
    rows: list[DeliveryRow] = []
    while page := await reader.held(after=rows[-1].seq if rows else 0, limit=PAGE):
        rows += page
    return rows


def _line(row: DeliveryRow) -> dict[str, Any]:
    return {
        "cursor": row.seq,
        "received_at": instant(row.received_us),
        "carrier": row.carrier,
        "app": row.app,
        "kind": row.kind,
        "size": row.size,
        "subject": row.peer["subject"],
        "issuer": row.peer["issuer"],
        "peer_sha256": row.peer["sha256"],
    }
