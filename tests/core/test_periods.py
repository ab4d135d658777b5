"""Ranges, instants, steps and bucket edges in zones with every kind of clock change."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import QueryError
from receiver.model import Span
from receiver.statistics import periods

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = int(datetime(2026, 11, 22, 2, 0, 7, tzinfo=UTC).timestamp())

# No change; whole, half and quarter hours; changes at midnight, of half an hour; a skipped day; winter in July.
ZONES = st.sampled_from(
    [
        "UTC",
        "Asia/Shanghai",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Europe/Berlin",
        "Europe/Kyiv",
        "America/New_York",
        "America/St_Johns",
        "America/Sao_Paulo",
        "America/Havana",
        "Asia/Beirut",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
    ]
).map(ZoneInfo)
INSTANTS = st.integers(315_532_800, 2_000_000_000)


def at(text: str, zone: ZoneInfo = SHANGHAI) -> int:
    """The instant at which the zone's clocks show that for the first time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


def resolved(
    range_name: str | None = None, *, start: str | None = None, end: str | None = None, zone: ZoneInfo = SHANGHAI
) -> Span:
    return periods.resolve(range_name=range_name, start=start, end=end, zone=zone, now=NOW)


def fault(query: Callable[[], Any]) -> str:
    """The parameter that a refused query names."""
    with pytest.raises(QueryError) as refusal:
        query()
    assert str(refusal.value)
    return refusal.value.parameter


@pytest.mark.parametrize(
    ("range_name", "start", "end"),
    [
        (None, at("2026-11-22T00:00:00"), at("2026-11-23T00:00:00")),
        ("today", at("2026-11-22T00:00:00"), at("2026-11-23T00:00:00")),
        ("yesterday", at("2026-11-21T00:00:00"), at("2026-11-22T00:00:00")),
        ("1h", NOW + 1 - 3600, NOW + 1),
        ("24h", NOW + 1 - 86400, NOW + 1),
        ("7d", NOW + 1 - 7 * 86400, NOW + 1),
        ("30d", NOW + 1 - 30 * 86400, NOW + 1),
    ],
)
def test_named_ranges(range_name: str | None, start: int, end: int) -> None:
    """Days run from local midnight to local midnight; rolling ranges end with the second that has begun."""
    assert resolved(range_name) == Span(start=start, end=end)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00:00", 25),
        ("America/Sao_Paulo", "2018-11-04T12:00:00", 23),
        ("America/Sao_Paulo", "2018-02-17T12:00:00", 25),
        ("Australia/Lord_Howe", "2026-04-05T12:00:00", 24.5),
        ("Asia/Shanghai", "2026-11-22T12:00:00", 24),
    ],
)
def test_days_have_the_length_their_clocks_give_them(zone: str, day: str, hours: float) -> None:
    place = ZoneInfo(zone)
    today = periods.resolve(range_name="today", start=None, end=None, zone=place, now=at(day, place))

    assert (today.end - today.start) / 3600 == hours


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("1763776807", 1763776807),
        ("0", 0),
        ("2026-11-22T10:00:00+08:00", at("2026-11-22T10:00:00")),
        ("2026-11-22T10:00:00 08:00", at("2026-11-22T10:00:00")),
        ("2026-11-22t02:00:00z", at("2026-11-22T10:00:00")),
        ("2026-11-21 21:00:00-05:00", at("2026-11-22T10:00:00")),
        ("2026-11-22T10:00:00.000+08:00", at("2026-11-22T10:00:00")),
        ("2026-11-22T10:00:00.001+08:00", at("2026-11-22T10:00:01")),
        ("2024-11-06T16:00:00Z", at("2024-11-07T00:00:00")),
    ],
)
def test_instants_are_rfc_3339_or_unix_seconds(written: str, instant: int) -> None:
    """A fraction is rounded up, and a plus that came as a space is still a plus."""
    span = resolved(start=written, end="4102444800")

    assert span == Span(start=instant, end=4102444800)


def test_end_is_now_when_only_a_start_is_given() -> None:
    assert resolved(start="1763776807") == Span(start=1763776807, end=NOW + 1)


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"range_name": "fortnight"}, "range"),
        ({"range_name": ""}, "range"),
        ({"range_name": "today", "start": "1"}, "range"),
        ({"end": "5"}, "start"),
        ({"start": "5", "end": "5"}, "start"),
        ({"start": "6", "end": "5"}, "start"),
        ({"start": "tomorrow"}, "start"),
        ({"start": ""}, "start"),
        ({"start": "-5"}, "start"),
        ({"start": "1e9"}, "start"),
        ({"start": "2026-11-22"}, "start"),
        ({"start": "2026-11-22T10:00:00"}, "start"),
        ({"start": "2026-11-22T10:00+08:00"}, "start"),
        ({"start": "2026-13-22T10:00:00Z"}, "start"),
        ({"start": "2026-11-22T10:00:60Z"}, "start"),
        ({"start": "2026-11-22T10:00:00+99:00"}, "start"),
        ({"start": "1000-01-01T00:00:00Z"}, "start"),
        ({"start": "0001-01-01T00:00:00+14:00"}, "start"),
        ({"start": "0", "end": "9999999999"}, "end"),
        ({"start": "0", "end": "9999-12-31T23:59:59-14:00"}, "end"),
        ({"start": "0", "end": "1" * 5000}, "end"),
    ],
)
def test_unusable_range_names_its_parameter(asked: dict[str, Any], parameter: str) -> None:
    assert fault(lambda: resolved(**asked)) == parameter


@given(text=st.text(max_size=30))
def test_any_text_is_an_instant_or_a_query_error(text: str) -> None:
    try:
        span = resolved(start=text)
    except QueryError as exc:
        parameter = exc.parameter
    else:
        parameter = "start" if span.start < span.end else "none"
    assert parameter == "start"


def test_zones_are_found_by_their_iana_name() -> None:
    assert periods.zone_of("Asia/Shanghai") == SHANGHAI


@pytest.mark.parametrize("name", ["", "Mars/One", "Asia", "../etc/passwd", "/etc/passwd", "x\0", "é", "A" * 5000])
def test_unknown_zone_is_a_query_error(name: str) -> None:
    assert fault(lambda: periods.zone_of(name)) == "tz"


def test_instants_are_shown_as_local_clocks_show_them() -> None:
    assert periods.rfc_3339(NOW, SHANGHAI) == "2026-11-22T10:00:07+08:00"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("60", 60), ("5m", 300), ("1h", 3600), ("1d", 86400), ("2w", 1209600), ("7m", 420), ("24h", 86400)],
)
def test_steps(text: str, seconds: int) -> None:
    assert periods.step_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "59s", "0", "0d", "-1h", "1.5h", "1y", "25h", "90000", "1 h", "9" * 5000])
def test_unusable_step_is_a_query_error(text: str) -> None:
    assert fault(lambda: periods.step_seconds(text)) == "step"


def clocks(starts: list[int], zone: ZoneInfo) -> list[str]:
    return [datetime.fromtimestamp(start, zone).strftime("%d %H:%M") for start in starts]


def edges_of(zone: ZoneInfo, start: str, end: str, step: str) -> list[str]:
    """What the zone's clocks show at the starts of buckets."""
    span = Span(start=at(start, zone), end=at(end, zone))
    return clocks(periods.edges(span, periods.step_seconds(step), zone), zone)


def test_first_and_last_bucket_may_be_cut() -> None:
    assert edges_of(SHANGHAI, "2026-11-22T10:20:00", "2026-11-22T12:30:00", "1h") == [
        "22 10:20",
        "22 11:00",
        "22 12:00",
    ]


def test_span_that_ends_on_an_edge_has_no_bucket_there() -> None:
    assert edges_of(SHANGHAI, "2026-11-22T10:00:00", "2026-11-22T12:00:00", "1h") == ["22 10:00", "22 11:00"]


def test_step_beyond_the_calendar_is_one_bucket() -> None:
    assert edges_of(SHANGHAI, "2026-11-22T10:00:00", "2026-11-30T00:00:00", "999999999w") == ["22 10:00"]


def test_weeks_start_on_monday() -> None:
    """The 23rd and 30th of November 2026 are Mondays."""
    assert edges_of(SHANGHAI, "2026-11-18T10:00:00", "2026-12-02T00:00:00", "1w") == [
        "18 10:00",
        "23 00:00",
        "30 00:00",
    ]


def test_steps_that_do_not_divide_a_day_begin_again_at_midnight() -> None:
    shown = edges_of(SHANGHAI, "2026-11-22T12:00:00", "2026-11-23T12:00:00", "7h")

    assert shown == ["22 12:00", "22 14:00", "22 21:00", "23 00:00", "23 07:00"]


@pytest.mark.parametrize(
    ("zone", "start", "end", "step", "shown"),
    [
        # Clocks go forward at 02:00, and back at 03:00.
        ("Europe/Berlin", "2026-03-29T00:00:00", "2026-03-29T05:00:00", "1h", "00:00 01:00 03:00 04:00"),
        ("Europe/Berlin", "2026-03-29T00:00:00", "2026-03-29T05:00:00", "2h", "00:00 03:00 04:00"),
        ("Europe/Berlin", "2026-03-29T00:00:00", "2026-03-30T00:00:00", "6h", "00:00 06:00 12:00 18:00"),
        ("Europe/Berlin", "2026-10-25T00:00:00", "2026-10-25T05:00:00", "1h", "00:00 01:00 02:00 02:00 03:00 04:00"),
        ("Europe/Berlin", "2026-10-25T00:00:00", "2026-10-26T00:00:00", "6h", "00:00 06:00 12:00 18:00"),
        ("Europe/Berlin", "2026-10-25T00:00:00", "2026-10-25T07:00:00", "2h", "00:00 02:00 04:00 06:00"),
        # Back from 04:00 to 03:00: the three hours from 03:00 are four.
        ("Europe/Kyiv", "2026-10-25T00:00:00", "2026-10-25T10:00:00", "3h", "00:00 03:00 06:00 09:00"),
        # Half an hour back at 02:00, forward at 02:00.
        ("Australia/Lord_Howe", "2026-04-05T00:00:00", "2026-04-05T04:00:00", "1h", "00:00 01:00 02:00 03:00"),
        ("Australia/Lord_Howe", "2026-10-04T00:00:00", "2026-10-04T04:00:00", "1h", "00:00 01:00 02:30 03:00"),
        # Midnight skipped, and repeated.
        ("America/Sao_Paulo", "2018-11-03T22:00:00", "2018-11-04T03:00:00", "1h", "22:00 23:00 01:00 02:00"),
        ("America/Sao_Paulo", "2018-02-17T22:00:00", "2018-02-18T02:00:00", "1h", "22:00 23:00 23:00 00:00 01:00"),
        ("America/Havana", "2026-10-31T22:00:00", "2026-11-01T02:00:00", "1h", "22:00 23:00 00:00 00:00 01:00"),
    ],
)
def test_steps_follow_the_clocks_through_changes(zone: str, start: str, end: str, step: str, shown: str) -> None:
    assert [label[3:] for label in edges_of(ZoneInfo(zone), start, end, step)] == shown.split()


def test_day_without_midnight_starts_when_its_clocks_do() -> None:
    shown = edges_of(ZoneInfo("America/Sao_Paulo"), "2018-11-03T00:00:00", "2018-11-06T00:00:00", "1d")

    assert shown == ["03 00:00", "04 01:00", "05 00:00"]


def test_day_that_never_was_has_no_bucket() -> None:
    """Samoa had no 30 December 2011."""
    shown = edges_of(ZoneInfo("Pacific/Apia"), "2011-12-28T00:00:00", "2012-01-02T00:00:00", "1d")

    assert shown == ["28 00:00", "29 00:00", "31 00:00", "01 00:00"]


@given(
    start=INSTANTS,
    length=st.integers(1, 400 * 86400),
    step=st.sampled_from(["60s", "5m", "7m", "15m", "1h", "3h", "6h", "12h", "1d", "2d", "1w", "30d", "520w"]),
    zone=ZONES,
)
def test_edges_ascend_and_cover_the_span(start: int, length: int, step: str, zone: ZoneInfo) -> None:
    """First edge at the start, the rest within the span and on multiples of the step by the zone's clocks."""
    seconds = periods.step_seconds(step)
    span = Span(start=start, end=start + min(length, 2000 * seconds))

    starts = periods.edges(span, seconds, zone)

    assert starts[0] == span.start
    assert all(one < other for one, other in pairwise([*starts, span.end]))
    assert all(is_edge(each, seconds, zone) for each in starts[1:])


def is_edge(instant: int, step: int, zone: ZoneInfo) -> bool:
    """The clocks show a multiple of the step, or have just skipped one."""
    before, now = (datetime.fromtimestamp(each, zone).replace(tzinfo=None) for each in (instant - 1, instant))
    return bucket(now, step) == now or bucket(now, step) > before


def bucket(clock: datetime, step: int) -> datetime:
    """Where the step began to which a clock's time belongs, by calendar."""
    midnight = datetime.combine(clock.date(), datetime.min.time())
    if step % 86400 == 0:
        monday = datetime(1, 1, 1)  # noqa: DTZ001 -- a clock's face, in no zone
        days = step // 86400
        return monday + timedelta(days=(midnight - monday).days // days * days)
    return midnight + timedelta(seconds=(clock - midnight).seconds // step * step)


@given(start=INSTANTS, zone=ZONES, step=st.sampled_from([900, 3600, 6 * 3600, 86400, 7 * 86400]), cut=st.data())
def test_no_edge_depends_on_where_the_span_starts(start: int, zone: ZoneInfo, step: int, cut: st.DataObject) -> None:
    span = Span(start=start, end=start + 60 * step)
    later = Span(start=cut.draw(st.integers(span.start, span.end - 1)), end=span.end)

    whole = periods.edges(span, step, zone)

    assert periods.edges(later, step, zone)[1:] == [edge for edge in whole if edge > later.start]


@given(start=INSTANTS, zone=ZONES)
def test_every_midnight_is_an_edge_of_hours_and_of_days(start: int, zone: ZoneInfo) -> None:
    span = Span(start=start, end=start + 40 * 86400)
    first = datetime.fromtimestamp(start, zone).date() + timedelta(days=1)
    midnights = {starts_at(first + timedelta(days=n), zone) for n in range(39)} - {start}

    days = periods.edges(span, 86400, zone)

    assert midnights <= set(days)
    assert set(days) <= set(periods.edges(span, 3600, zone))


def starts_at(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


@pytest.mark.parametrize(("buckets", "is_allowed"), [(11_000, True), (11_001, False)])
@pytest.mark.parametrize("step", [60, 86400])
def test_buckets_are_bounded(step: int, buckets: int, is_allowed: bool) -> None:  # noqa: FBT001 -- a table's column
    span = Span(start=0, end=buckets * step)

    if is_allowed:
        assert len(periods.edges(span, step, ZoneInfo("UTC"))) == buckets
    else:
        assert fault(lambda: periods.edges(span, step, ZoneInfo("UTC"))) == "step"
