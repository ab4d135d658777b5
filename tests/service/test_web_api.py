"""The API's answers on a real store: figures, lists, bodies, numbers, and what is kept from whom."""

import asyncio
import base64
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from store_lab import failure, key_press, report
from web_lab import NOW, Browser, Receiver, receiving, unanswered

from receiver.model import Role

CALLEE = "13812345678"
WEEK = {"range": "7d"}


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with receiving(tmp_path) as running:
        yield running


@pytest.fixture
async def reader(receiver: Receiver) -> AsyncIterator[Browser]:
    async with receiver.asking(Role.READ) as browser:
        yield browser


def _audited(receiver: Receiver) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"file:{receiver.directory}/store/journal.db?mode=ro", uri=True)) as database:
        rows = database.execute("select actor, action, detail from audit order by id").fetchall()
    return [{"actor": actor, "action": action, **json.loads(detail)} for actor, action, detail in rows]


HEAD = {"as_of", "version", "watermark", "tz", "definition", "fold_lag_seconds"}
SUMMARY = {
    "start", "end", "calls", "pending", "lost", "answered", "answer_rate", "answer_rate_wilson95",
    "answer_rate_bounds", "floor", "verdict", "worst", "submitted", "answer_rate_submitted", "reach_rate",
    "answer_given_reach", "network_effectiveness", "short_call_share", "callees", "callee_answer_rate", "outcomes",
    "time_to_answer_seconds", "talk_seconds", "billed_minutes", "keypress_rate", "deliveries", "duplicates",
    "conflicts", "quarantined", "held", "unknown_kind", "last_callback_at", "lag_seconds",
}  # fmt: skip


async def test_a_summary_has_every_field_of_the_contract(receiver: Receiver, reader: Browser) -> None:
    """Two calls answered, one not, one pending, one delivery twice, one held, one unreadable: each where it belongs."""
    await receiver.fill(
        report("a"),
        report("b", mobile="13900000000"),
        unanswered("c"),
        unanswered("c"),
        failure("c", failure_code=5),
        key_press("d"),
        b"{}",
        b"unreadable",
    )
    await receiver.post(report("x"), headers=receiver.identity(receiver.certificates.unpinned))
    await receiver.fold()
    summary = await reader.json("/api/v1/summary")

    assert summary.keys() >= HEAD | SUMMARY
    assert "simulated" not in summary
    assert (summary["calls"], summary["answered"], summary["pending"], summary["lost"]) == (3, 2, 1, 0)
    assert summary["answer_rate"] == 2 / 3
    assert summary["answer_rate_wilson95"] == pytest.approx([0.2077, 0.9385], abs=1e-4)
    assert summary["answer_rate_bounds"] == [2 / 4, 3 / 4]
    assert summary["verdict"] == {"literal": "insufficient", "statistical": "undecided"}
    assert (summary["deliveries"], summary["duplicates"]) == (7, 1)
    assert (summary["quarantined"], summary["held"], summary["unknown_kind"]) == (1, 1, 1)
    assert summary["outcomes"]["no_answer"] == 1
    assert (summary["callees"], summary["billed_minutes"]) == (2, 2)
    assert summary["time_to_answer_seconds"] == {"n": 2, "mean": 14.0, "p50": 14, "p90": 14, "p99": None}
    assert (summary["start"], summary["tz"]) == ("2026-11-19T00:00:00+08:00", "Asia/Shanghai")
    assert summary["as_of"] == summary["last_callback_at"][:19] + "+08:00" == "2026-11-19T10:00:00+08:00"
    assert summary["watermark"] == 8


async def test_an_empty_store_has_no_rates(reader: Browser) -> None:
    """A rate without calls is null, never 0; also in every bucket and group."""
    summary = await reader.json("/api/v1/summary")
    series = await reader.json("/api/v1/series", step="1h")
    breakdown = await reader.json("/api/v1/breakdown", by="call_from")

    assert summary["calls"] == 0
    for name in ("answer_rate", "answer_rate_wilson95", "answer_rate_bounds", "reach_rate", "callee_answer_rate"):
        assert summary[name] is None
    assert summary["verdict"] == {"literal": "none", "statistical": "none"}
    assert summary["last_callback_at"] is None
    assert (len(series["t"]), [line["rate"] for line in series["series"]]) == (24, [[None] * 24])
    assert breakdown["rows"] == []


async def test_figures_by_arrival_are_null_under_filters_they_do_not_know(receiver: Receiver, reader: Browser) -> None:
    await receiver.fill(report())

    plain = await reader.json("/api/v1/summary", carrier="tencent", app="demo")
    filtered = await reader.json("/api/v1/summary", kind="prompt")

    for name in ("deliveries", "duplicates", "quarantined", "held", "unknown_kind"):
        assert plain[name] is not None
        assert filtered[name] is None
    assert filtered["lag_seconds"] is None
    assert filtered["calls"] == 1


async def test_a_call_without_an_end_is_pending_for_a_day_then_lost(receiver: Receiver, reader: Browser) -> None:
    """Lost is a question of time, asked when read: in the figures, in the list and in the filter."""
    await receiver.fill(key_press("silent"))

    async def found(**query: str) -> list[str]:
        return [call["outcome"] for call in (await reader.json("/api/v1/calls", **WEEK, **query))["calls"]]

    assert await found() == await found(outcome="pending") == ["pending"]
    assert await found(outcome="lost") == []
    receiver.clock.forward(24 * 3600 + 1)
    summary = await reader.json("/api/v1/summary", **WEEK)

    assert (summary["pending"], summary["lost"]) == (0, 1)
    assert await found() == await found(outcome="lost") == ["lost"]
    assert await found(outcome="pending") == []


async def test_a_simulated_store_says_so_in_every_answer(receiver: Receiver, reader: Browser) -> None:
    await receiver.store.write(lambda state: state.meta_set("simulated", "a week"))
    paths = ("summary", "series", "breakdown?by=app", "calls", "callbacks", "quarantine", "held", "trust")

    answers = [await reader.json(f"/api/v1/{path}") for path in paths]
    page = await (await reader.get("/?lang=en")).text()

    assert all(answer["simulated"] is True for answer in answers)
    assert "Simulated data" in page


async def test_a_series_has_a_rate_with_its_n_in_every_bucket(receiver: Receiver, reader: Browser) -> None:
    """Columns of equal length, one line per group, gaps null; a sum has its values beside the rate."""
    hour = 3600
    earlier = {"start_calltime": str(NOW - 2 * hour), "accept_time": str(NOW - 2 * hour + 9)}
    await receiver.fill(report("a"), unanswered("b", call_from=""), report("c", **earlier))
    series = await reader.json("/api/v1/series", metric="billed_minutes", step="1h", group_by="call_from")

    assert series["metric"] == "billed_minutes"
    assert series["step"] == hour
    assert series["t"][8:10] == [NOW - 2 * hour, NOW - hour]
    unknown, known = series["series"]
    assert (unknown["key"], known["key"]) == ({"call_from": ""}, {"call_from": "075583763333"})
    for column in ("n", "answered", "rate", "lo", "hi", "values"):
        assert len(known[column]) == len(series["t"])
    assert sum(known["n"]) == 2
    assert [value for value in known["values"] if value is not None] == [1, 1]
    assert [rate for rate in unknown["rate"] if rate is not None] == [0.0]


async def test_a_breakdown_shares_out_the_calls(receiver: Receiver, reader: Browser) -> None:
    """Rows by size; their calls make the whole, and an unknown caller is a row of its own."""
    await receiver.fill(report("a"), report("b", call_from=""), unanswered("c"))
    rows = (await reader.json("/api/v1/breakdown", by="call_from"))["rows"]

    assert [(row["key"], row["calls"], row["answered"]) for row in rows] == [("075583763333", 2, 1), ("", 1, 1)]
    assert [row["share"] for row in rows] == [2 / 3, 1 / 3]
    assert rows[0]["answer_rate"] == 0.5
    assert len(rows[0]["answer_rate_wilson95"]) == 2


async def test_a_failure_code_comes_with_the_carrier_s_text_and_our_outcome(
    receiver: Receiver, reader: Browser
) -> None:
    await receiver.fill(failure("a", failure_code=8), failure("b", failure_code=99), report("c"))
    rows = {row["key"]: row for row in (await reader.json("/api/v1/breakdown", by="failure_code"))["rows"]}

    assert (rows["8"]["text"], rows["8"]["outcome"]) == ("空号", "invalid_number")
    assert (rows["99"]["text"], rows["99"]["outcome"]) == (None, "other")
    assert "text" not in rows[""]


async def test_pages_of_calls_stay_stable_while_rows_arrive(receiver: Receiver, reader: Browser) -> None:
    """Every call of the first look is shown exactly once, newest first, though more come in between the pages."""
    await receiver.fill(*(report(f"call-{number:02}", start_calltime=str(NOW - 600 - number)) for number in range(7)))
    seen, query, pages = [], {"limit": 3}, 0
    while True:
        response = await reader.get("/api/v1/calls", params=query)
        answer = await response.json()
        seen += [call["call_id"] for call in answer["calls"]]
        pages += 1
        await receiver.fill(report(f"new-{pages}", start_calltime=str(NOW - 1)))
        receiver.clock.forward(60)
        if answer["next_cursor"] is None:
            break
        assert f"cursor={answer['next_cursor']}" in response.headers["Link"]
        assert 'rel="next"' in response.headers["Link"]
        query["cursor"] = answer["next_cursor"]

    assert seen == [f"call-{number:02}" for number in range(7)]
    assert pages == 3
    assert "Link" not in response.headers


@pytest.mark.parametrize("change", [{"app": "demo"}, {"range": "7d"}, {"outcome": "answered"}])
async def test_a_cursor_is_refused_when_the_question_changes(
    receiver: Receiver, reader: Browser, change: dict[str, str]
) -> None:
    await receiver.fill(report("a"), report("b"))
    first = await reader.json("/api/v1/calls", limit=1)

    response = await reader.get("/api/v1/calls", params={"limit": 1, "cursor": first["next_cursor"], **change})

    assert response.status == 400
    assert (await response.json(content_type=None))["errors"][0]["parameter"] == "cursor"


async def test_one_call_shows_every_delivery_that_made_it(receiver: Receiver, reader: Browser) -> None:
    """The call, and its deliveries in the order in which they were kept, duplicates included."""
    await receiver.fill(failure("a"), unanswered("a"), unanswered("a"), report("b"))
    answer = await reader.json("/api/v1/calls/tencent/demo/a")

    call = answer["call"]
    assert (call["outcome"], call["failure_code"], call["failure_reason"]) == ("invalid_number", 8, "空号")
    assert (call["deliveries"], call["duplicates"], call["kind"]) == (3, 1, "prompt")
    assert call["event_time_source"] == "carrier"
    assert [row["cursor"] for row in answer["deliveries"]] == [1, 2, 3]


async def test_an_odd_call_id_is_found_by_its_address(receiver: Receiver, reader: Browser) -> None:
    await receiver.fill(report("a/b c?d%e"))

    assert (await reader.get("/api/v1/calls/tencent/demo/a%2Fb%20c%3Fd%25e")).status == 200


async def test_whoever_follows_the_journal_misses_nothing(receiver: Receiver, reader: Browser) -> None:
    """From cursor to cursor, every delivery in commit order; at the end the cursor stays where it is."""
    bodies = [report("a"), failure("b"), b"{}", report("c")]
    await receiver.fill(*bodies)
    rows, after = [], 0
    while (page := await reader.json("/api/v1/callbacks", after=after, limit=3))["callbacks"]:
        rows += page["callbacks"]
        after = page["next_cursor"]

    assert page["next_cursor"] == after == 4
    assert [row["cursor"] for row in rows] == [1, 2, 3, 4]
    assert [row["call_id"] for row in rows] == ["a", "b", None, "c"]
    assert [row["size"] for row in rows] == [len(body) for body in bodies]
    assert rows[0]["kind"] == "voiceprompt_callback"
    assert rows[0]["peer"]["sha256"] == receiver.certificates.pinned.sha256
    assert rows[0]["received_at"] == "2026-11-19T10:00:00.000000+08:00"
    assert all("body" not in row for row in rows)


LISTS = ["/api/v1/calls", "/api/v1/calls/tencent/demo/call-1", "/api/v1/callbacks", "/api/v1/held", "/"]


@pytest.mark.parametrize("path", [*LISTS, "/api/v1/summary", "/api/v1/quarantine", "/metrics"])
async def test_nobody_sees_a_full_number_without_the_role(receiver: Receiver, reader: Browser, path: str) -> None:
    await receiver.fill(report(), b'{"mobile":"%b"' % CALLEE.encode())
    await receiver.post(report("held"), headers=receiver.identity(receiver.certificates.unpinned))
    await receiver.fold()

    text = await (await reader.get(path)).text()

    assert CALLEE not in text
    if "calls" in path:
        assert "138****5678" in text


async def test_whoever_may_reveal_sees_numbers_and_exact_bodies(receiver: Receiver) -> None:
    """UTF-8 as text, anything else as base64; and each look is recorded, under the name of the token."""
    odd = b'{"voiceprompt_callback":{"callid":"x"}}\n'
    await receiver.fill(report(), odd, b"\xff\x00unreadable")
    token = await receiver.token(Role.READ, Role.REVEAL, name="auditor")
    async with receiver.asking() as browser:
        headers = {"Authorization": f"Bearer {token}"}
        callbacks, quarantine, calls, call = [
            await (await browser.get(f"/api/v1/{path}", headers=headers)).json()
            for path in ("callbacks", "quarantine", "calls", "calls/tencent/demo/call-1")
        ]
        await browser.get("/api/v1/callbacks?after=2", headers=headers)

    assert [row["body"].encode() for row in callbacks["callbacks"]] == [report(), odd]
    assert base64.b64decode(quarantine["quarantine"][0]["body_base64"]) == b"\xff\x00unreadable"
    assert f"86{CALLEE}" in [each["callee"] for each in calls["calls"]]
    assert call["deliveries"][0]["body"].encode() == report()
    assert _audited(receiver) == [
        {"actor": "auditor", "action": "reveal", "what": "/api/v1/callbacks", "count": 2},
        {"actor": "auditor", "action": "reveal", "what": "/api/v1/quarantine", "count": 1},
        {"actor": "auditor", "action": "reveal", "what": "/api/v1/calls", "count": 2},
        {"actor": "auditor", "action": "reveal", "what": "/api/v1/calls/tencent/demo/call-1", "count": 1},
    ]


async def test_without_the_record_there_is_nothing_revealed(
    receiver: Receiver,
) -> None:
    """Who looked is on disk before anything is shown; if it cannot be, nothing is."""
    await receiver.fill(report())
    async with receiver.asking(Role.READ, Role.REVEAL) as browser:
        with closing(sqlite3.connect(receiver.directory / "store" / "journal.db")) as other:
            other.execute("drop table audit")
        response = await browser.get("/api/v1/callbacks")

    assert response.status in {500, 503}
    assert CALLEE not in await response.text()


async def test_a_quarantined_body_is_described_without_being_shown(receiver: Receiver, reader: Browser) -> None:
    body = b'{"voiceprompt_callback":'
    await receiver.fill(body, body)
    (row,) = (await reader.json("/api/v1/quarantine"))["quarantine"]

    assert (row["size"], row["hits"], row["answered_status"], row["state"]) == (len(body), 2, 400, "new")
    assert row["reason"]
    assert not [name for name in row if name.startswith("body")]


async def test_what_waits_for_a_pin_is_listed(receiver: Receiver, reader: Browser) -> None:
    await receiver.post(report("held"), headers=receiver.identity(receiver.certificates.unpinned))
    await receiver.fold()
    (row,) = (await reader.json("/api/v1/held"))["held"]
    summary = await reader.json("/api/v1/summary")

    assert (row["disposition"], row["standing"], row["call_id"]) == ("held", "held", "held")
    assert row["peer"]["sha256"] == receiver.certificates.unpinned.sha256
    assert (summary["calls"], summary["held"]) == (0, 1)


async def test_trust_tells_who_was_refused_and_why(receiver: Receiver, reader: Browser) -> None:
    """Counts by carrier and reason from the store, and the last handshakes that nginx reported."""
    receiver.audit.take(b'x {"status":403,"reason":"revoked","subject":"CN=old","serial":"2A","verify":"F"}', now=NOW)
    await receiver.post(b"", headers={"X-Edge-Key": "wrong"})
    counts = receiver.refusals.take()
    await receiver.store.write(lambda state: state.refusals_add(counts, now=NOW))
    trust = await reader.json("/api/v1/trust")

    assert {(row["carrier"], row["reason"], row["count"]) for row in trust["refused"]} == {
        ("unknown", "revoked", 1),
        ("tencent", "edge_key", 1),
    }
    (handshake,) = trust["last_refused_handshakes"]
    assert (handshake["subject"], handshake["serial"], handshake["status"]) == ("CN=old", "2A", 403)
    assert trust["carriers"] == {"tencent": {"strictness": "strict"}}


async def test_pins_and_blocks_are_shown_as_people_read_them(receiver: Receiver, reader: Browser) -> None:
    name = {"kind": "name", "issuer": "CN=ca;der=3000", "subject": "CN=x;der=3000"}
    await receiver.store.write(
        lambda state: state.pin_add(carrier="tencent", columns=name, reason="ours", created_at=NOW)
    )
    (pin,) = (await reader.json("/api/v1/trust"))["pins"]

    assert (pin["issuer"], pin["subject"], pin["reason"]) == ("CN=ca", "CN=x", "ours")


async def test_the_definitions_explain_every_rate_of_the_summary(reader: Browser) -> None:
    definitions = await reader.json("/api/v1/definitions")
    summary = await reader.json("/api/v1/summary")

    explained = {metric["id"] for metric in definitions["metrics"]}
    assert {name for name in SUMMARY - {"start", "end", "outcomes"} if name.endswith("rate")} <= explained
    assert definitions["id"] == summary["definition"]
    assert {each["outcome"] for each in definitions["outcomes"]} >= set(summary["outcomes"])


async def test_metrics_count_what_is_stored(receiver: Receiver, reader: Browser) -> None:
    """Prometheus text by default, OpenMetrics for those who ask; the totals are the store's own."""
    await receiver.fill(report("a"), report("a"), b"{}", b"unreadable")
    await receiver.store.write(lambda state: state.refusals_add({("tencent", "undecodable"): 1}, now=NOW))

    plain = await reader.get("/metrics")
    opened = await reader.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    text = await plain.text()
    assert plain.content_type == "text/plain"
    for line in (
        'voicecb_callbacks_total{carrier="tencent"} 3.0',
        'voicecb_callbacks_duplicate_total{carrier="tencent"} 1.0',
        'voicecb_callbacks_quarantined_total{carrier="tencent"} 1.0',
        'voicecb_callbacks_unknown_kind_total{carrier="tencent"} 1.0',
        'voicecb_callbacks_rejected_total{carrier="tencent",reason="undecodable"} 1.0',
        "voicecb_projector_lag_rows 0.0",
    ):
        assert line in text.splitlines()
    assert opened.content_type == "application/openmetrics-text"
    assert (await opened.text()).endswith("# EOF\n")


async def test_many_may_ask_at_once(receiver: Receiver, reader: Browser) -> None:
    """More questions than the store has readers wait their turn, and none waits for ever."""
    await receiver.fill(report())

    statuses = await asyncio.gather(*[reader.get("/api/v1/summary") for _ in range(40)])

    assert {response.status for response in statuses} == {200}
