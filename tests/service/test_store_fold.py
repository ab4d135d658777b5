"""The derived tables are a function of the set of deliveries and the set of decisions, and of nothing else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import store_lab as lab
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.model import MICROSECONDS, UNKNOWN_KIND, Decision, DecisionKind, Delivery
from receiver.store.sqlite import StoreFiles, rebuild

DAY = 86_400
APPS = ("demo", "other")
PEERS = ("ab" * 32, "cd" * 32)

call_ids = st.sampled_from(["1", "2", "0bd403fe-ffd6-11eb-935a-5254002ab735"])
times = st.sampled_from(["", "0", str(lab.NOW - 9 * DAY), str(lab.NOW - 3600), str(lab.NOW - 5), str(lab.NOW + 7)])
# Few callers, and text that JSON and SQLite could stumble over.
callers = st.sampled_from(["", "075583763333", "089831335739", "\u0000 \U0001f4de'"])
mobiles = st.sampled_from(["13812345678", "13800000000", ""])

reports = st.builds(
    lab.report,
    call_ids,
    kind=st.sampled_from(["voiceprompt_callback", "voicecode_callback"]),
    result=st.sampled_from(["0", "1", "2", "7", ""]),
    start_calltime=times,
    accept_time=times,
    end_calltime=times,
    fee=st.sampled_from(["", "0", "2", str(2**31 - 1)]),
    call_from=callers,
    mobile=mobiles,
)
failures = st.builds(lab.failure, call_ids, failure_code=st.sampled_from([8, 2, 99, -(2**63)]), call_from=callers)
key_presses = st.builds(lab.key_press, call_ids, keypress=st.sampled_from(["1", "12", "#", ""]))


def both(one: bytes, other: bytes) -> bytes:
    """Two callbacks in one body."""
    return json.dumps(json.loads(one) | json.loads(other)).encode()


bodies = st.one_of(
    reports,
    failures,
    key_presses,
    st.builds(both, reports, failures),
    st.builds(both, key_presses, failures),
    # Kept when another decoder took it; this one cannot read it.
    st.sampled_from([b"{}", b'{"voice_future_callback":{}}', b"not JSON"]),
)
arrivals = st.sampled_from([lab.NOW - 8 * DAY, lab.NOW - 4000, lab.NOW - 60, lab.NOW - 1, lab.NOW, lab.NOW + 1])
instants = st.one_of(st.none(), arrivals.map(lambda at: at * MICROSECONDS))


@st.composite
def deliveries(draw: st.DrawFn) -> list[Delivery]:
    """Deliveries of few bodies, so that many are repeated."""
    known = draw(st.lists(bodies, min_size=1, max_size=5))
    one = st.builds(
        _delivery,
        st.sampled_from(known),
        received_at=arrivals,
        micro=st.integers(0, 2),
        app=st.sampled_from(APPS),
        is_held=st.booleans(),
        carrier=st.sampled_from(["tencent", "tencent", "gone"]),
    )
    return draw(st.lists(one, min_size=1, max_size=14))


def _delivery(body: bytes, *, received_at: int, micro: int, is_held: bool, **changes: Any) -> Delivery:
    kind = UNKNOWN_KIND if body.startswith(b"{}") else "whatever"
    changes |= {"received_us": received_at * MICROSECONDS + micro, "kind": kind}
    return lab.held(body, **changes) if is_held else lab.delivery(body, **changes)


decisions = st.lists(
    st.builds(
        lab.decision,
        st.sampled_from([DecisionKind.VOID, DecisionKind.RELEASE, DecisionKind.DISCARD, DecisionKind.REDECODE]),
        carrier=st.sampled_from([None, "tencent"]),
        app=st.sampled_from([None, *APPS]),
        peer_sha256=st.sampled_from([None, *PEERS]),
        received_from_us=instants,
        received_to_us=instants,
    ),
    max_size=4,
)


@dataclass(frozen=True)
class Past:
    """The same deliveries and decisions in some order, folded in batches of some sizes."""

    entries: Sequence[Delivery | Decision]
    batches: Sequence[int]

    def tables(self, directory: Path) -> dict[str, list[tuple[Any, ...]]]:
        """What the derived tables say of it."""
        lab.keep(directory, self.entries)
        return lab.content(lab.fold(directory, batches=self.batches))


@st.composite
def two_pasts(draw: st.DrawFn) -> tuple[Past, Past]:
    """Two orders of the same deliveries and the same decisions, which keep their own order."""
    given_deliveries, given_decisions = draw(deliveries()), draw(decisions)
    sizes = st.lists(st.integers(1, 6), min_size=1, max_size=5)

    def woven() -> list[Delivery | Decision]:
        order: list[Delivery | Decision] = list(draw(st.permutations(given_deliveries)))
        places = sorted(draw(st.integers(0, len(order))) for _ in given_decisions)
        for place, decided in reversed(list(zip(places, given_decisions, strict=True))):
            order.insert(place, decided)
        return order

    return Past(woven(), draw(sizes)), Past(woven(), draw(sizes))


@settings(max_examples=120)
@given(two_pasts())
def test_any_order_gives_the_same_tables(pasts: tuple[Past, Past]) -> None:
    """Order of deliveries, batch boundaries and the places of decisions among them change nothing."""
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        first, second = pasts[0].tables(Path(one)), pasts[1].tables(Path(other))

    assert first == second


@settings(max_examples=120)
@given(two_pasts(), st.data())
def test_a_rebuild_ends_equal(pasts: tuple[Past, Past], data: st.DataObject) -> None:
    """Computing everything anew gives what folding step by step gave, with decisions about single rows too."""
    single = st.builds(
        lab.decision,
        st.sampled_from([DecisionKind.VOID, DecisionKind.RELEASE, DecisionKind.DISCARD]),
        seqs=st.lists(st.integers(1, 10), max_size=3).map(tuple),
    )
    entries = [*pasts[0].entries, *data.draw(st.lists(single, max_size=2))]
    with TemporaryDirectory() as directory:
        before = replace(pasts[0], entries=entries).tables(Path(directory))
        rebuilt = rebuild(StoreFiles(Path(directory)), lab.rules(), on_progress=lambda *_: None)
        after = lab.content(StoreFiles(Path(directory)).derived)

    assert before == after
    assert rebuilt.differences == ()
