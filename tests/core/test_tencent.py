"""Tencent's bodies: what each kind says, what is refused, and what is answered."""

import json
from typing import Any

import pytest
from bodies import CALL_ID, REMOVED, callbacks, encoded, failure, key_press, report
from hypothesis import given
from hypothesis import strategies as st

from receiver.carriers import PROFILES, tencent
from receiver.errors import UndecodableError
from receiver.model import CallFailure, CallKind, CallReport, Decoded, Event, KeyPress, Outcome, Parties

PARTIES = Parties(callee="8613812345678", nationcode="86", caller="075583763333")


def decoded(document: object) -> Event:
    """The only event of a document."""
    (event,) = tencent.decode(encoded(document)).events
    return event


def refused(body: bytes) -> UndecodableError:
    with pytest.raises(UndecodableError) as refusal:
        tencent.decode(body)
    return refusal.value


@pytest.mark.parametrize(
    ("kind", "call_kind"), [("voicecode_callback", CallKind.CODE), ("voiceprompt_callback", CallKind.PROMPT)]
)
def test_status_callback_is_read_in_full(kind: str, call_kind: CallKind) -> None:
    assert tencent.decode(encoded(report(kind))) == Decoded(
        kind=kind,
        events=(
            CallReport(
                call_id=CALL_ID,
                parties=PARTIES,
                kind=call_kind,
                result=0,
                started_at=1470196821,
                answered_at=1470196835,
                ended_at=1470196843,
                billed_minutes=1,
            ),
        ),
    )


def test_failure_callback_is_read_in_full() -> None:
    assert tencent.decode(encoded(failure())) == Decoded(
        kind="voice_failure_callback",
        events=(CallFailure(call_id=CALL_ID, parties=PARTIES, failure_code=8, failure_reason="空号"),),
    )


def test_key_callback_is_read_in_full() -> None:
    assert tencent.decode(encoded(key_press())) == Decoded(
        kind="voicekey_callback", events=(KeyPress(call_id=CALL_ID, parties=PARTIES, digit="2"),)
    )


def test_masked_body_seen_in_public_code_is_read() -> None:
    """The one real body known, with its own order of fields and its masked callee."""
    body = (
        '{"voice_failure_callback":{"callid":"0bd403fe-ffd6-11eb-935a-5254002ab735","failure_code":11,'
        '"failure_reason":"其他","call_from":"089831335739","mobile":"186xxxxxxxx","nationcode":"86"}}'
    )

    assert tencent.decode(body.encode()).events == (
        CallFailure(
            call_id="0bd403fe-ffd6-11eb-935a-5254002ab735",
            parties=Parties(callee="86186xxxxxxxx", nationcode="86", caller="089831335739"),
            failure_code=11,
            failure_reason="其他",
        ),
    )


@given(order=st.permutations(list(report()["voiceprompt_callback"].items())))
def test_order_of_fields_is_free(order: list[tuple[str, Any]]) -> None:
    assert decoded({"voiceprompt_callback": dict(order)}) == decoded(report())


def test_byte_order_mark_white_space_and_extra_fields_are_accepted() -> None:
    document = {"ext": {"deep": [1]}} | report(ext="session", nested={"a": None})

    assert tencent.decode(b"\xef\xbb\xbf \r\n" + encoded(document) + b"\n") == tencent.decode(encoded(report()))


def test_of_duplicate_names_the_last_counts() -> None:
    body = b'{"voice_failure_callback":{"callid":"a","failure_code":1,"callid":"b","failure_code":2}}'

    (event,) = tencent.decode(body).events

    assert event == CallFailure(call_id="b", parties=Parties(), failure_code=2)


def test_several_kinds_in_one_body_are_all_read() -> None:
    two = tencent.decode(encoded(report() | failure(callid="other")))

    assert two.kind == "voice_failure_callback,voiceprompt_callback"
    assert two.events == (decoded(failure(callid="other")), decoded(report()))


def test_one_unusable_kind_spoils_the_whole_body() -> None:
    """All or none: a half-read body would hide the other half."""
    refusal = refused(encoded(report() | failure(callid="")))

    assert str(refusal) == "voice_failure_callback.callid: empty"


@pytest.mark.parametrize("document", [{}, {"voice_unheard_of": {"callid": "a"}}, {"callid": "a"}])
def test_object_without_known_key_is_of_unknown_kind(document: dict[str, Any]) -> None:
    unknown = tencent.decode(encoded(document))

    assert unknown == Decoded(kind="unknown")
    assert unknown.is_unknown


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a", "a"),
        ("  a b\t", "a b"),
        (17, "17"),
        (2**64 - 1, str(2**64 - 1)),
        (-3, "-3"),
        ("x" * 128, "x" * 128),
        (" " + "x" * 128 + " ", "x" * 128),
        ("\U0001f600" * 128, "\U0001f600" * 128),
    ],
)
def test_usable_call_id(written: object, read: str) -> None:
    assert decoded(key_press(callid=written)).call_id == read


@pytest.mark.parametrize(
    ("callid", "problem"),
    [
        (REMOVED, "missing"),
        (None, "missing"),
        ("", "empty"),
        (" \t", "empty"),
        ("x" * 129, "longer than 128 characters"),
        (True, "neither a string nor an integer of 64 bit"),
        (1.0, "neither a string nor an integer of 64 bit"),
        (10**30, "neither a string nor an integer of 64 bit"),
        (10**400, "neither a string nor an integer of 64 bit"),
        ([], "neither a string nor an integer of 64 bit"),
        ({}, "neither a string nor an integer of 64 bit"),
    ],
)
@pytest.mark.parametrize("build", [report, failure, key_press])
def test_unusable_call_id_is_named(build: Any, callid: object, problem: str) -> None:
    document = build(callid=callid)
    (kind,) = document

    assert str(refused(encoded(document))) == f"{kind}.callid: {problem}"


@pytest.mark.parametrize("value", [None, [], "{}", 1, True])
def test_known_kind_must_be_an_object(value: object) -> None:
    assert str(refused(encoded({"voicekey_callback": value}))) == "voicekey_callback: not an object"


def refusal_of(body: bytes) -> UndecodableError | None:
    try:
        tencent.decode(body)
    except UndecodableError as exc:
        return exc
    return None


@given(body=st.binary(max_size=200))
def test_decoder_refuses_or_reads_any_bytes(body: bytes) -> None:
    """Whatever comes, the decoder answers; an offset lies within the body."""
    refusal = refusal_of(body)

    assert refusal is None or refusal.offset is None or 0 <= refusal.offset <= len(body)


@given(document=callbacks, cut=st.integers(0, 400), junk=st.binary(max_size=3))
def test_refusals_never_quote_the_body(document: dict[str, Any], cut: int, junk: bytes) -> None:
    body = encoded(document)

    message = str(refusal_of(body[:cut] + junk + body[cut:]))

    assert all(secret not in message for secret in ("1381234", "0755837", "0898313", CALL_ID[:6], "空号"))


def test_answers_have_the_documented_shape() -> None:
    assert tencent.answer(None) == b'{"result":0,"errmsg":"OK"}'
    assert json.loads(tencent.answer('a "quoted" 问题')) == {"result": 1, "errmsg": 'a "quoted" 问题'}


def test_failure_codes_have_the_contracts_outcomes() -> None:
    """Contract, section 5, word for word."""
    table = """1 powered_off · 2 user_busy · 3 out_of_coverage · 4 suspended · 5 no_answer · 6 unavailable ·
        7 suspended · 8 invalid_number · 9 network_busy · 10 user_busy · 11 other · 12 carrier_limited · 13 suspended ·
        15 invalid_number · 16 forwarded · 17 invalid_number · 18 network_busy · 19 barred · 20 no_answer ·
        22 network_busy · 23 invalid_number · 24 invalid_number · 25 forwarded · 26 forwarded · 27 unavailable ·
        28 forwarded · 29 forwarded · 30 invalid_number · 31 invalid_number"""
    pairs = [row.split() for row in table.split("·")]

    assert {int(code): Outcome(outcome) for code, outcome in pairs} == tencent.FAILURE_OUTCOMES


def test_reportable_outcomes_are_the_final_ones_but_rejected() -> None:
    final = set(Outcome) - {Outcome.PENDING, Outcome.LOST}

    assert set(PROFILES["tencent"].outcomes) == final - {Outcome.REJECTED}
    assert set(tencent.FAILURE_OUTCOMES.values()) <= set(tencent.OUTCOMES)
    assert tencent.FAILURE_TEXTS.keys() == tencent.FAILURE_OUTCOMES.keys()
