"""Refusals, counted by carrier and reason and logged without ever flooding the log. Knows no HTTP."""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Final, TypeAlias

log = logging.getLogger(__name__)

NO_CARRIER: Final = "unknown"
"""The carrier of a refusal that came before any carrier was known."""

_LINES_PER_TICK: Final = 5

Count: TypeAlias = Mapping[tuple[str, str], int]
"""How many refusals by (carrier, reason)."""


class Refusals:
    """Counts every refusal; logs the first few of each reason between two ticks, and the rest as one number."""

    def __init__(self) -> None:
        self._unsaved: Counter[tuple[str, str]] = Counter()
        self._lines: Counter[tuple[str, str]] = Counter()

    def add(self, carrier: str, reason: str, *, error: BaseException | None = None, **facts: object) -> None:
        """Count one refusal and log its facts, which never hold a body, a key or a number.

        `error` is one that nobody foresaw: it is logged with its traceback.
        """
        key = (carrier, reason)
        self._unsaved[key] += 1
        self._lines[key] += 1
        if self._lines[key] <= _LINES_PER_TICK:
            level = logging.ERROR if error else logging.WARNING
            log.log(level, "callback refused", exc_info=error, extra={"carrier": carrier, "reason": reason, **facts})

    def tick(self) -> None:
        """Say how many lines were left out since the last tick, and start anew."""
        for (carrier, reason), count in self._lines.items():
            if count > _LINES_PER_TICK:
                extra = {"carrier": carrier, "reason": reason, "left_out": count - _LINES_PER_TICK}
                log.warning("callbacks refused", extra=extra)
        self._lines.clear()

    def take(self) -> dict[tuple[str, str], int]:
        """Take what was counted since the last call, to be saved."""
        taken = dict(self._unsaved)
        self._unsaved.clear()
        return taken

    def put_back(self, counts: Count) -> None:
        """Return what could not be saved; the next `take` gives it again."""
        self._unsaved.update(counts)
