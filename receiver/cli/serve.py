"""`receiver serve`: everything put together, and run until told to stop."""

import asyncio
import os
import pwd
from pathlib import Path
from typing import Final

import click

from receiver import config, logs, projector
from receiver.cli import production
from receiver.cli.serve_parts import Place
from receiver.cli.serve_sides import serve
from receiver.cli.store_terminal import home_option
from receiver.config import Settings
from receiver.errors import SettingsError, UsageError
from receiver.home import Home

_PATH: Final = click.Path(path_type=Path)
_SYSTEM_RUN: Final = Path("/run/receiver")


@click.command(epilog="Example: receiver serve --home /var/lib/receiver --run-dir /run/receiver")
@home_option
@click.option("--run-dir", "run", type=_PATH, help="Where the sockets lie.  [default: as HOME/run says, /run/receiver]")
@click.option("--config", "file", type=_PATH, help="The settings file.  [default: HOME/receiver.toml]")
def command(home: Path, run: Path | None, file: Path | None) -> None:
    """Serve both sides: callbacks from nginx, the dashboard and the API. SIGTERM ends it in order.

    Sockets passed by systemd or `receiver run` (edge, ops, audit, control) are taken over; the others are made here.
    """
    os.umask(0o077)
    place_home = Home(home.resolve())
    settings = config.load(place_home.root, file=file)
    logs.configure(settings.log.level)
    if settings.is_production:
        production.refuse_root()
        production.refuse_work_tree(place_home)
        production.refuse_development_server(place_home)
    # The projector's needs, too: what it would die of is said before anybody is told that all is well.
    projector.rules_of(settings, place_home)
    uid, group = _nginx(settings)
    directory = run or _run_directory(place_home, settings)
    place = Place(home=place_home, settings=settings, file=file, run=directory, nginx_uid=uid, nginx_group=group)
    asyncio.run(serve(place))


def _nginx(settings: Settings) -> tuple[int, int | None]:
    """The user whose connections are nginx's, and the group its sockets need, where that is not our own."""
    if not settings.is_production and os.geteuid() != 0:
        return os.geteuid(), None
    try:
        user = pwd.getpwnam(settings.nginx.user)
    except KeyError:
        raise SettingsError(f"nginx.user = {settings.nginx.user!r}: there is no such user") from None
    return user.pw_uid, user.pw_gid


def _run_directory(home: Home, settings: Settings) -> Path:
    try:
        return Path(home.run_file.read_text("utf-8").strip())
    except FileNotFoundError:
        if settings.is_production:
            return _SYSTEM_RUN
        raise UsageError("where shall the sockets lie? give --run-dir, or use: receiver run") from None
