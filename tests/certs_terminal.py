"""`receiver certs` as a script or a person calls it, in this process."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from receiver.cli.certs import command
from receiver.errors import ReceiverError


def run(*arguments: str | Path) -> Any:
    """Run a command with `--json`; its object. A refusal comes as the error it is."""
    name, *others = map(str, arguments)
    result = CliRunner().invoke(command, [name, "--json", *others])
    if isinstance(result.exception, ReceiverError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def shown(*arguments: str | Path) -> str:
    """Run a command for a person; everything it prints."""
    result = CliRunner().invoke(command, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output
