"""The fields of Tencent's bodies: each is read in every form it may take, or left out and noted."""

import json
from typing import Any

import pytest
from bodies import REMOVED, encoded, failure, key_press, report
from hypothesis import given
from hypothesis import strategies as st

from receiver.carriers import tencent
from receiver.model import Anomaly, CallFailure, CallReport, Event, KeyPress

UNREADABLE = Anomaly.NUMBER_UNREADABLE
OUT_OF_RANGE = Anomaly.NUMBER_OUT_OF_RANGE


def decoded(document: object) -> Event:
    """The only event of a document."""
    (event,) = tencent.decode(encoded(document)).events
    return event


def decoded_report(**changes: Any) -> CallReport:
    event = decoded(report(**changes))
    assert isinstance(event, CallReport)
    return event


def decoded_failure(**changes: Any) -> CallFailure:
    event = decoded(failure(**changes))
    assert isinstance(event, CallFailure)
    return event


@pytest.mark.parametrize(
    ("written", "read", "anomalies"),
    [
        ("0", 0, ()),
        (" 1 ", 1, ()),
        (2, 2, ()),
        (0.0, 0, ()),
        ("+1", 1, ()),
        ("-1", -1, ()),
        ("0" * 40 + "2", 2, ()),
        (7, 7, ()),
        (2**63 - 1, 2**63 - 1, ()),
        (str(-(2**63)), -(2**63), ()),
        ("", None, ()),
        (" ", None, ()),
        (None, None, ()),
        (REMOVED, None, ()),
        (2**63, None, (OUT_OF_RANGE,)),
        (str(2**63), None, (OUT_OF_RANGE,)),
        (10**30, None, (OUT_OF_RANGE,)),
        ("-" + "9" * 5000, None, (OUT_OF_RANGE,)),
        (1e300, None, (OUT_OF_RANGE,)),
        ("abc", -1, (UNREADABLE,)),
        ("1.0", -1, (UNREADABLE,)),
        ("1_0", -1, (UNREADABLE,)),
        ("\N{FULLWIDTH DIGIT ONE}", -1, (UNREADABLE,)),
        (0.5, -1, (UNREADABLE,)),
        (False, -1, (UNREADABLE,)),
        ([0], -1, (UNREADABLE,)),
        ({}, -1, (UNREADABLE,)),
    ],
)
def test_result_is_read_tolerantly(written: object, read: int | None, anomalies: tuple[Anomaly, ...]) -> None:
    """What is there and is no number is a result other than 0, 1 and 2; what is too big is missing."""
    event = decoded_report(result=written)

    assert (event.result, event.anomalies) == (read, anomalies)


@pytest.mark.parametrize("digits", [31, 308, 309, 400, 6000])
def test_huge_json_integers_count_as_missing(digits: int) -> None:
    """JSON sets no bound to a number, so none makes a body unreadable."""
    body = encoded(report()).replace(b'"fee": "1"', b'"fee": ' + b"9" * digits)

    (event,) = tencent.decode(body).events

    assert isinstance(event, CallReport)
    assert (event.billed_minutes, event.anomalies) == (None, (OUT_OF_RANGE,))
    assert event.result == 0


def test_texts_that_look_like_huge_numbers_survive_the_second_reading() -> None:
    event = decoded_failure(failure_reason='1e999 \\"9e999\\" ' + "9" * 60, spare="\x00")
    body = encoded(failure(failure_reason='1e999 \\"9e999\\" ' + "9" * 60)).replace(b": 8", b": -8e999")

    (again,) = tencent.decode(body).events

    assert isinstance(again, CallFailure)
    assert again.failure_reason == event.failure_reason
    assert (again.failure_code, again.anomalies) == (None, (OUT_OF_RANGE,))


@pytest.mark.parametrize(
    ("written", "read", "anomalies"),
    [
        ("8", 8, ()),
        (99, 99, ()),
        (None, None, ()),
        ("abc", None, (UNREADABLE,)),
        (True, None, (UNREADABLE,)),
        (10**30, None, (OUT_OF_RANGE,)),
    ],
)
def test_failure_code_is_read_tolerantly(written: object, read: int | None, anomalies: tuple[Anomaly, ...]) -> None:
    event = decoded_failure(failure_code=written)

    assert (event.failure_code, event.anomalies) == (read, anomalies)


@pytest.mark.parametrize(
    ("written", "read", "anomalies"),
    [
        ("1470196821", 1470196821, ()),
        (1470196821, 1470196821, ()),
        (1470196821.0, 1470196821, ()),
        ("", None, ()),
        ("0", None, ()),
        (0, None, ()),
        (None, None, ()),
        (REMOVED, None, ()),
        ("-1", None, ()),
        (-(2**40), None, ()),
        (946_684_800, 946_684_800, ()),
        (4_102_444_800, 4_102_444_800, ()),
        (946_684_799, None, (Anomaly.TIME_OUT_OF_RANGE,)),
        (4_102_444_801, None, (Anomaly.TIME_OUT_OF_RANGE,)),
        ("1470196821000", None, (Anomaly.TIME_OUT_OF_RANGE,)),
        (10**30, None, (Anomaly.TIME_OUT_OF_RANGE,)),
        ("2016-08-03", None, (Anomaly.TIME_UNREADABLE,)),
        (1470196821.5, None, (Anomaly.TIME_UNREADABLE,)),
        (True, None, (Anomaly.TIME_UNREADABLE,)),
        ([], None, (Anomaly.TIME_UNREADABLE,)),
    ],
)
@pytest.mark.parametrize(
    ("field", "attribute"),
    [("start_calltime", "started_at"), ("accept_time", "answered_at"), ("end_calltime", "ended_at")],
)
def test_times_are_read_tolerantly(
    field: str, attribute: str, written: object, read: int | None, anomalies: tuple[Anomaly, ...]
) -> None:
    event = decoded_report(**{field: written})

    assert (getattr(event, attribute), event.anomalies) == (read, anomalies)


@pytest.mark.parametrize(
    ("written", "read", "anomalies"),
    [
        ("1", 1, ()),
        ("0", None, ()),
        ("", None, ()),
        ("-1", None, (OUT_OF_RANGE,)),
        (2**31 - 1, 2**31 - 1, ()),
        (2**31, None, (OUT_OF_RANGE,)),
        ("1.5", None, (UNREADABLE,)),
    ],
)
def test_billed_minutes_are_a_count(written: object, read: int | None, anomalies: tuple[Anomaly, ...]) -> None:
    event = decoded_report(fee=written)

    assert (event.billed_minutes, event.anomalies) == (read, anomalies)


@pytest.mark.parametrize(
    ("mobile", "nationcode", "callee"),
    [
        ("13812345678", "86", "8613812345678"),
        (13812345678, 86, "8613812345678"),
        (" 138 1234-5678 ", "+86", "8613812345678"),
        ("+8613812345678", "86", "8613812345678"),
        ("+86 138-1234-5678", "", "8613812345678"),
        ("008613812345678", "86", "8613812345678"),
        ("8613812345678", "86", "8613812345678"),
        ("13812345678", REMOVED, "8613812345678"),
        ("8612345678", "86", "868612345678"),
        ("8613812345678", "852", "8528613812345678"),
        ("51234567", "852", "85251234567"),
        ("13xxxxxxxxx", "86", "8613xxxxxxxxx"),
        ("+8613xxxxxxxxx", "86", "8613xxxxxxxxx"),
        ("138****8000", "86", "86138****8000"),
        ("", "86", None),
        (" - ", "86", None),
        ("+", "86", None),
        (None, "86", None),
        (REMOVED, REMOVED, None),
    ],
)
def test_callee_is_normalised_to_e164_once(mobile: object, nationcode: object, callee: str | None) -> None:
    """Joins and callee windows need one spelling, with the country code and without a plus."""
    event = decoded(key_press(mobile=mobile, nationcode=nationcode))

    assert event.parties.callee == callee
    assert event.anomalies == ()


@pytest.mark.parametrize(
    ("field", "attribute"), [("call_from", "caller"), ("mobile", "callee"), ("nationcode", "nationcode")]
)
@pytest.mark.parametrize("value", ["9" * 33, True, 1.5, [], {}, 10**30])
def test_party_that_is_no_short_text_is_left_out_and_noted(field: str, attribute: str, value: object) -> None:
    event = decoded(failure(**{field: value}))

    assert getattr(event.parties, attribute) is None
    assert event.anomalies == (Anomaly.TEXT_UNREADABLE,)


@pytest.mark.parametrize(
    ("written", "read", "anomalies"),
    [
        ("2", "2", ()),
        (2, "2", ()),
        (" *# ", "*#", ()),
        ("", None, ()),
        (None, None, ()),
        ([2], None, (Anomaly.TEXT_UNREADABLE,)),
        ("1" * 33, None, (Anomaly.TEXT_UNREADABLE,)),
    ],
)
def test_digit_is_read_tolerantly(written: object, read: str | None, anomalies: tuple[Anomaly, ...]) -> None:
    event = decoded(key_press(keypress=written))

    assert isinstance(event, KeyPress)
    assert (event.digit, event.anomalies) == (read, anomalies)


def test_long_reason_is_cut() -> None:
    assert decoded_failure(failure_reason="空" * 300).failure_reason == "空" * 256


def test_every_anomaly_of_an_event_is_noted() -> None:
    event = decoded_report(result=[], start_calltime="x", fee=-1, mobile=True)

    assert sorted(event.anomalies) == sorted(
        [UNREADABLE, Anomaly.TIME_UNREADABLE, OUT_OF_RANGE, Anomaly.TEXT_UNREADABLE]
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=6,
)
_ANY_FIELDS = st.dictionaries(
    st.sampled_from([*report()["voiceprompt_callback"], *failure()["voice_failure_callback"], "keypress"]), _JSON
)


@given(kind=st.sampled_from(["voicecode_callback", "voicekey_callback", "voice_failure_callback"]), said=_ANY_FIELDS)
def test_decoder_bears_any_field_values(kind: str, said: dict[str, Any]) -> None:
    """With a usable call id, every object of a known kind is one event, whose numbers fit into 64 bit."""
    (event,) = tencent.decode(json.dumps({kind: said | {"callid": "a"}}).encode()).events

    names = ("result", "started_at", "answered_at", "ended_at", "billed_minutes", "failure_code")
    numbers = [getattr(event, name, None) for name in names]
    assert all(number is None or -(2**63) <= number < 2**63 for number in numbers)
