"""`receiver projector`: the child process of `serve` that folds. Not for people."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import orjson

from receiver import config, logs, projector
from receiver.board import Board
from receiver.home import Home
from receiver.projector import Projector
from receiver.store.sqlite import StoreFiles

_PATH = click.Path(path_type=Path, dir_okay=True)


@click.command(hidden=True, epilog="Example: started by receiver serve, with its standard input as the wake-up pipe")
@click.option("--home", type=_PATH, default=Path("var"), show_default=True, envvar="RECEIVER_HOME")
@click.option("--config", "file", type=_PATH, default=None, help="The settings file, if not the home's.")
@click.option("--board", type=int, required=True, help="Descriptor of the memory shared with the server.")
@click.option("--rebuild", "is_rebuild", is_flag=True, help="Compute everything anew first.")
def command(home: Path, file: Path | None, board: int, is_rebuild: bool) -> None:
    """Fold the journal into the derived tables until the parent is gone."""
    settings = config.load(home, file=file)
    logs.configure(settings.log.level)
    files = StoreFiles(config.store_directory(settings, home))
    rules = projector.rules_of(settings, Home(home))
    child = Projector(files, rules, board=Board(board), wake=sys.stdin.fileno(), say=_say)
    sys.exit(projector.main(child, is_rebuild=is_rebuild))


def _say(message: Mapping[str, Any]) -> None:
    os.write(sys.stdout.fileno(), orjson.dumps(message) + b"\n")
