"""`receiver simulate`: post a seed's callbacks to a development home, and compare its figures with the truth."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from receiver.carriers import PROFILES
from receiver.errors import UsageError
from receiver.home import Home
from receiver.simulate import report, target
from receiver.simulate.plan import Options
from receiver.simulate.play import Listeners, Played, play
from receiver.simulate.sender import Acknowledgement

_SHARE: Final = click.FloatRange(0, 1)
# Times outside 2000 to 2100 count as missing (contract, section 3); a day is left for calls reported late.
_INSTANT: Final = click.IntRange(946_771_200, 4_102_358_400)
_PATH: Final = click.Path(path_type=Path)
_EPILOG: Final = "Example: receiver simulate --home var --calls 2000 --apps 2 --seed 7 --verify"


@click.command(epilog=_EPILOG, context_settings={"show_default": True})
@click.option("--calls", type=click.IntRange(1), default=1000, help="Calls to simulate.")
@click.option("--rate", type=click.FloatRange(0), default=0.0, help="Calls per second; 0 is as fast as possible.")
@click.option("--seed", type=int, default=1, help="The same seed and --start repeat every byte.")
@click.option("--start", type=_INSTANT, show_default="now", help="When it begins, Unix seconds.")
@click.option("--answer-rate", type=_SHARE, default=0.42, help="Share of calls that are answered.")
@click.option("--duplicates", type=_SHARE, default=0.02, help="Share of callbacks posted twice.")
@click.option("--disorder", type=_SHARE, default=0.1, help="Share of calls reported out of order.")
@click.option("--late", type=_SHARE, default=0.02, help="Share of calls reported hours late.")
@click.option("--malformed", type=_SHARE, default=0.01, help="Share of calls beside which a bad body comes.")
@click.option("--apps", type=click.IntRange(1, 50), default=1, help="Sending applications.")
@click.option("--carrier", type=click.Choice(sorted(PROFILES)), default="tencent")
@click.option("--home", type=_PATH, default=Path("var"), envvar="RECEIVER_HOME", help="A running development home.")
@click.option("--ready", type=_PATH, show_default="HOME/ready.json", help="The ready.json to use.")
@click.option("--connections", type=click.IntRange(1, 1024), default=16, help="Kept-alive connections.")
@click.option("--ledger", type=_PATH, help="Write one line for every success answer to this file.")
@click.option("--verify", is_flag=True, help="Compare the receiver's figures; exit with 1 when they differ.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def command(  # noqa: PLR0913 - one argument for each option
    *,
    start: int | None,
    carrier: str,
    home: Path,
    ready: Path | None,
    connections: int,
    ledger: Path | None,
    verify: bool,
    is_json: bool,
    **plan: Any,
) -> None:
    """Simulate a carrier: post realistic callbacks to a development home over mutual TLS."""
    options = Options(start=int(time.time()) if start is None else start, **plan)
    place = target.read(ready or Home(home).ready, carrier=carrier)
    with _ledger(ledger) as on_acknowledged, _progress(options.calls) as on_progress:
        played = asyncio.run(
            play(
                options,
                place,
                connections=connections,
                is_verified=verify,
                listeners=Listeners(on_progress=on_progress, on_acknowledged=on_acknowledged),
            )
        )
    _finish(played, is_json=is_json)


def _finish(played: Played, *, is_json: bool) -> None:
    if is_json:
        click.echo(json.dumps(report.as_object(played)))
    else:
        report.show(played, Console())
    if report.complaints(played):
        sys.exit(1)


@contextmanager
def _progress(calls: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal and nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("calls"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("calls", total=calls)
        yield lambda begun: progress.update(task, completed=begun)


@contextmanager
def _ledger(path: Path | None) -> Iterator[Callable[[Acknowledgement], None]]:
    """Write a JSON line for each success answer, at once: what is in the file was acknowledged."""
    if path is None:
        yield lambda _: None
        return
    try:
        file = path.open("w", encoding="utf-8", buffering=1)
    except OSError as exc:
        raise UsageError(f"{path}: cannot be written: {exc}") from None
    with file:
        yield lambda acknowledgement: print(json.dumps(acknowledgement._asdict()), file=file)
