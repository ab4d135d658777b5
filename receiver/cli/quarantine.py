"""`receiver quarantine`: bodies that could not be decoded, byte for byte as they came."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from receiver import control
from receiver.cli.store_terminal import PAGE, ask, home_option, instant, json_option, redacted, show
from receiver.errors import UsageError
from receiver.home import Home
from receiver.logs import printable
from receiver.store.interface import QuarantineRow
from receiver.store.sqlite import SqliteReader


@click.group(epilog="Example: receiver quarantine list")
def command() -> None:
    """Look at undecodable bodies, take them out, be done with them."""


@command.command("list", epilog="Example: receiver quarantine list --all --json")
@home_option
@click.option("--all", "is_all", is_flag=True, help="Those that were dealt with, too.")
@json_option
def list_(home: Path, is_all: bool, is_json: bool) -> None:
    """List bodies, those that repeat once, with how often they came."""
    rows = [row for row in ask(home, _all_rows) if is_all or row.state == "new"]
    show("quarantine", [_line(row) for row in rows], is_json=is_json)


@command.command("show", epilog="Example: receiver quarantine show 7")
@home_option
@click.argument("number", type=int)
@json_option
def show_(home: Path, number: int, is_json: bool) -> None:
    """Show one body and what is known of it; long numbers in it are masked."""
    row = _row(home, number)
    facts = _line(row) | {
        "last_received_at": instant(row.last_received_us),
        "peer_sha256": row.peer_sha256,
        "sha256": row.sha256,
        "offset": row.offset,
        "answered_status": row.answered_status,
        **{f"header {name}": value for name, value in row.headers.items()},
        "body": redacted(row.body),
    }
    if is_json:
        show("quarantine", [facts], is_json=True)
        return
    for name, value in facts.items():
        click.echo(f"{printable(name)}: {printable(str(value))}")


@command.command(epilog="Example: receiver quarantine export 7 body.bin")
@home_option
@click.argument("number", type=int)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
def export(home: Path, number: int, file: Path) -> None:
    """Write one body's exact bytes into a new file (0600), or with - to standard output."""
    row = _row(home, number)
    if file == Path("-"):
        sys.stdout.buffer.write(row.body)
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise UsageError(f"{file}: {exc.strerror}") from None
    with os.fdopen(descriptor, "wb") as out:
        out.write(row.body)
    click.echo(f"{file}: {row.size} bytes")


@command.command(epilog="Example: receiver quarantine dismiss 7 8 9")
@home_option
@click.argument("numbers", type=int, nargs=-1, required=True)
def dismiss(home: Path, numbers: tuple[int, ...]) -> None:
    """Mark bodies as looked at; they are kept."""
    control.call(Home(home), "quarantine_dismiss", ids=list(numbers))
    click.echo(f"dismissed: {', '.join(map(str, numbers))}")


async def _all_rows(reader: SqliteReader) -> list[QuarantineRow]:
    rows: list[QuarantineRow] = []
    while page := await reader.quarantine(after=rows[-1].id if rows else 0, limit=PAGE):
        rows += page
    return rows


def _row(home: Path, number: int) -> QuarantineRow:
    async def question(reader: SqliteReader) -> list[QuarantineRow]:
        return await reader.quarantine(after=number - 1, limit=1)

    found = ask(home, question)
    if not found or found[0].id != number:
        raise UsageError(f"quarantine has no body {number}")
    return found[0]


def _line(row: QuarantineRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "received_at": instant(row.received_us),
        "hits": row.hits,
        "carrier": row.carrier,
        "app": row.app,
        "size": row.size,
        "state": row.state,
        "reason": row.reason,
    }
