"""The small parts of the web room, each by itself: addresses, cursors, queries, masking, throttling, logs, refusals."""

import io
import json
import logging
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from receiver import dashboard, logs
from receiver.config import Settings
from receiver.errors import QueryError, UnknownTargetError
from receiver.model import Outcome, Role, Span
from receiver.statistics import definitions
from receiver.statistics.rates import StatisticalVerdict
from receiver.web import cursor
from receiver.web.audit_socket import AuditSocket
from receiver.web.auth import Caller
from receiver.web.numbers import masked
from receiver.web.query import Query, take_scope
from receiver.web.refusals import NO_CARRIER, Refusals
from receiver.web.signin import Throttle
from receiver.web.targets import Declared, Target, parse

NOW = 1_795_312_800


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/callbacks/tencent/demo", Target("tencent", "demo", None)),
        ("/callbacks/tencent/demo/secret", Target("tencent", "demo", "secret")),
        ("/callbacks/tencent/demo?x=/y", Target("tencent", "demo", None)),
        ("/callbacks/tencent/demo/", None),
        ("/callbacks/tencent", None),
        ("/callbacks//demo", None),
        ("/callbacks/tencent/demo/secret/more", None),
        ("//callbacks/tencent/demo", None),
        ("*", None),
        ("", None),
    ],
)
def test_only_callback_addresses_are_targets(path: str, target: Target | None) -> None:
    assert parse(path) == target


def _declared(*keys: str, is_required: bool = True) -> Declared:
    hashes = tuple(sha256(key.encode()).hexdigest() for key in keys)
    return Declared({("tencent", "demo"): hashes}, is_required)


@pytest.mark.parametrize("key", ["old", "new"])
def test_both_keys_are_valid_during_rotation(key: str) -> None:
    """A declared application's callbacks are accepted under its old and its new key."""
    _declared("old", "new").check(Target("tencent", "demo", key))


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (Target("tencent", "demo", None), "key_missing"),
        (Target("tencent", "demo", "third"), "key_wrong"),
        (Target("tencent", "other", "old"), "app"),
    ],
)
def test_a_production_home_refuses_what_is_not_declared(target: Target, code: str) -> None:
    with pytest.raises(UnknownTargetError) as caught:
        _declared("old", "new").check(target)

    assert caught.value.code == code


@pytest.mark.parametrize("app", ["a b", "ä", "a" * 65, "a.b", "%61"])
def test_an_application_name_is_letters_digits_dash_and_underscore(app: str) -> None:
    with pytest.raises(UnknownTargetError):
        _declared(is_required=False).check(Target("tencent", app, None))


def test_a_development_home_accepts_any_application_without_a_key() -> None:
    _declared(is_required=False).check(Target("tencent", "Any_app-1", None))


@pytest.mark.parametrize(
    ("callee", "nationcode", "shown"),
    [
        ("8613800138000", "86", "138****8000"),
        ("13800138000", None, "138****8000"),
        ("85212345678", "852", "****78"),
        ("12345", "86", "****45"),
        ("1234", None, "****"),
        (None, "86", None),
    ],
)
def test_a_masked_number_shows_seven_digits_at_most(callee: str | None, nationcode: str | None, shown: str) -> None:
    assert masked(callee, nationcode) == shown


@given(st.integers(0, 2**62), st.integers(-(2**62), 2**62))
def test_a_cursor_reads_back(event_at: int, row_id: int) -> None:
    written = cursor.Cursor(span=Span(start=0, end=NOW), event_at=event_at, row_id=row_id)

    assert cursor.read(cursor.write(written, question="q"), question="q") == written


@given(st.text(max_size=60))
def test_anything_else_is_no_cursor(text: str) -> None:
    """A cursor of foreign make is refused by name, never believed and never a failure."""
    with pytest.raises(QueryError) as caught:
        cursor.read(text, question="q")

    assert caught.value.parameter == "cursor"


def test_a_cursor_belongs_to_its_question() -> None:
    text = cursor.write(cursor.Cursor(span=Span(start=0, end=1), event_at=0, row_id=1), question="one")

    with pytest.raises(QueryError, match="another question"):
        cursor.read(text, question="two")


def _scope(*items: tuple[str, str], apps: frozenset[str] = frozenset()) -> Any:
    query = Query(MultiDict(items))
    scope = take_scope(query, Caller(name="x", roles=frozenset(Role), apps=apps), Settings(), now_us=NOW * 1_000_000)
    query.finish()
    return scope


@pytest.mark.parametrize(
    ("items", "parameter"),
    [
        ([("rangee", "today")], "rangee"),
        ([("app", "a"), ("app", "b")], "app"),
        ([("range", "tomorrow")], "range"),
        ([("start", "2026-11-22")], "start"),
        ([("end", "1")], "start"),
        ([("start", "2"), ("end", "1")], "start"),
        ([("tz", "Mars/Olympus")], "tz"),
        ([("kind", "video")], "kind"),
        ([("outcome", "won")], "outcome"),
        ([("carrier", "nobody")], "carrier"),
        ([("call_from", "1" * 257)], "call_from"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(items: list[tuple[str, str]], parameter: str) -> None:
    with pytest.raises(QueryError) as caught:
        _scope(*items)

    assert caught.value.parameter == parameter


def test_the_default_question_is_today_in_shanghai() -> None:
    scope = _scope()

    assert scope.zone == ZoneInfo("Asia/Shanghai")
    assert scope.span.end - scope.span.start == 86400
    assert scope.span.start <= NOW < scope.span.end


def test_lost_and_pending_part_the_calls_without_an_outcome() -> None:
    """A call without a final outcome is lost or pending, by when its first callback came, and never both."""
    lost, pending = _scope(("outcome", "lost")).filters, _scope(("outcome", "pending")).filters

    assert lost.outcome is pending.outcome is Outcome.PENDING
    assert lost.first_received_before_us == pending.first_received_from_us is not None


def test_a_token_for_some_applications_sees_no_other() -> None:
    assert _scope(apps=frozenset({"a"})).filters.app == "a"
    assert _scope(("app", "b"), apps=frozenset({"a", "b"})).filters.app == "b"
    for items, apps in [([("app", "c")], {"a", "b"}), ([], {"a", "b"})]:
        with pytest.raises(QueryError) as caught:
            _scope(*items, apps=frozenset(apps))
        assert caught.value.parameter == "app"


def test_five_wrong_tokens_close_the_form_for_a_minute() -> None:
    throttle = Throttle()
    for second in range(5):
        assert throttle.wait_seconds(now=NOW + second) == 0
        throttle.fail(now=NOW + second)

    assert throttle.wait_seconds(now=NOW + 5) == 55
    assert throttle.wait_seconds(now=NOW + 60) == 0
    assert throttle.wait_seconds(now=NOW + 59) == 1


def _logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(logs.JsonLines().format(record)) for record in caplog.records]


def test_a_flood_of_refusals_is_counted_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Each reason gets five lines between two ticks; the rest is one line with their number, and none is uncounted."""
    refusals = Refusals()
    for _ in range(1000):
        refusals.add("tencent", "undecodable")
    refusals.add("tencent", "too_large")
    refusals.tick()

    lines = _logged(caplog)
    assert len(lines) == 7
    assert lines[-1]["left_out"] == 995
    assert refusals.take() == {("tencent", "undecodable"): 1000, ("tencent", "too_large"): 1}
    assert refusals.take() == {}


def test_refusals_that_could_not_be_saved_are_saved_later() -> None:
    refusals = Refusals()
    refusals.add("tencent", "too_large")
    refusals.put_back(refusals.take())
    refusals.add("tencent", "too_large")

    assert refusals.take() == {("tencent", "too_large"): 2}


def test_a_log_record_is_one_line_whatever_is_in_it() -> None:
    """Foreign text cannot end a line, start an escape sequence or turn the reading direction."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    foreign = "a\nb\x1b[31m\x9b\u202e\u2028\ud800é接"
    error = ValueError(foreign)
    record = logging.makeLogRecord(
        {"msg": "failed %s", "args": (foreign,), "exc_info": (ValueError, error, None), "subject": foreign}
        | {"count": 3, "what": {1}}
    )
    handler.handle(record)

    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert line["count"] == 3
    assert line["subject"] == "a\\u{a}b\\u{1b}[31m\\u{9b}\\u{202e}\\u{2028}\\u{d800}é接"
    assert all(char not in stream.getvalue()[:-1] for char in "\n\x1b\x9b\u202e\u2028")


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b'<190>Nov 22 10:00:00 host nginx: {"status":403,"reason":"revoked","subject":"CN=x"}', "revoked"),
        (b'{"status":403,"reason":"made up"}', "other"),
        (b'{"status":403,"reason":["revoked"]}', "other"),
        (b"no object at all", "other"),
        (b'{"reason":"revoked"', "other"),
        (b"[1]", "other"),
        (b"", "other"),
        (b"\xff{}", "other"),
    ],
)
def test_a_reported_refusal_is_counted_under_a_known_reason(datagram: bytes, reason: str) -> None:
    """Whatever comes over nginx's socket is one count; a reason's name is never made of foreign text."""
    refusals = Refusals()
    AuditSocket(refusals).take(datagram, now=NOW)

    assert refusals.take() == {(NO_CARRIER, reason): 1}


def test_the_last_reported_refusals_are_few_short_and_printable() -> None:
    audit = AuditSocket(Refusals())
    for number in range(200):
        report = {"status": 403, "reason": "untrusted", "subject": f"CN=\x1b[2J{number}" + "x" * 1000, "serial": 7}
        audit.take(json.dumps(report).encode(), now=NOW)

    last = audit.last
    assert len(last) == 50
    assert last[0].subject.startswith("CN=\\u{1b}[2J199")
    assert len(last[0].subject) < 250
    assert last[0].serial == ""


def test_both_languages_have_the_same_words() -> None:
    words = dashboard.load().words

    assert words["zh"].keys() == words["en"].keys()
    assert all(text for language in words.values() for text in language.values())


def test_every_outcome_and_verdict_has_a_word() -> None:
    words = dashboard.load().words

    for outcome in definitions.FINAL:
        assert words["zh"][f"outcome.{outcome}"] == definitions.OUTCOMES[outcome].label_zh
        assert f"outcome.{outcome}" in words["en"]
    assert {f"verdict.{verdict}" for verdict in StatisticalVerdict} <= words["en"].keys()


def test_no_word_claims_compliance_with_a_law() -> None:
    text = " ".join(text for words in dashboard.load().words.values() for text in words.values())

    assert not [word for word in ("合规", "合法", "complian", "legal", "成功率") if word in text.lower()]
