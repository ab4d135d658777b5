"""What is kept and what can be asked, as one interface. Nothing here knows a database."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias

from receiver.model import Call, Disposition, Entry, Outcome, Receipt, Role, Span
from receiver.statistics.tally import Arrivals, Callees, Tally
from receiver.store.standing import Standing

__all__ = ["Arrivals", "Callees", "Span", "Tally"]  # values of lower rooms, in every question and answer here

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
    """Which calls: every given value must match. `caller` "" means calls whose caller is unknown.

    `outcome` is as stored, so never `lost`: those are `pending` ones first heard of before some instant.
    """

    carrier: str | None = None
    app: str | None = None
    kind: str | None = None
    caller: str | None = None
    nationcode: str | None = None
    outcome: Outcome | None = None
    first_received_from_us: int | None = None
    first_received_before_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The tally of one group in the bucket that starts at `start` (Unix seconds).

    `key` is None when nothing is grouped, and "" for calls of which the dimension is unknown.
    """

    key: str | None
    start: int
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the projector is.

    Attributes:
        version: grows with every change of the derived tables.
        watermark: the last folded journal cursor; `last_seq` the last one written.
        last_callback_us: the latest arrival among folded deliveries, None before the first.
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
    """A kept delivery as the journal has it, and what it counts for now. `body` is None when pruned or erased."""

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
    standing: Standing = Standing.COUNTED


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token of the operations side. No `apps` means all; no `expires_at` means never. Revoked ones are gone."""

    name: str
    roles: frozenset[Role]
    apps: frozenset[str]
    created_at: int
    expires_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A browser session, opened by a sign-in code or a token of that name."""

    name: str
    roles: frozenset[Role]
    apps: frozenset[str]
    last_seen_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRow:
    """A declared application, with the SHA-256 (hexadecimal) of its valid URL keys: two during rotation.

    `callers` are the numbers it calls from, as far as they are declared.
    """

    carrier: str
    name: str
    key_hashes: tuple[str, ...]
    callers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PinRow:
    """A pin of a carrier's; `columns` (`kind` and those it has) are for `trust.pin_from`."""

    id: int
    carrier: str
    columns: Mapping[str, str | int | None]
    reason: str
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRow:
    """A blocked certificate; `columns` are for `trust.block_from`. No carrier means whichever carrier it comes from."""

    id: int
    carrier: str | None
    columns: Mapping[str, str | int | None]
    reason: str
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """How many deliveries of a kind one application may leave in one UTC day."""

    unknown_kind: int
    quarantine: int
    held: int


class Commit(Protocol):
    """Makes a batch durable in one transaction."""

    def __call__(self, entries: Sequence[Entry], /) -> list[Receipt | Exception]:
        """Keep the entries: on return every one with a Receipt is on disk.

        A result per entry, in order: its Receipt, or the RowRefusedError / QuotaError that concerns it alone.

        Raises:
            StoreError: nothing could be kept.
        """


class Questions(Protocol):
    """Questions about calls and arrivals. Never blocks a writer."""

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


class Reader(Questions, Protocol):
    """Questions about everything that was kept."""

    def snapshot(self) -> AbstractAsyncContextManager[Questions]:
        """Several questions about calls whose answers agree with each other. Ask nothing else meanwhile."""

    async def callbacks(self, *, after: int, limit: int) -> list[DeliveryRow]:
        """The journal's deliveries in commit order, behind a cursor."""

    async def held(self, *, after: int, limit: int) -> list[DeliveryRow]:
        """Deliveries that wait for a release, in commit order, behind a cursor."""

    async def quarantine(self, *, after: int, limit: int) -> list[QuarantineRow]:
        """Undecodable bodies, in the order of their first arrival."""

    async def token(self, token_hash: str) -> TokenRow | None:
        """A token by its SHA-256 (hexadecimal), expired or not."""

    async def session(self, session_hash: str, *, seen_since: int) -> SessionRow | None:
        """A session by its SHA-256 (hexadecimal), if it was used since that instant."""

    async def apps(self) -> list[AppRow]:
        """The declared applications."""

    async def pins(self) -> list[PinRow]:
        """The pins of all carriers."""

    async def blocks(self) -> list[BlockRow]:
        """The blocked certificates."""

    async def refusals(self) -> dict[tuple[str, str], int]:
        """Refused requests since the beginning, by (carrier, reason)."""

    async def meta(self, name: str) -> str | None:
        """A fact about the store as a whole, such as `simulated`."""
