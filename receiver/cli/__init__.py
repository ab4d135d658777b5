"""The command `receiver`: finds a command's module by name and turns our errors into one clear line."""

import os
import sys
from importlib import import_module
from typing import Final

import click

from receiver import __version__
from receiver.config import ENV_FILE
from receiver.errors import ReceiverError

_COMMANDS: Final = {
    "init": "make a home",
    "run": "run a development home: receiver, nginx and all they need",
    "serve": "run the receiver itself",
    "nginx": "render the nginx configuration",
    "certs": "certificate work: authorities, certificates, revocation",
    "app": "applications, each at a callback address of its own",
    "trust": "whose certificates speak for a carrier",
    "capture": "see what a carrier really sends, before traffic depends on it",
    "token": "tokens for the operations side",
    "simulate": "a deterministic carrier for development homes",
    "quarantine": "bodies that could not be decoded",
    "void": "take deliveries out of the figures, without deleting them",
    "held": "deliveries that came under no pin",
    "rebuild": "recompute all derived tables from the journal",
    "projector": "",
}
"""Command to its line in the overview; without a line it is internal and not listed."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [name for name, line in _COMMANDS.items() if line]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"receiver.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, line in _COMMANDS.items() if line])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: receiver run --home var",
)
@click.option(
    "--config", "file", type=click.Path(dir_okay=False), help="The settings file.  [default: HOME/receiver.toml]"
)
@click.version_option(__version__, prog_name="receiver")
def _group(file: str | None) -> None:
    """Receive voice-call callbacks behind mutual TLS, keep every one, count the answer rate."""
    if file is not None:
        # The children of `run` and `serve` read the same file.
        os.environ[ENV_FILE] = os.path.abspath(file)  # noqa: PTH100 -- a string is what the environment holds


def main() -> None:
    """Run a command. What a person or a peer caused is one line on standard error and status 1; wrong usage is 2."""
    try:
        status = _group(prog_name="receiver", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        asked = exc.ctx.command_path if isinstance(exc, click.UsageError) and exc.ctx else "receiver"
        sys.stderr.write(f"error: {exc.format_message()} See: {asked} --help\n")
        sys.exit(exc.exit_code)
    except click.Abort:
        sys.exit("error: aborted")
    except ReceiverError as exc:
        sys.exit(f"error: {exc}")
    sys.exit(status if isinstance(status, int) else 0)
