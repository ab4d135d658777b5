"""What the commands about the store share: the home, a reader, tables. Foreign text is escaped, numbers are masked."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver import config, control
from receiver.errors import QueryError, UsageError
from receiver.home import Home
from receiver.logs import printable
from receiver.model import MICROSECONDS, Selection
from receiver.statistics import periods
from receiver.store.sqlite import SqliteReader, StoreFiles

_T = TypeVar("_T")

PAGE: Final = 500
# A telephone number, for all we know: digits that nobody types by heart.
_LONG_NUMBER: Final = re.compile(r"\d{7,}")
_KEPT_BEFORE, _KEPT_AFTER = 3, 4

home_option: Final = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    show_default=True,
    envvar="RECEIVER_HOME",
    help="Where all state lies.",
)
json_option: Final = click.option("--json", "is_json", is_flag=True, help="Print JSON, for scripts.")


def ask(home: Path, question: Callable[[SqliteReader], Awaitable[_T]]) -> _T:
    """Ask the store of a home something, whether it is served or not.

    Raises:
        StoreError: there is no store, or it cannot be read.
    """
    files = StoreFiles(config.store_directory(config.load(home), home))

    async def answer() -> _T:
        async with SqliteReader.open(files, connections=1) as reader:
            return await question(reader)

    return asyncio.run(answer())


def decide(home: Path, kind: str, selection: Selection, *, reason: str) -> int:
    """Write a decision into the journal of a home; its cursor."""
    names = ("carrier", "app", "peer_sha256", "received_from_us", "received_to_us", "seqs")
    conditions = {name: getattr(selection, name) for name in names}
    return int(control.call(Home(home), "decide", kind=kind, selection=conditions, reason=reason))


def show(name: str, rows: Sequence[Mapping[str, Any]], *, is_json: bool) -> None:
    """Print rows as a table, or as one JSON object with the rows under a name."""
    if is_json:
        click.echo(orjson.dumps({name: rows}))
        return
    if not rows:
        click.echo(f"{name}: nothing")
        return
    table = Table(box=box.SIMPLE)
    for column in rows[0]:
        # Nothing is cut off: a fingerprint that ends in three dots is of no use.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[Text(printable("" if value is None else str(value))) for value in row.values()])
    Console().print(table)


def arrivals_between(home: Path, start: str | None, end: str | None) -> tuple[int | None, int | None]:
    """The options `--from` and `--to` as Unix microseconds, None where not given.

    Raises:
        UsageError: no such instant, or nothing between them.
    """
    if start is None:
        if end is not None:
            raise UsageError("--to needs a --from")
        return None, None
    zone = periods.zone_of(config.load(home).statistics.zone)
    try:
        span = periods.resolve(range_name=None, start=start, end=end, zone=zone, now=int(time.time()))
    except QueryError as exc:
        option = {"start": "--from", "end": "--to"}.get(exc.parameter, exc.parameter)
        raise UsageError(f"{option} {exc}".replace("before end", "before --to")) from None
    return span.start * MICROSECONDS, None if end is None else span.end * MICROSECONDS


def instant(received_us: int) -> str:
    """An instant for people and scripts: RFC 3339, UTC."""
    return datetime.fromtimestamp(received_us // MICROSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def redacted(body: bytes) -> str:
    """A body as text that shows no telephone number: long numbers keep their ends."""
    return _LONG_NUMBER.sub(_mask, body.decode("utf-8", "replace"))


def _mask(match: re.Match[str]) -> str:
    number = match[0]
    return f"{number[:_KEPT_BEFORE]}****{number[-_KEPT_AFTER:]}"
