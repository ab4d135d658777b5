"""`receiver rebuild`: all derived tables anew from the journal, compared with the old ones."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
import orjson
from rich.console import Console
from rich.progress import Progress

from receiver import config, control, projector
from receiver.cli.store_terminal import home_option, json_option
from receiver.errors import StoreLockedError
from receiver.home import Home
from receiver.store.sqlite import StoreFiles, locked, rebuild

_PATIENCE_SECONDS: Final = 10.0


@click.command(epilog="Example: receiver rebuild --home var")
@home_option
@json_option
def command(home: Path, is_json: bool) -> None:
    """Recompute calls and figures from the journal, whether the receiver runs or not, and say whether they changed."""
    started = time.monotonic()
    with _progress_bar() as tell:
        try:
            found = _offline(home, tell)
        except StoreLockedError:
            found = control.call(
                Home(home), control.REBUILD, on_progress=lambda progress: tell(progress["done"], progress["rows"])
            )
    seconds = time.monotonic() - started
    if is_json:
        click.echo(orjson.dumps(found | {"is_equal": not found["differences"], "seconds": round(seconds, 3)}))
    else:
        click.echo(f"{found['rows']} journal rows in {seconds:.1f} s: {_verdict(found)}")


def _offline(home: Path, tell: Callable[[int, int], None]) -> dict[str, Any]:
    settings = config.load(home)
    files = StoreFiles(config.store_directory(settings, home))
    files.require()
    rules = projector.rules_of(settings, Home(home))
    with locked(files.lock), locked(files.projector_lock, patience_seconds=_PATIENCE_SECONDS):
        found = rebuild(files, rules, on_progress=tell)
    return projector.as_json(found)


def _verdict(found: Mapping[str, Any]) -> str:
    if found["differences"] is None:
        return "there was nothing to compare with"
    if not found["differences"]:
        return "equal"
    tables = ", ".join(found["differences"])
    because = "" if found["is_same_rules"] else ", as other settings or another version computed the old ones"
    return f"differs: {tables}{because}"


@contextmanager
def _progress_bar() -> Iterator[Callable[[int, int], None]]:
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("rebuilding", total=None)

        def tell(done: int, rows: int) -> None:
            progress.update(task, completed=done, total=rows)

        yield tell
