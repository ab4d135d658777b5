"""The values everything else speaks of: deliveries, events, calls, peers. Frozen, and nothing here acts.

Instants are integers: `..._at` counts Unix seconds (the carrier's resolution), `..._us` Unix microseconds (our
clock's). The fold compares and subtracts them by the million, and integers are exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

MICROSECONDS: Final = 1_000_000


class CallKind(StrEnum):
    """What the call was for, as far as its callbacks tell."""

    CODE = "code"
    PROMPT = "prompt"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How a call ended. `pending` and `lost` are not final (contract, section 5)."""

    ANSWERED = "answered"
    NO_ANSWER = "no_answer"
    USER_BUSY = "user_busy"
    REJECTED = "rejected"
    FORWARDED = "forwarded"
    POWERED_OFF = "powered_off"
    OUT_OF_COVERAGE = "out_of_coverage"
    UNAVAILABLE = "unavailable"
    SUSPENDED = "suspended"
    INVALID_NUMBER = "invalid_number"
    BARRED = "barred"
    NETWORK_BUSY = "network_busy"
    CARRIER_LIMITED = "carrier_limited"
    SYSTEM_ERROR = "system_error"
    OTHER = "other"
    PENDING = "pending"
    LOST = "lost"


class Anomaly(StrEnum):
    """Something odd that is counted and does not stop anything."""

    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    NUMBER_UNREADABLE = "number_unreadable"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    TIME_UNREADABLE = "time_unreadable"
    TEXT_UNREADABLE = "text_unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A half-open interval of Unix seconds."""

    start: int
    end: int


class EventTimeSource(StrEnum):
    """Where a call's event time comes from, best first."""

    CARRIER = "carrier"
    CALLID = "callid"
    ARRIVAL = "arrival"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Who called whom. `callee` is E.164 digits without a plus; `caller` is as the carrier wrote it."""

    callee: str | None = None
    callee_hash: bytes | None = None
    nationcode: str | None = None
    caller: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """A status callback: the call ended, and how. `result` 0 answered, 1 not answered, 2 abnormal, else unknown."""

    call_id: str
    parties: Parties
    kind: CallKind
    result: int | None = None
    started_at: int | None = None
    answered_at: int | None = None
    ended_at: int | None = None
    billed_minutes: int | None = None
    anomalies: tuple[Anomaly, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailure:
    """A failure callback: why the call did not reach its callee. The code decides; the text is kept as received."""

    call_id: str
    parties: Parties
    failure_code: int | None = None
    failure_reason: str | None = None
    anomalies: tuple[Anomaly, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPress:
    """The callee pressed a key, i.e. sent DTMF digits (ITU-T Q.23)."""

    call_id: str
    parties: Parties
    digit: str | None = None
    anomalies: tuple[Anomaly, ...] = ()


Event: TypeAlias = CallReport | CallFailure | KeyPress

UNKNOWN_KIND: Final = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What one body says: the carrier's word for its kind (several joined by a comma), and its events.

    A readable body of an unknown kind has the kind `unknown` and no events.
    """

    kind: str
    events: tuple[Event, ...] = ()

    @property
    def is_unknown(self) -> bool:
        """No event could be read, though the body is well-formed."""
        return not self.events


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end of a verified TLS connection. Names are RFC 4514 strings, the serial is hexadecimal.

    Attributes:
        is_chain_verified: False when the library could not process the certificate and its SHA-256 pin, after nginx's
            verification, stood in for it.
    """

    carrier: str
    subject: str
    issuer: str
    serial: str
    sha256: str
    not_after: int
    is_pinned: bool
    is_chain_verified: bool = True


class Disposition(StrEnum):
    """What a kept delivery does to the figures, before any decision."""

    COUNTED = "counted"
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One accepted POST, as it came: the exact bytes, when, for whom, and from which peer."""

    received_us: int
    carrier: str
    app: str
    kind: str
    body: bytes
    sha256: bytes
    peer: Peer
    tls_protocol: str
    tls_cipher: str
    disposition: Disposition = Disposition.COUNTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """One authenticated POST that could not be decoded: the exact bytes, and why and where reading stopped."""

    received_us: int
    carrier: str
    app: str
    body: bytes
    sha256: bytes
    peer: Peer
    headers: Mapping[str, str]
    reason: str
    offset: int | None
    answered_status: int


class Role(StrEnum):
    """What a token of the operations side may do (contract, section 4)."""

    READ = "read"
    LOOKUP = "lookup"
    REVEAL = "reveal"
    SUBMIT = "submit"
    ADMIN = "admin"


class DecisionKind(StrEnum):
    """What operations decided about kept deliveries."""

    RELEASE = "release"
    DISCARD = "discard"
    VOID = "void"
    ERASE = "erase"
    REDECODE = "redecode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which deliveries a decision is about: every given condition must hold. Times are half-open, by arrival."""

    carrier: str | None = None
    app: str | None = None
    peer_sha256: str | None = None
    received_from_us: int | None = None
    received_to_us: int | None = None
    seqs: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A journal row that changes what deliveries count for, without touching them."""

    decided_us: int
    kind: DecisionKind
    selection: Selection
    reason: str
    decided_by: str


Entry: TypeAlias = Delivery | Undecodable | Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof of a commit: the journal cursor of a delivery or decision, or the row number of a quarantined body."""

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call attempt, folded from everything said about it. Built and merged only by `receiver.calls`.

    Attributes:
        result: the best one seen: 0 before 1 before 2 before any other.
        failure_code: the least one seen; `failure_reason` is the text that came with it.
        digits: every `digit` text seen.
        conflicts: names of single-valued fields in which deliveries disagreed.
    """

    carrier: str
    app: str
    call_id: str
    kind: CallKind = CallKind.UNKNOWN
    result: int | None = None
    failure_code: int | None = None
    failure_reason: str | None = None
    caller: str | None = None
    callee: str | None = None
    callee_hash: bytes | None = None
    nationcode: str | None = None
    started_at: int | None = None
    answered_at: int | None = None
    ended_at: int | None = None
    billed_minutes: int | None = None
    digits: frozenset[str] = frozenset()
    first_received_us: int
    last_received_us: int
    conflicts: frozenset[str] = frozenset()
    anomalies: frozenset[Anomaly] = field(default_factory=frozenset)
