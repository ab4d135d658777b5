"""What one journal row says, ready to be folded: decoded, or with the reason why it cannot be. Knows no database."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final
from zoneinfo import ZoneInfo

import orjson

from receiver import calls
from receiver.carriers import CarrierProfile
from receiver.model import MICROSECONDS, Call, CallKind, CallReport, Event, KeyPress, Outcome
from receiver.statistics.contribution import contribution
from receiver.statistics.tally import MEASURE_NAMES, Measures
from receiver.store.levels import FINE_SECONDS
from receiver.store.sqlite import derived_tables
from receiver.store.sqlite.call_table import CallKey, hash_of
from receiver.store.sqlite.source import JournalRow

_HASH_BYTES: Final = 16
_MAX_LAG_SECONDS: Final = 24 * 60 * 60
_DIGEST_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything beside the journal that the derived tables depend on.

    Attributes:
        profiles: the decoder and codes of each configured carrier, by the carrier's name.
        callee_key: the secret of the callee hash.
    """

    profiles: Mapping[str, CarrierProfile]
    zone: ZoneInfo
    short_seconds: Mapping[CallKind, int]
    callee_key: bytes = field(repr=False)

    def fingerprint(self) -> str:
        """A text that changes when the tables must be computed anew; it tells nothing of the secret."""
        facts = {
            "version": derived_tables.VERSION,
            "zone": self.zone.key,
            "fine_seconds": FINE_SECONDS,
            "short_seconds": {kind.value: seconds for kind, seconds in self.short_seconds.items()},
            "outcomes": [outcome.value for outcome in Outcome],
            "measures": MEASURE_NAMES,
            "callee_key": blake2b(b"", key=self.callee_key, person=b"fingerprint").hexdigest()[:_HASH_BYTES],
        }
        return orjson.dumps(facts, option=orjson.OPT_SORT_KEYS).decode()

    def callee_hash(self, callee: str) -> bytes:
        """The keyed hash under which a callee can be found once its number is erased."""
        return callee_hash(callee, key=self.callee_key)

    def outcome(self, call: Call) -> Outcome:
        """How a call ended, by its carrier's codes."""
        return calls.outcome(call, self.profiles[call.carrier].failure_outcomes)

    def measures(self, call: Call, outcome: Outcome) -> Measures:
        """What a call adds to its buckets."""
        return contribution(call, outcome, short_seconds=self.short_seconds)


def callee_hash(callee: str, *, key: bytes) -> bytes:
    """The keyed hash of a callee (E.164 digits): BLAKE2b of 16 bytes."""
    return blake2b(callee.encode(), key=key, digest_size=_HASH_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Reading:
    """What one delivery says.

    Attributes:
        calls: what it says of each call it names; the first one stands for the delivery as a whole.
        digest: of the exact bytes; equal for byte-equal deliveries, and hardly ever else.
        is_repeatable: another delivery of the same bytes is a duplicate; not so for key presses alone.
        lag_seconds: how long after a call's end its report arrived, 0 to a day; None when it reports no end.
        problem: why the row cannot be folded; then it says nothing.
    """

    row: JournalRow
    calls: Mapping[CallKey, Call]
    digest: int
    is_repeatable: bool
    lag_seconds: int | None
    problem: str | None

    @property
    def source(self) -> tuple[str, str]:
        """The carrier and the application."""
        return self.row.carrier, self.row.app

    @property
    def received_at(self) -> int:
        """The second of its arrival."""
        return self.row.received_us // MICROSECONDS

    @property
    def is_unknown(self) -> bool:
        """Well-formed, and of no kind known."""
        return self.problem is None and not self.calls


def read(row: JournalRow, rules: Rules) -> Reading:
    """Decode one delivery."""
    problem: str | None = None
    events: tuple[Event, ...] = ()
    said: dict[CallKey, Call] = {}
    try:
        events = _decode(row, rules)
        said = _calls(row, events, rules.callee_hash)
    except Exception as exc:  # noqa: BLE001 -- whatever a decoder does wrong, one row must not stop the cursor
        # The words of an unexpected error may quote the body.
        problem = str(exc) if isinstance(exc, UnfoldableError) else f"the decoder failed: {type(exc).__name__}"
        events, said = (), {}
    return Reading(
        row=row,
        calls=said,
        digest=int.from_bytes(row.sha256[:_DIGEST_BYTES], signed=True),
        is_repeatable=any(not isinstance(event, KeyPress) for event in events),
        lag_seconds=_lag_seconds(events, row.received_us // MICROSECONDS),
        problem=problem,
    )


class UnfoldableError(Exception):
    """A journal row that no decoder is asked about."""


def _decode(row: JournalRow, rules: Rules) -> tuple[Event, ...]:
    if row.body is None:
        raise UnfoldableError("its body is not kept any more")
    profile = rules.profiles.get(row.carrier)
    if profile is None:
        raise UnfoldableError("its carrier is not configured")
    return profile.decode(row.body).events


def _calls(row: JournalRow, events: tuple[Event, ...], hash_of_callee: Callable[[str], bytes]) -> dict[CallKey, Call]:
    said: dict[CallKey, Call] = {}
    for event in events:
        hashed = calls.with_callee_hash(event, hash_of_callee)
        call = calls.lift(hashed, carrier=row.carrier, app=row.app, received_us=row.received_us)
        key = (call.carrier, call.app, call.call_id)
        # A call whose id cannot be written as UTF-8 must fail here, as one row, and not in the table.
        hash_of(key)
        said[key] = calls.merge(said[key], call) if key in said else call
    return said


def _lag_seconds(events: tuple[Event, ...], received_at: int) -> int | None:
    for event in events:
        if isinstance(event, CallReport) and event.ended_at is not None:
            return min(max(received_at - event.ended_at, 0), _MAX_LAG_SECONDS)
    return None
