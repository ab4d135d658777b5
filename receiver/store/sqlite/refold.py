"""Decisions into the tables: the calls they touch are folded anew from the deliveries that still count."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import orjson

from receiver import calls
from receiver.model import MICROSECONDS, Call, DecisionKind
from receiver.store.sqlite.call_table import CallKey, CallState
from receiver.store.sqlite.fold import Fold
from receiver.store.sqlite.reading import Reading, read
from receiver.store.sqlite.source import JournalRow, JournalSource
from receiver.store.standing import Decisions, Numbered, Standing

_CHUNK: Final = 500

_LINKS: Final = """
select call_id, digest, received_us, seq, is_counted
from json_each(?) as wanted
cross join call_delivery on call_id = wanted.value
"""
_LINK: Final = """
insert into call_delivery (call_id, digest, received_us, seq, is_counted) values (?, ?, ?, ?, ?)
"""
_UNLINK: Final = "delete from call_delivery where call_id = ? and digest = ? and received_us = ? and seq = ?"
_IS_LINKED: Final = """
select 1 from call_delivery where call_id = ? and digest = ? and received_us = ? and seq = ?
"""
_DROP_FOLD_ERROR: Final = "delete from fold_error where seq = ?"


class _Link(NamedTuple):
    call_id: int
    digest: int
    received_us: int
    seq: int
    is_counted: int


_Links: TypeAlias = dict[int, set[_Link]]


def decide(fold: Fold, source: JournalSource, decision: Numbered, *, known: Decisions) -> Decisions:
    """Apply a decision to the deliveries that were folded before it; all decisions from now on."""
    then = known.and_also(decision)
    seqs = source.selected(decision.decision.selection, upto=decision.seq)
    for rows in _chunks(source, seqs):
        if decision.decision.kind is DecisionKind.REDECODE:
            _read_again(fold, source, [row for row in rows if then.standing(row) is Standing.COUNTED])
        else:
            _move(fold, source, [(row, known.standing(row), then.standing(row)) for row in rows])
    return then


def _chunks(source: JournalSource, seqs: Sequence[int]) -> Iterator[list[JournalRow]]:
    for start in range(0, len(seqs), _CHUNK):
        yield source.by_seqs(seqs[start : start + _CHUNK])


def _move(fold: Fold, source: JournalSource, rows: Iterable[tuple[JournalRow, Standing, Standing]]) -> None:
    """Let deliveries count for something else than before."""
    gone: list[Reading] = []
    come: list[Reading] = []
    for row, old, new in rows:
        if old is new:
            continue
        reading = read(row, fold.rules)
        fold.arrive(reading, old, -1)
        fold.arrive(reading, new, 1)
        if old is Standing.COUNTED:
            gone.append(reading)
        elif new is Standing.COUNTED:
            come.append(reading)
    _relink(fold, source, gone=gone, come=come)


def _read_again(fold: Fold, source: JournalSource, rows: Iterable[JournalRow]) -> None:
    """Fold rows that said nothing so far and can be read now.

    Whatever else a changed decoder reads differently is the matter of a rebuild: see `derived_tables.VERSION`.
    """
    come: list[Reading] = []
    for reading in [read(row, fold.rules) for row in rows]:
        if not reading.calls:
            continue
        states = fold.table.load(reading.calls)
        keys = [(states[key].id, reading.digest, reading.row.received_us, reading.row.seq) for key in reading.calls]
        if any(fold.connection.execute(_IS_LINKED, key).fetchone() for key in keys):
            continue
        was_error = fold.connection.execute(_DROP_FOLD_ERROR, (reading.row.seq,)).rowcount
        fold.rollups.arrive(reading.source, reading.received_at, unknown_kind=0 if was_error else -1)
        if reading.lag_seconds is not None:
            fold.rollups.lag(reading.source, reading.received_at, seconds=reading.lag_seconds, sign=1)
        come.append(reading)
    _relink(fold, source, gone=[], come=come)


def _relink(fold: Fold, source: JournalSource, *, gone: Sequence[Reading], come: Sequence[Reading]) -> None:
    """Take deliveries away from their calls and give others to theirs, then fold these calls from what they have."""
    fold.connection.executemany(_DROP_FOLD_ERROR, [(each.row.seq,) for each in gone if each.problem is not None])
    states = fold.table.load([key for reading in (*gone, *come) for key in reading.calls])
    links = _links_of(fold, states.values())
    before = {call_id: _repetitions(each) for call_id, each in links.items()}
    lost, won = _links(gone, states), _links(come, states)
    for link in lost:
        links[link.call_id].remove(link)
    for link in won:
        links[link.call_id].add(link)
    fold.connection.executemany(_UNLINK, [link[:4] for link in lost])
    fold.connection.executemany(_LINK, won)
    for key, state in states.items():
        _refold(fold, source, key, state, links[state.id])
        _count_repetitions(fold, key, state, before[state.id], _repetitions(links[state.id]))
    fold.write(states.values())


def _links_of(fold: Fold, states: Iterable[CallState]) -> _Links:
    links: _Links = {state.id: set() for state in states}
    for row in fold.connection.execute(_LINKS, (orjson.dumps(list(links)).decode(),)):
        links[row[0]].add(_Link._make(row))
    return links


def _links(readings: Iterable[Reading], states: Mapping[CallKey, CallState]) -> list[_Link]:
    return [
        _Link(
            states[key].id,
            reading.digest,
            reading.row.received_us,
            reading.row.seq,
            int(position == 0 and reading.is_repeatable),
        )
        for reading in readings
        for position, key in enumerate(reading.calls)
    ]


def _refold(fold: Fold, source: JournalSource, key: CallKey, state: CallState, links: set[_Link]) -> None:
    call: Call | None = None
    for rows in _chunks(source, sorted([link.seq for link in links])):
        for row in rows:
            said = read(row, fold.rules).calls[key]
            call = said if call is None else calls.merge(call, said)
    state.call = call
    state.deliveries = len(links)


def _repetitions(links: Iterable[_Link]) -> list[int]:
    """The arrivals of all deliveries of a call that are duplicates: all but the earliest of each byte-equal group."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for link in links:
        if link.is_counted:
            groups[link.digest].append(link.received_us)
    return [received_us for group in groups.values() for received_us in sorted(group)[1:]]


def _count_repetitions(fold: Fold, key: CallKey, state: CallState, before: list[int], after: list[int]) -> None:
    carrier, app, _ = key
    for received_us in before:
        fold.rollups.arrive((carrier, app), received_us // MICROSECONDS, duplicates=-1)
    for received_us in after:
        fold.rollups.arrive((carrier, app), received_us // MICROSECONDS, duplicates=1)
    state.duplicates = len(after)
