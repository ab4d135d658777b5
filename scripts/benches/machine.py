"""On what a figure was measured: without that it says nothing."""

import os
import platform
import re
import sqlite3
import ssl
import subprocess
from importlib.metadata import version
from pathlib import Path

from receiver import __version__


def described(*, nginx: str) -> dict[str, str]:
    """Hardware and versions, as words."""
    kibibytes = int(_first("/proc/meminfo", r"MemTotal:\s*(\d+)"))
    return {
        "processor": _first("/proc/cpuinfo", r"model name\s*: (.+)"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{kibibytes / 1024 / 1024:.1f} GiB",
        "system": _first("/etc/os-release", r'PRETTY_NAME="(.+)"'),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "sqlite": sqlite3.sqlite_version,
        "aiohttp": version("aiohttp"),
        "nginx": _nginx_version(nginx),
        "receiver": __version__,
    }


def _first(path: str, pattern: str) -> str:
    found = re.search(pattern, Path(path).read_text("utf-8"))
    return found[1].strip() if found else "unknown"


def _nginx_version(binary: str) -> str:
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stderr
    return said.rpartition("/")[2].strip()
