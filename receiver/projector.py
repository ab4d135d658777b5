"""The process that folds the journal into the derived tables, as fast as it comes and no faster than ingest allows.

It ends with its parent. Whatever it does not expect ends it with an error, which the server must not survive quietly.
"""

import gc
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from receiver.board import Board
from receiver.carriers import PROFILES
from receiver.config import Settings
from receiver.errors import DiskFullError, StoreError
from receiver.home import Home
from receiver.model import MICROSECONDS, CallKind
from receiver.store.sqlite import Rebuilt, Rules, StoppedError, StoreFiles, folding, locked, needs_rebuild, rebuild
from receiver.store.sqlite.derived_db import DerivedDb
from receiver.store.sqlite.source import JournalSource

log = logging.getLogger(__name__)

BATCH_ROWS: Final = 1000
MAX_LAG_SECONDS: Final = 1.5
"""While ingest is busy, folding waits until its oldest row is this old: figures are promised within 2 s."""

_YIELD_SECONDS: Final = 0.005
# A wake-up can be missed when both sides act in the same instant; then the row waits this long.
_SLEEP_SECONDS: Final = 0.25
_FULL_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 10.0
_KEY_BYTES: Final = 32
_WAKE_BYTES: Final = 65_536
# Folding makes many small values and no cycles: looking for cycles took a seventh of its time.
_GC_THRESHOLDS: Final = (100_000, 20, 50)

Say = Callable[[Mapping[str, Any]], None]
"""Tells the parent something, as one JSON object."""


def rules_of(settings: Settings, home: Home) -> Rules:
    """What the derived tables of a home depend on beside its journal.

    Raises:
        StoreError: the key of the callee hash is missing or damaged.
    """
    try:
        key = home.callee_key.read_bytes()
    except OSError as exc:
        raise StoreError(f"{home.callee_key}: {exc.strerror}; receiver init makes it") from exc
    if len(key) != _KEY_BYTES:
        raise StoreError(f"{home.callee_key}: must hold {_KEY_BYTES} bytes, holds {len(key)}")
    return Rules(
        profiles={name: PROFILES[carrier.profile] for name, carrier in settings.carriers.items()},
        zone=ZoneInfo(settings.statistics.zone),
        short_seconds={
            CallKind.CODE: settings.statistics.short_code_seconds,
            CallKind.PROMPT: settings.statistics.short_prompt_seconds,
        },
        callee_key=key,
    )


class Projector:
    """Folds until it is told to stop or its parent is gone.

    Attributes:
        wake: the end of a pipe in which the parent writes when there is work; its end means that the parent is gone.
    """

    def __init__(self, files: StoreFiles, rules: Rules, *, board: Board, wake: int, say: Say) -> None:
        self._files = files
        self._rules = rules
        self._board = board
        self._wake = wake
        self._say = say
        self._is_stopping = False
        self._is_full = False
        os.set_blocking(wake, False)

    def stop(self) -> None:
        """End after the batch at hand. From a signal handler."""
        self._is_stopping = True

    def run(self, *, is_rebuild: bool) -> None:
        """Fold, after a rebuild if one is asked for or needed.

        Raises:
            StoreError: the store cannot be read or written.
        """
        gc.set_threshold(*_GC_THRESHOLDS)
        with locked(self._files.projector_lock, patience_seconds=_PATIENCE_SECONDS):
            if is_rebuild or needs_rebuild(self._files, self._rules):
                self._rebuild()
            with folding(self._files, self._rules) as (source, derived):
                while not self._has_to_stop():
                    self._turn(source, derived)

    def _rebuild(self) -> None:
        log.info("rebuilding the derived tables")

        def tell(done: int, rows: int) -> None:
            self._say({"rebuilding": {"done": done, "rows": rows}})

        rebuilt = rebuild(self._files, self._rules, on_progress=tell, is_stopping=self._has_to_stop)
        log.info("rebuilt the derived tables", extra={"rows": rebuilt.rows})
        self._say({"rebuilt": as_json(rebuilt)})

    def _turn(self, source: JournalSource, derived: DerivedDb) -> None:
        arrival_us = source.arrival_after(derived.cursor)
        if arrival_us is None:
            self._sleep(source, derived)
        elif self._board.depth and time.time() - arrival_us / MICROSECONDS < MAX_LAG_SECONDS:
            time.sleep(_YIELD_SECONDS)
        else:
            self._fold(source, derived)

    def _fold(self, source: JournalSource, derived: DerivedDb) -> None:
        try:
            derived.apply(source.after(derived.cursor, limit=BATCH_ROWS))
        except DiskFullError as exc:
            # Nobody's figures are worth the server's life: it refuses callbacks, and goes on once there is room.
            if not self._is_full:
                log.warning("the figures stand still", extra={"reason": exc.reason, "detail": str(exc)})
            self._is_full = True
            time.sleep(_FULL_SECONDS)
        else:
            self._is_full = False

    def _sleep(self, source: JournalSource, derived: DerivedDb) -> None:
        self._board.is_waiting = True
        # Looked at again, now that the parent knows that it has to wake us.
        if source.arrival_after(derived.cursor) is None:
            select.select([self._wake], [], [], _SLEEP_SECONDS)
        self._board.is_waiting = False

    def _has_to_stop(self) -> bool:
        try:
            if os.read(self._wake, _WAKE_BYTES) == b"":
                self._is_stopping = True
        except BlockingIOError:
            pass
        return self._is_stopping


def as_json(rebuilt: Rebuilt) -> dict[str, Any]:
    """What a rebuild found, as plain values."""
    differences = None if rebuilt.differences is None else list(rebuilt.differences)
    return {"rows": rebuilt.rows, "differences": differences, "is_same_rules": rebuilt.is_same_rules}


def main(projector: Projector, *, is_rebuild: bool) -> int:
    """Run as a child process: fold until the parent is gone or sends SIGTERM; the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: projector.stop())
    # Ctrl-C reaches the whole group; the parent decides when we end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        projector.run(is_rebuild=is_rebuild)
    except StoppedError:
        return 0
    except StoreError as exc:
        log.critical("the projector cannot go on", extra={"reason": exc.reason, "detail": str(exc)})
        return 1
    except Exception:
        log.critical("the projector failed", exc_info=True)
        return 1
    return 0
