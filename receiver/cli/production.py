"""What a production home refuses, whatever command meets it. Makes and changes nothing."""

import os
from pathlib import Path

from receiver import nginx_files
from receiver.errors import CertificateError, UsageError
from receiver.home import Home
from receiver.pki.development import is_development
from receiver.trust import pem


def refuse_root() -> None:
    """Refuse to work as root: what it made would be out of the receiver's reach, and a fault in it would own the host.

    Raises:
        UsageError: this is root.
    """
    if os.geteuid() == 0:
        raise UsageError("a production home is not for root; do it as the receiver's own user: sudo -u receiver ...")


def refuse_work_tree(home: Home) -> None:
    """Refuse a home that one careless `git add` would publish, keys and numbers and all.

    Raises:
        UsageError: the home, or a directory above it, is a git work tree.
    """
    root = home.root.resolve()
    for directory in (root, *root.parents):
        if (directory / ".git").exists():
            raise UsageError(f"{home.root} lies in the git work tree {directory}; a production home must not")


def refuse_development_server(home: Home) -> None:
    """Refuse a server certificate that exists only for development.

    Raises:
        UsageError: nginx would present one.
        CertificateError: the server certificate cannot be read.
    """
    path = nginx_files.production_paths(home).server_certificate
    try:
        found = pem.certificates(path.read_bytes())
    except FileNotFoundError:
        # Not installed yet: nginx says so, and `certs check`.
        return
    except OSError as exc:
        raise CertificateError(f"{path}: cannot be read: {exc.strerror}") from None
    except CertificateError as exc:
        raise CertificateError(f"{path}: {exc}") from None
    if any(is_development(one) for one in found):
        raise UsageError(f"{path}: is of a development PKI, and this is a production home")


def deploy_directory() -> Path:
    """Where the units and the other files for a production host lie; they come with the package."""
    return Path(nginx_files.__file__).parent / "deploy"
