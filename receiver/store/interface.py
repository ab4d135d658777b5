"""What is kept and what can be asked, as one interface. Nothing here knows a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias

from receiver.model import Call, Disposition, Entry, Outcome, Receipt
from receiver.statistics.tally import Tally

HistogramOf: TypeAlias = Literal["time_to_answer", "talk", "lag"]


class Dimension(StrEnum):
    """What calls can be grouped by."""

    OUTCOME = "outcome"
    FAILURE_CODE = "failure_code"
    CALLER = "call_from"
    APP = "app"
    KIND = "kind"
    CARRIER = "carrier"
    NATIONCODE = "nationcode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which calls: every given value must match. `caller` "" means calls whose caller is unknown."""

    carrier: str | None = None
    app: str | None = None
    kind: str | None = None
    caller: str | None = None
    nationcode: str | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A half-open interval of Unix seconds."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The tally of one group (`key`, None when not grouped) in the bucket that starts at `start` (Unix seconds)."""

    key: str | None
    start: int
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Deliveries counted by arrival. They know a carrier and an application, and no other filter."""

    deliveries: int
    duplicates: int
    held: int
    unknown_kind: int
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Callees:
    """Distinct people called, and how many of them answered at least once."""

    called: int
    answered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the projector is.

    Attributes:
        version: grows with every change of the derived tables.
        watermark: the last folded journal cursor; `last_seq` the last one written.
        folded_us: arrival of the last folded delivery, None before the first.
        oldest_unfolded_us: arrival of the first delivery not folded yet, None when all are.
    """

    version: int
    watermark: int
    last_seq: int
    last_callback_us: int | None
    oldest_unfolded_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """A call with everything derived from it. `row_id` breaks ties in the keyset `(event_at, row_id)`."""

    row_id: int
    call: Call
    outcome: Outcome
    event_at: int
    event_time_source: str
    deliveries: int
    duplicates: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A kept delivery as the journal has it. `body` is None when pruned or erased."""

    seq: int
    received_us: int
    carrier: str
    app: str
    kind: str
    disposition: Disposition
    peer: Mapping[str, str]
    tls_protocol: str
    tls_cipher: str
    sha256: str
    size: int
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRow:
    """An undecodable body: exact bytes, reason and offset."""

    id: int
    received_us: int
    last_received_us: int
    hits: int
    carrier: str
    app: str
    peer_sha256: str
    headers: Mapping[str, str]
    sha256: str
    size: int
    reason: str
    offset: int | None
    answered_status: int
    state: str
    body: bytes


class Commit(Protocol):
    """Make a batch durable: one transaction. On return every entry with a Receipt is on disk.

    A result per entry, in order: its Receipt, or the RowRefusedError / QuotaError that concerns this row alone.
    Raises StoreError when nothing could be kept.
    """

    def __call__(self, entries: Sequence[Entry], /) -> list[Receipt | Exception]: ...


class Reader(Protocol):
    """Questions about what was kept. Never blocks a writer."""

    async def progress(self) -> Progress:
        """How far the projector is."""

    async def tabulate(
        self,
        filters: Filters,
        span: Span,
        *,
        edges: Sequence[int] | None = None,
        group_by: Dimension | None = None,
    ) -> list[Cell]:
        """Tallies of calls whose event time lies in the span; one cell per group and bucket that has calls.

        `edges` are the starts of the buckets, ascending, the first equal to `span.start`.
        """

    async def histogram(self, filters: Filters, span: Span, of: HistogramOf) -> dict[int, int]:
        """Exact counts per second; `lag` is counted by arrival and obeys only carrier and app."""

    async def arrivals(self, filters: Filters, span: Span) -> Arrivals:
        """Deliveries by arrival; obeys only carrier and app."""

    async def lost(self, filters: Filters, span: Span, *, first_received_before_us: int) -> int:
        """Pending calls in the span whose first callback came before that instant."""

    async def callees(self, filters: Filters, span: Span) -> Callees:
        """Distinct callees; exact, so the caller bounds the span."""

    async def calls(self, filters: Filters, span: Span, *, after: tuple[int, int] | None, limit: int) -> list[CallRow]:
        """Calls newest first; `after` is the keyset `(event_at, rowid)` of the last one seen."""

    async def call(self, carrier: str, app: str, call_id: str) -> tuple[CallRow, list[DeliveryRow]] | None:
        """One call, with every delivery that made it."""

    async def callbacks(self, *, after: int, limit: int) -> list[DeliveryRow]:
        """The journal's deliveries in commit order, behind a cursor."""

    async def quarantine(self, *, after: int, limit: int) -> list[QuarantineRow]:
        """Undecodable bodies, in the order of their first arrival."""
