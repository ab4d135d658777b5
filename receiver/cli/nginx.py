"""`receiver nginx`: render what nginx reads, and have nginx judge it."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

import click

from receiver import config, nginx_files, supervise
from receiver.config import Settings
from receiver.errors import UsageError
from receiver.home import Home
from receiver.logs import printable
from receiver.pki import development

_PATH: Final = click.Path(path_type=Path, exists=True, file_okay=False)
# As much of a main file as `nginx -t` needs to read a site.
_AROUND_A_SITE: Final = """\
pid "{directory}/nginx.pid";
error_log stderr;
events {{}}
http {{
    client_body_temp_path "{directory}/1"; proxy_temp_path "{directory}/2"; fastcgi_temp_path "{directory}/3";
    scgi_temp_path "{directory}/4"; uwsgi_temp_path "{directory}/5";
    include "{site}";
}}
"""


@click.command(epilog="Example: receiver nginx --home /var/lib/receiver --check")
@click.option("--home", type=_PATH, default=Path("var"), show_default=True, envvar="RECEIVER_HOME")
@click.option("--check", is_flag=True, help="Have nginx check it; for ports below 1024 that takes root.")
@click.option("--reload", "is_reloaded", is_flag=True, help="Check, then have a running development home take it up.")
def command(home: Path, *, check: bool, is_reloaded: bool) -> None:
    """Render nginx's files into HOME/nginx, from settings and trust files: a site in production, else a whole nginx."""
    place = Home(home.resolve())
    settings = config.load(place.root)
    if settings.is_production:
        _site(place, settings, check=check, is_reloaded=is_reloaded)
    else:
        _development(place, settings, check=check or is_reloaded, is_reloaded=is_reloaded)


def _site(home: Home, settings: Settings, *, check: bool, is_reloaded: bool) -> None:
    if is_reloaded:
        raise UsageError("in production nginx belongs to the system: check, then run systemctl reload nginx")
    site = nginx_files.write(home, settings, nginx_files.production_paths(home))
    if check:
        with tempfile.TemporaryDirectory() as directory:
            main = Path(directory) / "nginx.conf"
            main.write_text(_AROUND_A_SITE.format(directory=directory, site=site), "utf-8")
            _check(settings, main, prefix=directory)
    click.echo(f"{site} is written; link it once: ln -s {site} /etc/nginx/sites-enabled/receiver")


def _development(home: Home, settings: Settings, *, check: bool, is_reloaded: bool) -> None:
    try:
        directory = Path(home.run_file.read_text("utf-8").strip())
    except FileNotFoundError:
        raise UsageError(f"{home.root} does not run; scripts/run renders its nginx files at every start") from None
    made = development.ensure(home.pki, now=int(time.time()))
    paths = supervise.edge_paths(home, directory, certificate=made.server_cert, key=made.server_key)
    user = supervise.nginx_user(settings)
    main = nginx_files.write(
        home, settings, paths, user=user.name if user else None, open_files=supervise.raise_open_files()
    )
    if check:
        _check(settings, main, prefix=str(directory))
    if is_reloaded:
        os.kill(int((directory / "nginx.pid").read_text("ascii")), signal.SIGHUP)
    click.echo(f"{main} is written" + (", and nginx was told to take it up" if is_reloaded else ""))


def _check(settings: Settings, main: Path, *, prefix: str) -> None:
    command = [supervise.nginx_binary(settings), "-t", "-q", "-e", "stderr", "-p", prefix, "-c", str(main)]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if result.returncode:
        raise UsageError(f"nginx refuses it: {printable(' '.join(result.stderr.split()))}")
