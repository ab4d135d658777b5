"""All derived tables anew from the journal, in a file beside the old one, which it then replaces."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from receiver.errors import DamagedError, StoreError
from receiver.store.sqlite import derived_file
from receiver.store.sqlite.compare import difference
from receiver.store.sqlite.connection import Synchronous
from receiver.store.sqlite.derived_db import DerivedDb
from receiver.store.sqlite.paths import StoreFiles
from receiver.store.sqlite.reading import Rules
from receiver.store.sqlite.source import JournalSource

BATCH_ROWS: Final = 5000


class StoppedError(StoreError):
    """A rebuild was told to stop; the old tables are as they were."""

    reason = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild found.

    Attributes:
        rows: journal rows folded.
        differences: tables in which the old file said something else; None when there was no old file to compare.
        is_same_rules: the old tables were computed by the same rules, so that differences are an error.
    """

    rows: int
    differences: tuple[str, ...] | None
    is_same_rules: bool


def _differences(files: StoreFiles) -> tuple[str, ...] | None:
    try:
        return tuple(difference(files.derived, files.rebuilt))
    except DamagedError:  # which is why somebody rebuilds
        return None


@contextmanager
def folding(files: StoreFiles, rules: Rules) -> Iterator[tuple[JournalSource, DerivedDb]]:
    """The journal and the tables it is folded into. Under the projector's lock.

    Raises:
        StoreError: either cannot be opened, or the tables were computed by other rules.
    """
    with JournalSource.open(files.journal) as source, DerivedDb.open(files.derived, source, rules) as derived:
        yield source, derived


def needs_rebuild(files: StoreFiles, rules: Rules) -> bool:
    """Whether other rules computed the derived tables, or they are so far behind that a rebuild is the short way."""
    present = derived_file.present(files.derived)
    if present is None:
        return True
    if present.cursor:
        return present.rules != rules.fingerprint()
    with JournalSource.open(files.journal) as source:
        return source.last_seq() > BATCH_ROWS


def rebuild(
    files: StoreFiles,
    rules: Rules,
    *,
    on_progress: Callable[[int, int], None],
    is_stopping: Callable[[], bool] = lambda: False,
) -> Rebuilt:
    """Compute the derived tables anew, up to where the old ones are. Only under the projector's lock.

    `on_progress` is told how many rows are folded, and of how many.

    Raises:
        StoppedError: it was told to stop.
        StoreError: the journal cannot be read, or the new file not be written or put in place.
    """
    derived_file.finish_replacement(files)
    with JournalSource.open(files.journal) as source:
        old = derived_file.present(files.derived)
        if old and not old.cursor:
            old = None
        upto = old.cursor if old else source.last_seq()
        count = source.count(upto=upto)
        with DerivedDb.open(files.rebuilt, source, rules, synchronous=Synchronous.OFF) as new:
            new.expect(upto=upto, version=old.version if old else 0)
            done = 0
            while rows := source.after(new.cursor, limit=BATCH_ROWS, upto=upto):
                if is_stopping():
                    raise StoppedError("the rebuild was told to stop")
                new.apply(rows)
                done += len(rows)
                on_progress(done, count)
    differences = _differences(files) if old else None
    derived_file.complete(files)
    return Rebuilt(rows=done, differences=differences, is_same_rules=bool(old and old.rules == rules.fingerprint()))
