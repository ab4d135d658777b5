"""The simulated carrier repeats itself byte for byte, and does as often as told what carriers do."""

import hashlib
from collections import Counter
from dataclasses import replace
from functools import reduce
from itertools import pairwise

import orjson
import pytest

from receiver import calls
from receiver.carriers import PROFILES
from receiver.errors import UndecodableError
from receiver.model import Call, Outcome
from receiver.simulate.expected import figures
from receiver.simulate.plan import Episode, Nature, Options, Post, app_names, episodes, schedule
from receiver.simulate.truth import FAILURES

GOLDEN = "a86038cac425fc4b547e6933f709cceb98f35651f98f0f333790afef5c63ecb9"
TENCENT = PROFILES["tencent"]
NOON = 1_763_784_000  # 2025-11-22 12:00 in Shanghai
MIDNIGHT = NOON - 12 * 3600
TRICKY = Options(calls=3000, start=NOON, seed=11, duplicates=0.3, disorder=0.5, late=0.3, malformed=0.4, apps=3)


def plan(options: Options = TRICKY) -> list[Episode]:
    return list(episodes(options))


def posts(options: Options) -> list[Post]:
    return list(schedule(episodes(options)))


def digest(options: Options) -> str:
    return hashlib.sha256(b"\n".join(post.body for post in posts(options))).hexdigest()


def test_a_seed_repeats_every_byte() -> None:
    """Bodies and their order depend on the options alone, on any machine and Python version."""
    assert digest(replace(TRICKY, calls=500)) == GOLDEN


def test_another_seed_or_start_makes_other_calls() -> None:
    """Nothing but the same seed and start gives the same call ids."""
    few = replace(TRICKY, calls=50)
    ids = [
        {each.call.call_id for each in plan(options)}
        for options in (few, replace(few, seed=12), replace(few, start=NOON + 1))
    ]

    assert len(ids[0] | ids[1] | ids[2]) == 150


def test_shares_are_as_asked() -> None:
    """Each share comes out within what chance explains."""
    options = replace(TRICKY, calls=8000, answer_rate=0.37, duplicates=0.1, late=0.2, malformed=0.15, disorder=0)
    planned = plan(options)
    natures = Counter(post.nature for each in planned for post in each.posts if not post.is_repeat)
    own_posts = natures.total() - natures[Nature.UNDECODABLE] - natures[Nature.UNKNOWN_KIND]
    final = [each.call for each in planned if each.call.outcome is not Outcome.PENDING]

    assert sum(call.is_answered for call in final) / len(final) == pytest.approx(0.37, abs=0.02)
    assert sum(post.is_repeat for each in planned for post in each.posts) / own_posts == pytest.approx(0.1, abs=0.015)
    assert sum(each.reported - each.call.ended_at > 3000 for each in planned) / 8000 == pytest.approx(0.2, abs=0.02)
    assert (natures[Nature.UNDECODABLE] + natures[Nature.UNKNOWN_KIND]) / 8000 == pytest.approx(0.15, abs=0.02)
    assert 0 < sum(each.call.outcome is Outcome.PENDING for each in planned) < 80


def test_nothing_odd_unless_asked() -> None:
    """With all shares at zero every call is reported once, at once, in order and readably."""
    planned = plan(replace(TRICKY, duplicates=0, disorder=0, late=0, malformed=0))

    assert all(not post.is_repeat for each in planned for post in each.posts)
    assert {post.nature for each in planned for post in each.posts} == {Nature.REPORT, Nature.FAILURE, Nature.KEY_PRESS}
    assert all(0 <= each.reported - each.call.ended_at < 4 for each in planned)


def test_posts_are_in_the_order_they_are_due() -> None:
    """The schedule merges the calls' posts by time and loses none."""
    scheduled = posts(TRICKY)

    assert all(a.due <= b.due for a, b in pairwise(scheduled))
    assert Counter(scheduled) == Counter(post for each in plan() for post in each.posts)


def test_disorder_interleaves_calls() -> None:
    """A disordered call's callbacks come after those of calls that were reported later."""

    def overtaken(disorder: float) -> int:
        order = [post.call_id for post in posts(replace(TRICKY, disorder=disorder, duplicates=0, malformed=0))]
        first = {call_id: place for place, call_id in reversed(list(enumerate(order)))}
        begun = {each.call.call_id: place for place, each in enumerate(plan(TRICKY))}
        ranks = [begun.get(call_id, 0) for call_id in sorted(first, key=first.__getitem__)]
        return sum(a > b for a, b in pairwise(ranks))

    assert overtaken(1.0) > overtaken(0.0)


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_calls_fall_within_today(late: float) -> None:
    """From noon there is room enough for all calls, late ones too, to have begun today."""
    assert all(MIDNIGHT <= each.call.started_at < NOON for each in plan(replace(TRICKY, late=late)))


def test_after_midnight_calls_began_yesterday() -> None:
    """A minute past midnight, callbacks are about calls of the day before: times never lie in the future."""
    options = replace(TRICKY, start=MIDNIGHT + 60, late=0, calls=300)

    assert all(each.call.ended_at <= MIDNIGHT + 60 for each in plan(options))


def test_a_pace_spreads_calls_from_the_start_on() -> None:
    """With a rate the first call is reported at the start and the others at that distance."""
    reported = [each.reported for each in plan(replace(TRICKY, calls=5, rate=2.0))]

    assert reported == [NOON, NOON + 0.5, NOON + 1, NOON + 1.5, NOON + 2]


def test_call_ids_are_dated_at_the_start_of_the_call() -> None:
    """The receiver reads a call's time from its id when no callback has one."""
    for each in plan():
        lifted = Call(
            carrier="tencent",
            app="demo",
            call_id=each.call.call_id,
            first_received_us=int(each.reported * 1e6),
            last_received_us=0,
        )

        assert calls.event_time(lifted) == (each.call.started_at, "callid")


def test_bad_bodies_are_bad_and_no_two_alike() -> None:
    """The receiver cannot read one of them, reads others as an unknown kind, and never takes two for one."""
    bad = [post for post in posts(TRICKY) if post.nature is Nature.UNDECODABLE]
    unknown = [post for post in posts(TRICKY) if post.nature is Nature.UNKNOWN_KIND]

    assert len({post.body for post in bad}) == len(bad) > 500
    for post in bad:
        with pytest.raises(UndecodableError):
            TENCENT.decode(post.body)
    assert unknown
    assert all(TENCENT.decode(post.body).is_unknown for post in unknown)


def test_the_receiver_folds_the_plan_to_the_truth() -> None:
    """Two independent ways, what happened and what the receiver makes of its callbacks, end at the same call."""
    for each in plan():
        known = [
            calls.lift(event, carrier="tencent", app=post.app, received_us=int(post.due * 1e6))
            for post in each.posts
            if post.nature not in {Nature.UNDECODABLE, Nature.UNKNOWN_KIND}
            for event in TENCENT.decode(post.body).events
        ]
        folded = reduce(calls.merge, known)

        assert folded.call_id == each.call.call_id
        assert calls.outcome(folded, TENCENT.failure_outcomes) is each.call.outcome
        assert (folded.billed_minutes or 0) == each.call.billed_minutes
        assert folded.digits == frozenset(each.call.digits)
        assert folded.callee == f"86{each.call.callee}"
        assert folded.caller in {each.call.caller, None}
        assert not folded.conflicts
        assert not folded.anomalies


def test_the_failure_table_is_the_receivers() -> None:
    """Written twice, so that each can be checked by the other; unknown codes are `other`."""
    written = {failure.code: failure.outcome for failure in FAILURES}

    assert written == {**TENCENT.failure_outcomes, 14: Outcome.OTHER, 87: Outcome.OTHER}


def test_field_forms_vary_as_they_do_in_the_wild() -> None:
    """Unanswered calls have an empty, a zero, no or a false accept time; numbers come as strings and as numbers."""
    reports = [orjson.loads(post.body) for post in posts(replace(TRICKY, malformed=0)) if post.nature is Nature.REPORT]
    fields = [next(iter(report.values())) for report in reports]
    unanswered = [each for each in fields if str(each["result"]) == "1"]
    times = {
        "absent"
        if "accept_time" not in each
        else "end"
        if str(each["accept_time"]) == str(each["end_calltime"])
        else str(each["accept_time"])
        for each in unanswered
    }

    assert {key for report in reports for key in report} == {"voicecode_callback", "voiceprompt_callback"}
    assert times == {"absent", "end", "", "0"}
    assert {type(each["result"]) for each in fields} == {str, int}
    assert {each.get("fee") for each in unanswered} >= {None, "", "0"}
    assert "" in {each["call_from"] for each in fields}
    assert len({tuple(each) for each in fields}) > 20


def test_some_people_are_called_again() -> None:
    """Callees repeat, as they do for any sender, and all look like mobile numbers."""
    callees = [each.call.callee for each in plan()]

    assert 0.8 * len(callees) < len(set(callees)) < len(callees)
    assert all(len(callee) == 11 and callee[0] == "1" and callee[1] in "3456789" for callee in callees)


def test_apps_are_named_and_all_used() -> None:
    """Calls spread over as many applications as asked for, the first being the one of the first steps."""
    assert app_names(3) == ("demo", "demo-2", "demo-3")
    assert {each.call.app for each in plan()} == set(app_names(3))


def test_figures_of_a_call_with_everything() -> None:
    """Repeats of reports and failures are duplicates, those of key presses are not; bad bodies are no deliveries."""
    template = next(each for each in plan() if each.call.is_answered)
    post = template.posts[0]
    natures = [
        (Nature.REPORT, False),
        (Nature.REPORT, True),
        (Nature.FAILURE, False),
        (Nature.FAILURE, True),
        (Nature.KEY_PRESS, False),
        (Nature.KEY_PRESS, True),
        (Nature.UNKNOWN_KIND, False),
        (Nature.UNDECODABLE, False),
    ]
    each = Episode(
        call=replace(template.call, digits=("1", "2"), billed_minutes=2),
        reported=template.reported,
        posts=tuple(replace(post, nature=nature, is_repeat=is_repeat) for nature, is_repeat in natures),
    )

    assert +figures(each) == Counter(
        {
            "calls": 1,
            "answered": 1,
            "outcomes.answered": 1,
            "billed_minutes": 2,
            "keypressed": 1,
            "deliveries": 7,
            "duplicates": 2,
            "quarantined": 1,
            "unknown_kind": 1,
        }
    )


def test_figures_of_a_pending_call() -> None:
    """A call without a final callback is pending and no call yet, though its key press is a delivery."""
    pending = [
        each for each in plan(replace(TRICKY, duplicates=0, malformed=0)) if each.call.outcome is Outcome.PENDING
    ]

    assert {tuple(sorted((+figures(each)).items())) for each in pending} == {(("deliveries", 1), ("pending", 1))}
