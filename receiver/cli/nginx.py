"""`receiver nginx`: render what nginx reads, have nginx judge it, have a running one take it up."""

import time
from pathlib import Path
from typing import Final

import click

from receiver import config, nginx_files
from receiver.config import Settings
from receiver.home import Home
from receiver.nginx_files import EdgePaths
from receiver.pki import development
from receiver.supervise import nginx_reload

_PATH: Final = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(epilog="Example: receiver nginx --home /var/lib/receiver --check")
@click.option("--home", type=_PATH, default=Path("var"), show_default=True, envvar="RECEIVER_HOME")
@click.option(
    "--check", is_flag=True, help="Change nothing, only have nginx judge it; takes root for ports below 1024."
)
def command(home: Path, *, check: bool) -> None:
    """Have nginx do what settings and trust files say now.

    In production this writes the site into HOME/nginx. A development home that runs takes it up at once.
    """
    place = Home(home.resolve())
    settings = config.load(place.root)
    if check:
        paths = _paths(place, settings)
        nginx_reload.trial(place, settings, certificate=paths.server_certificate, key=paths.server_key)
        click.echo("nginx accepts it")
    elif settings.is_production:
        site = nginx_files.write(place, settings, _paths(place, settings), is_whole=False)
        click.echo(f"{site} is written; link it once: ln -s {site} /etc/nginx/sites-enabled/receiver")
        click.echo("then have nginx take it up: receiver certs reload")
    else:
        nginx_reload.ask(place)
        click.echo("nginx was told to take it up")


def _paths(home: Home, settings: Settings) -> EdgePaths:
    paths = nginx_files.production_paths(home)
    if settings.is_production:
        return paths
    made = development.ensure(home.pki, now=int(time.time()))
    return EdgePaths(
        conf=paths.conf,
        run=paths.run,
        access_log=paths.access_log,
        server_certificate=made.server_cert,
        server_key=made.server_key,
    )
