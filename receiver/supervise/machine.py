"""What this machine offers: nginx's program and user, how many files may be open. Changes nothing but our own limit."""

import grp
import os
import pwd
import resource
import shutil
from dataclasses import dataclass
from typing import Final

from receiver.config import Settings
from receiver.errors import SettingsError, UsageError

_MOST_OPEN_FILES: Final = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxUser:
    """Whom nginx's workers run as, when its master is root."""

    name: str
    gid: int


def nginx_user(settings: Settings) -> NginxUser | None:
    """The user for nginx's workers; None when we are not root, and nginx simply stays who we are.

    Raises:
        SettingsError: there is no such user.
    """
    if os.geteuid() != 0:
        return None
    name = settings.nginx.user
    try:
        pwd.getpwnam(name)
        # nginx takes the group of the same name.
        return NginxUser(name=name, gid=grp.getgrnam(name).gr_gid)
    except KeyError:
        raise SettingsError(f"nginx.user = {name!r}: this machine has no such user and group") from None


def nginx_binary(settings: Settings) -> str:
    """The program.

    Raises:
        UsageError: it is not installed.
    """
    # /usr/sbin is not on an ordinary user's path.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    binary = shutil.which(settings.nginx.binary, path=path)
    if binary is None:
        raise UsageError(f"{settings.nginx.binary} is not installed; run: sudo apt-get install nginx-light")
    return binary


def raise_open_files() -> int:
    """Allow this process and its children as many open files as it may have; the answer is how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
