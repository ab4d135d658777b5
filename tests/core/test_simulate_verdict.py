"""What a simulation concludes from two looks at the figures, and where it refuses to send anything."""

import json
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import UsageError
from receiver.simulate import report, target
from receiver.simulate.play import Played
from receiver.simulate.sender import Sent
from receiver.simulate.verify import EVERYTHING, Comparison, compare, differing, flatten

SUMMARY: dict[str, Any] = {
    "calls": 40,
    "pending": 2,
    "lost": 0,
    "answered": 30,
    "answer_rate": 0.75,
    "outcomes": {"answered": 30, "no_answer": 10},
    "billed_minutes": 33,
    "keypress_rate": 7 / 30,
    "deliveries": 55,
    "duplicates": 1,
    "conflicts": 0,
    "quarantined": 3,
    "held": 0,
    "unknown_kind": 0,
}
TOKEN = "a" * 43
READY = {
    "callbacks_url": "https://localhost:8443/callbacks/tencent/demo",
    "ops_url": "http://127.0.0.1:8080",
    "server_ca": "ca.pem",
    "client_cert": "client.pem",
    "client_key": "client.key",
}


def ready(tmp_path: Path, **changes: str | None) -> Path:
    token = tmp_path / "read.token"
    token.write_text(f"{TOKEN}\n")
    content = {**READY, "token_file": str(token), **changes}
    path = tmp_path / "ready.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def test_a_summary_is_read_into_counts() -> None:
    """Outcomes get names of their own, and the exact key-press rate goes back into its count."""
    counts = flatten(SUMMARY)

    assert counts["outcomes.no_answer"] == 10
    assert counts["keypressed"] == 7
    assert counts["deliveries"] == 55
    assert "answer_rate" not in counts


def test_an_empty_summary_is_read() -> None:
    """Without calls the rate is null and the count is zero."""
    assert flatten({**SUMMARY, "answered": 0, "keypress_rate": None})["keypressed"] == 0


def test_equal_changes_do_not_differ() -> None:
    """Only what changed between the two looks is compared, whatever was there before."""
    before = {EVERYTHING: Counter(calls=100, deliveries=150)}
    after = {EVERYTHING: Counter(calls=110, deliveries=162)}

    assert not differing(
        compare({EVERYTHING: Counter(calls=10, deliveries=12)}, before=before, after=after, ambiguous=0)
    )


def test_one_too_many_or_too_few_differs() -> None:
    """A figure that is off by one is named, and so is one that nobody expected."""
    expected = {EVERYTHING: Counter(calls=10, answered=4)}
    after = {EVERYTHING: Counter(calls=9, answered=4, quarantined=1)}
    found = differing(compare(expected, before={EVERYTHING: Counter()}, after=after, ambiguous=5))

    assert [(each.figure, each.expected, each.actual) for each in found] == [("calls", 10, 9), ("quarantined", 0, 1)]


@pytest.mark.parametrize(("actual", "is_equal"), [(11, False), (12, True), (14, True), (15, False)])
def test_broken_attempts_explain_some_duplicates(*, actual: int, is_equal: bool) -> None:
    """An attempt without an answer may have been kept: it explains one more delivery, and never one less."""
    expected = {EVERYTHING: Counter(deliveries=12)}
    after = {EVERYTHING: Counter(deliveries=actual)}
    comparisons = compare(expected, before={EVERYTHING: Counter()}, after=after, ambiguous=2)

    assert (not differing(comparisons)) is is_equal


def played(sent: Sent, comparisons: list[Comparison] | None = None) -> Played:
    return Played(sent=sent, expected={EVERYTHING: Counter(calls=1)}, comparisons=comparisons)


def test_no_complaint_when_all_is_well() -> None:
    """Answers as they must be and equal figures are nothing to complain of."""
    sent = Sent(posts=2, statuses=Counter({200: 1, 400: 1}), is_complete=True)

    assert report.complaints(played(sent, [Comparison(EVERYTHING, "calls", 1, 1, 0)])) == []


@pytest.mark.parametrize(
    "sent",
    [
        Sent(is_complete=True, unexpected=Counter({403: 2})),
        Sent(is_complete=True, given_up=1),
        Sent(is_complete=False),
    ],
)
def test_every_failure_is_complained_of(sent: Sent) -> None:
    """A wrong answer, a callback given up and an early end each make the command fail."""
    assert len(report.complaints(played(sent))) == 1


def test_a_differing_figure_is_complained_of() -> None:
    """The line names figure, application and both numbers."""
    differing_figure = [Comparison("demo", "answered", 4, 5, 0)]

    assert report.complaints(played(Sent(is_complete=True), differing_figure)) == [
        "differs: answered of demo: expected 4, actual 5"
    ]


def test_latency_percentiles_are_of_answers_seen() -> None:
    """Nearest rank: no percentile is a number that never occurred."""
    assert report.latency_milliseconds(array("d", [0.001 * n for n in range(1, 101)])) == {
        "p50": 50.0,
        "p90": 90.0,
        "p99": 99.0,
        "max": 100.0,
    }
    assert report.latency_milliseconds([]) == {"p50": None, "p90": None, "p99": None, "max": None}


def test_a_development_home_is_a_target(tmp_path: Path) -> None:
    """Addresses of any application are made from that of the first one."""
    found = target.read(ready(tmp_path), carrier="tencent")

    assert found.app_url("demo-2") == "https://localhost:8443/callbacks/tencent/demo-2"
    assert found.token == TOKEN


@pytest.mark.parametrize(
    "changes",
    [
        {"callbacks_url": "https://callbacks.example.com/callbacks/tencent/demo"},
        {"ops_url": "http://192.0.2.1:8080"},
        {"callbacks_url": "https://localhost.example.com/callbacks/tencent/demo"},
    ],
)
def test_other_machines_are_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    """Simulated callbacks never leave the machine."""
    with pytest.raises(UsageError, match="not on this machine"):
        target.read(ready(tmp_path, **changes), carrier="tencent")


def test_a_production_home_is_refused(tmp_path: Path) -> None:
    """A home that counts real calls gets no simulated ones, even if it has a ready.json."""
    (tmp_path / "receiver.toml").write_text('mode = "production"\n')

    with pytest.raises(UsageError, match="production home"):
        target.read(ready(tmp_path), carrier="tencent")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """No ready.json says how to start a home; an incomplete one says which key is missing."""
    with pytest.raises(UsageError, match="scripts/run --home"):
        target.read(tmp_path / "ready.json", carrier="tencent")
    with pytest.raises(UsageError, match="client_key missing"):
        target.read(ready(tmp_path, client_key=None), carrier="tencent")
    with pytest.raises(UsageError, match="cannot be read"):
        target.read(ready(tmp_path, token_file=str(tmp_path / "gone")), carrier="tencent")
