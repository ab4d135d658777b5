"""The command line of `scripts/bench`: a sub-command for each bench, tables for people, JSON lines for scripts."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Column, Table

from benches import ingest as ingest_bench
from benches import machine
from benches.homes import HomeError
from benches.load import LoadError

# More than this taken by others, and a figure tells of them.
_QUIET_CORES: Final = 0.2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Measure the receiver on this machine, beside what it is compared with."""


@main.command(epilog="Example: scripts/bench ingest --seconds 10 --rounds 5 --json")
@click.option("--connections", type=click.IntRange(1, 1000), default=64, help="Kept-alive connections.")
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, help="How long each side is measured, each round.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="How often each side has its turn.")
@click.option("--home", type=click.Path(path_type=Path), show_default="a temporary one", help="Where its home lies.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object per line.")
def ingest(*, connections: int, seconds: float, rounds: int, home: Path | None, is_json: bool) -> None:
    """Durable callbacks per second through nginx, beside an application that only answers."""
    shape = ingest_bench.Shape(connections=connections, seconds=seconds, rounds=rounds)
    measured = []
    with _directory(home) as directory:
        try:
            for run in ingest_bench.runs(directory, shape):
                measured.append(run)
                _say(run, is_json=is_json)
        except (HomeError, LoadError, ingest_bench.LostError, OSError) as exc:
            sys.exit(f"error: {exc}")
    outcome = ingest_bench.result(measured, shape, machine.described(nginx="nginx"))
    if is_json:
        click.echo(json.dumps(outcome))
    else:
        _show(outcome, Console())


@contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield Path(name)


def _say(run: ingest_bench.Run, *, is_json: bool) -> None:
    if is_json:
        click.echo(json.dumps(run.as_object()))
    else:
        click.echo(f"round {run.round}: {run.side}: {run.load.rate:.0f} callbacks/s", err=True)


def _show(outcome: dict[str, Any], console: Console) -> None:
    table = Table(Column("", no_wrap=True), "callbacks/s", "p50 ms", "p99 ms", "refused")
    for name, side in outcome["sides"].items():
        figures = (_words(side[figure]).replace(" (", "\n(") for figure in ("callbacks_per_second", "p50_ms", "p99_ms"))
        table.add_row(name, *figures, str(side["refused"]))
    console.print(table)
    lines = [f"receiver to answering only: {_words(outcome['ratio_to_answering_only'])}; medians, least to greatest"]
    lines += [f"cores used, {name}: {_pairs(side['cores'])}" for name, side in outcome["sides"].items()]
    if any(side["cores"]["elsewhere"] > _QUIET_CORES for side in outcome["sides"].values()):
        lines.append("this machine was busy with something else: these figures say little")
    lines += [f"{group}: {_pairs(outcome[group])}" for group in ("options", "machine")]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _words(spread: dict[str, float]) -> str:
    if spread["least"] == spread["greatest"]:
        return f"{spread['median']:g}"
    return f"{spread['median']:g} ({spread['least']:g} to {spread['greatest']:g})"
