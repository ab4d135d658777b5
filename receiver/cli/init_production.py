"""`receiver init --production`: the home of a receiver that takes a carrier's real callbacks. Installs nothing."""

import os
import re
import shlex
from typing import Final

from receiver import config
from receiver.cli import production
from receiver.cli.home_parts import make_home
from receiver.errors import UsageError
from receiver.home import Home

_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(\.{_LABEL})+")
_LONGEST_DOMAIN: Final = 253
_HTTPS_PORT: Final = 443
_EVERY_ADDRESS: Final = "*"


def production_home(home: Home, *, domain: str) -> None:
    """Make whatever a production home lacks; settings and keys that are there stay as they are.

    Raises:
        UsageError: root, a git work tree, a development home, another domain, or a domain that is none.
        SettingsError: its settings cannot be used.
    """
    production.refuse_root()
    production.refuse_work_tree(home)
    if len(domain) > _LONGEST_DOMAIN or not _DOMAIN.fullmatch(domain):
        raise UsageError(f"--domain {domain!r}: must be the name a carrier calls, such as callbacks.example.com")
    if home.settings.exists():
        _refuse_other(home, domain=domain)
    os.umask(0o077)
    server = {"domain": domain, "https_port": _HTTPS_PORT, "https_host": _EVERY_ADDRESS}
    make_home(home, mode="production", given={"server": server})
    config.load(home.root)


def _refuse_other(home: Home, *, domain: str) -> None:
    settings = config.load(home.root)
    if not settings.is_production:
        raise UsageError(f"{home.root} is a development home and stays one; choose another --home")
    if settings.server.domain != domain:
        raise UsageError(f"{home.root} is for {settings.server.domain}; to change that, edit {home.settings}")


def next_steps(home: Home, *, domain: str) -> str:
    """What is left to do, in its order."""
    place = shlex.quote(str(home.root))
    deploy = shlex.quote(str(production.deploy_directory()))
    return f"""\
{home.root} is a production home for {domain}. Next, as its user:

  1. certificate   receiver certs install-server FULLCHAIN KEY --home {place}
  2. carrier's CA  receiver trust add tencent FILE --home {place}
  3. application   receiver app add tencent NAME --home {place}
  4. nginx's site  receiver nginx --home {place}

then as root, all of it word for word in {deploy}/README.md:

  5. nginx         ln -s {place}/nginx/site.conf /etc/nginx/sites-enabled/receiver
  6. systemd       install the units, start receiver and nginx

and as its user again, to see that it works:

  7. proof         receiver certs check --home {place}
                   receiver certs reload --home {place}
"""
