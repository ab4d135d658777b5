"""How spans are cut into buckets: nothing twice, nothing left out, every bucket whole."""

from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from receiver.store.levels import HOUR, MINUTE, Calendar, Level, Piece, cover_arrivals, cover_calls, floor_after

NOW = 1_795_053_600
DAY = 86_400
WIDTHS = {Level.SECOND: 1, Level.MINUTE: MINUTE, Level.HOUR: HOUR}

# Half hours, clocks that change at midnight (Asuncion, until 2024) and by half an hour (Lord Howe).
calendars = st.sampled_from(
    [
        Calendar(ZoneInfo(name))
        for name in ("Asia/Shanghai", "Asia/Kolkata", "America/Asuncion", "Australia/Lord_Howe", "America/New_York")
    ]
)
instants = st.one_of(
    st.integers(NOW - 900 * DAY, NOW),
    st.integers(0, 900 * 24).map(lambda hours: NOW - hours * HOUR),
    st.integers(0, 900).map(lambda days: NOW - days * DAY - 18 * HOUR),
)
floors = st.integers(-900 * 24, 24).map(lambda hours: NOW + hours * HOUR)


def is_whole(piece: Piece, calendar: Calendar) -> bool:
    """Whether a piece begins and ends with buckets of its level."""
    if piece.level is None:
        return True
    if piece.level is Level.DAY:
        return all(calendar.day_of(at) == at for at in (piece.start, piece.end))
    return piece.start % WIDTHS[piece.level] == 0 == piece.end % WIDTHS[piece.level]


def are_joined(pieces: list[Piece]) -> bool:
    """Whether each piece begins where the one before ended, and none is empty."""
    return all(one.end == other.start for one, other in pairwise(pieces)) and all(p.start < p.end for p in pieces)


@given(calendars, instants, instants, floors)
@example(Calendar(ZoneInfo("Asia/Shanghai")), NOW, NOW, NOW)
def test_calls_are_covered_exactly(calendar: Calendar, one: int, other: int, floor: int) -> None:
    """The pieces are the span, in order, in whole buckets; no minute is asked for that is not kept."""
    start, end = sorted((one, other))

    pieces = cover_calls(start, end, calendar=calendar, floor=floor)

    assert are_joined(pieces)
    assert (pieces[0].start, pieces[-1].end) == (start, end) if start < end else not pieces
    assert all(is_whole(piece, calendar) for piece in pieces)
    assert all(piece.start >= floor for piece in pieces if piece.level is Level.MINUTE)
    assert all(piece.level is not Level.SECOND for piece in pieces)


@given(calendars, instants, instants, floors)
def test_arrivals_are_covered_and_widened_only_where_old(calendar: Calendar, one: int, other: int, floor: int) -> None:
    """The pieces are the span, in whole buckets; before the floor it is widened to whole hours, and no more."""
    start, end = sorted((one, other + 1))

    pieces = cover_arrivals(start, end, calendar=calendar, floor=floor)

    assert are_joined(pieces)
    assert pieces[0].start == (start if start >= floor else start - start % HOUR)
    assert pieces[-1].end == (end if end >= floor else end + -end % HOUR)
    assert all(is_whole(piece, calendar) for piece in pieces)
    fine = {Level.SECOND, Level.MINUTE}
    assert all(piece.start >= floor for piece in pieces if piece.level in fine)


@given(calendars, instants, floors)
def test_an_instant_lies_in_its_buckets(calendar: Calendar, at: int, floor: int) -> None:
    """Each bucket of an instant holds it and is whole; fine ones are kept from the floor on."""
    buckets = calendar.buckets(at, floor=floor, finest=Level.SECOND)

    assert [level for level, _ in buckets] == ([] if at < floor else [Level.SECOND, Level.MINUTE]) + [
        Level.HOUR,
        Level.DAY,
    ]
    for level, bucket in buckets:
        end = calendar.day_from(bucket + 1) if level is Level.DAY else bucket + WIDTHS[level]
        assert bucket <= at < end
        assert is_whole(Piece(level, bucket, end), calendar)


def test_fine_buckets_are_kept_for_three_days() -> None:
    """The floor lies three days before the hour of the latest arrival."""
    assert floor_after((NOW + 59 * MINUTE) * 1_000_000) == NOW - 3 * DAY
