"""Which callback addresses exist, and whether a request names one. Knows paths and key hashes, nothing of HTTP."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from receiver.errors import UnknownTargetError

_APP_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WITHOUT_KEY: Final = 4
_WITH_KEY: Final = 5


@dataclass(frozen=True, slots=True)
class Target:
    """Where a callback was posted: the carrier, the operator's name for the sending application, the URL key if any."""

    carrier: str
    app: str
    key: str | None


def parse(raw_path: str) -> Target | None:
    """Read `/callbacks/{carrier}/{app}[/{key}]`; any other path is None. A query string is no part of the address."""
    segments = raw_path.partition("?")[0].split("/")
    if segments[:2] != ["", "callbacks"] or len(segments) not in {_WITHOUT_KEY, _WITH_KEY} or not all(segments[2:]):
        return None
    return Target(segments[2], segments[3], segments[4] if len(segments) == _WITH_KEY else None)


@dataclass(frozen=True, slots=True)
class Declared:
    """The declared applications: (carrier, app) to the SHA-256 (hexadecimal) of its valid keys, two during rotation.

    Attributes:
        is_required: production; else any well-formed application name is accepted, and no key is asked for.
    """

    apps: Mapping[tuple[str, str], tuple[str, ...]]
    is_required: bool

    def check(self, target: Target) -> None:
        """Accept a target of a known carrier.

        Raises:
            UnknownTargetError: no such application, or its key is missing or wrong.
        """
        if not self.is_required:
            if not _APP_NAME.fullmatch(target.app):
                raise UnknownTargetError("app")
            return
        hashes = self.apps.get((target.carrier, target.app))
        if hashes is None:
            raise UnknownTargetError("app")
        if target.key is None:
            raise UnknownTargetError("key_missing")
        # Hashed first, so that the time of a comparison tells nothing about how much of a key is right.
        given = hashlib.sha256(target.key.encode()).hexdigest()
        if not any(hmac.compare_digest(given, each) for each in hashes):
            raise UnknownTargetError("key_wrong")
