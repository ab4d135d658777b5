"""What a check finds: a level, what it is about, one sentence, the next step. Reads nothing but a file's mode."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from receiver.errors import ReceiverError

_DAY: Final = 86_400
# Of a CRL's life, from thisUpdate to nextUpdate.
_CRL_WARNING: Final = 4
_CRL_CRITICAL: Final = 10
_OTHERS: Final = 0o077


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


_WORST_FIRST: Final = (Level.CRITICAL, Level.UNKNOWN, Level.WARNING, Level.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a check; `step` is the command or the deed that mends it."""

    level: Level
    about: str
    text: str
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """How long before the end of a certificate's validity it is a warning, and critical; seconds."""

    warn: int = 30 * _DAY
    critical: int = 7 * _DAY


def worst(findings: Iterable[Finding]) -> Level:
    """The level of all of them together; unknown when there is nothing at all."""
    levels = {finding.level for finding in findings}
    return next((level for level in _WORST_FIRST if level in levels), Level.UNKNOWN)


def sorted_by_level(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first; those of one level in the order they were found."""
    return sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.level))


def of_validity(  # noqa: PLR0913 -- a period, the time, and what to say
    about: str, *, start: int, end: int, now: int, margins: Margins, step: str
) -> Finding:
    """A certificate's dates, Unix seconds; both ends belong to its validity."""
    left = end - now
    if start > now:
        return Finding(level=Level.CRITICAL, about=about, text=f"is valid only from {instant(start)}", step="see clock")
    if left < 0:
        return Finding(level=Level.CRITICAL, about=about, text=f"expired at {instant(end)}", step=step)
    text = f"ends in {left // _DAY} days, at {instant(end)}"
    if left >= margins.warn and left >= margins.critical:
        return Finding(level=Level.OK, about=about, text=text)
    level = Level.CRITICAL if left < margins.critical else Level.WARNING
    return Finding(level=level, about=about, text=text, step=step)


def of_crl_dates(about: str, *, this_update: int, next_update: int, now: int, step: str) -> Finding:
    """A CRL's dates, Unix seconds: a warning under a quarter of its life, critical under a tenth."""
    life, left = next_update - this_update, next_update - now
    if this_update > now:
        text = f"is dated in the future, {instant(this_update)}, so nothing is checked against it"
        return Finding(level=Level.CRITICAL, about=about, text=text, step="see clock")
    if left < 0:
        return Finding(level=Level.CRITICAL, about=about, text=f"expired at {instant(next_update)}", step=step)
    text = f"next update in {left // _DAY} days, at {instant(next_update)}"
    if left * _CRL_WARNING >= life:
        return Finding(level=Level.OK, about=about, text=text)
    level = Level.CRITICAL if left * _CRL_CRITICAL < life else Level.WARNING
    return Finding(level=level, about=about, text=text, step=step)


def of_mode(path: Path) -> Finding | None:
    """A private file or directory that others may enter, read or write."""
    mode = path.stat().st_mode & 0o777
    if not mode & _OTHERS:
        return None
    text, step = f"has mode {mode:04o}, so others may use it", f"chmod {mode & 0o700:o} {path}"
    return Finding(level=Level.CRITICAL, about=str(path), text=text, step=step)


def of_error(about: str, error: ReceiverError, *, step: str = "") -> Finding:
    """Something that cannot be used; only what we may not even look at is unknown."""
    text = str(error).removeprefix(f"{about}: ")
    return Finding(level=Level.UNKNOWN if _is_hidden(error) else Level.CRITICAL, about=about, text=text, step=step)


def instant(at: int) -> str:
    """Unix seconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_hidden(error: BaseException | None) -> bool:
    while error and not isinstance(error, PermissionError):
        error = error.__context__
    return error is not None
