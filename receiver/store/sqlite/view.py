"""Answers about calls and arrivals from one snapshot of the derived tables. Writes nothing."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Self, TypeAlias
from zoneinfo import ZoneInfo

import orjson

from receiver.model import Outcome, Span
from receiver.statistics.tally import Arrivals, Callees, Measures
from receiver.store.interface import CallRow, Cell, DeliveryRow, Dimension, Filters, HistogramOf, Progress
from receiver.store.levels import Calendar
from receiver.store.sqlite import call_table, deliveries, questions
from receiver.store.sqlite.codes import OUTCOMES, measures_of
from receiver.store.sqlite.pool import Connection
from receiver.store.sqlite.questions import Cuts, Question
from receiver.store.sqlite.rollups import Seconds

_PROGRESS: Final = """
select cursor, version, last_received_us,
  (select coalesce(max(seq), 0) from journal),
  (select received_us from journal where seq > progress.cursor order by seq limit 1)
from progress
"""
_CUTS: Final = "select floor, rules from progress"

_SECONDS: Final[Mapping[HistogramOf, Seconds]] = {"time_to_answer": Seconds.TIME_TO_ANSWER, "talk": Seconds.TALK}


Calendars: TypeAlias = dict[str, Calendar]
"""Remembers, from one snapshot to the next, the days of the rules that the tables were computed with."""


class View:
    """One snapshot: all answers of one view agree with each other."""

    def __init__(self, connection: Connection, cuts: Cuts) -> None:
        self._connection = connection
        self._cuts = cuts

    @classmethod
    async def on(cls, connection: Connection, calendars: Calendars) -> Self:
        """Begin a snapshot; it ends when the connection is given back."""
        await connection.rows("begin")
        ((floor, rules),) = await connection.rows(_CUTS)
        if rules not in calendars:
            # Reads the zone's file.
            calendar = await asyncio.to_thread(_calendar, rules)
            calendars.clear()
            calendars[rules] = calendar
        return cls(connection, Cuts(calendars[rules], floor))

    async def progress(self) -> Progress:
        """How far the projector is."""
        ((cursor, version, last_us, last_seq, oldest_us),) = await self._connection.rows(_PROGRESS)
        return Progress(
            version=version,
            watermark=cursor,
            last_seq=last_seq,
            last_callback_us=last_us,
            oldest_unfolded_us=oldest_us,
        )

    async def tabulate(
        self,
        filters: Filters,
        span: Span,
        *,
        edges: Sequence[int] | None = None,
        group_by: Dimension | None = None,
    ) -> list[Cell]:
        """Tallies of calls by event time; see `interface.Reader`."""
        starts = [span.start] if edges is None else list(edges)
        spans = [Span(start=start, end=end) for start, end in pairwise([*starts, span.end])]
        question = questions.tally(filters, spans, group_by=group_by, cuts=self._cuts)
        cells: dict[tuple[int, str | None], dict[Outcome, Measures]] = {}
        for number, key, code, *sums in await self._ask(question):
            outcome = OUTCOMES[code]
            if group_by is Dimension.OUTCOME:
                key = outcome.value  # noqa: PLW2901 -- the rows are grouped by outcome anyway
            tally = cells.setdefault((number, key), {})
            measures = measures_of(sums)
            tally[outcome] = tally[outcome] + measures if outcome in tally else measures
        return [
            Cell(key=key, start=starts[number], tally=tally)
            for (number, key), tally in sorted(cells.items(), key=lambda cell: (cell[0][0], cell[0][1] or ""))
        ]

    async def histogram(self, filters: Filters, span: Span, of: HistogramOf) -> dict[int, int]:
        """Exact counts per second; see `interface.Reader`."""
        if of == "lag":
            question = questions.lags(filters, span, cuts=self._cuts)
        else:
            question = questions.seconds(filters, span, what=_SECONDS[of], cuts=self._cuts)
        counts: dict[int, int] = {}
        for second, count in await self._ask(question):
            counts[second] = counts.get(second, 0) + count
        return counts

    async def arrivals(self, filters: Filters, span: Span) -> Arrivals:
        """Deliveries by arrival; see `interface.Reader`. Where only hours are kept, whole ones."""
        ((deliveries_, duplicates, held, unknown_kind),) = await self._ask(
            questions.arrivals(filters, span, cuts=self._cuts)
        )
        ((quarantined,),) = await self._ask(questions.quarantined(filters, span))
        return Arrivals(
            deliveries=deliveries_,
            duplicates=duplicates,
            held=held,
            unknown_kind=unknown_kind,
            quarantined=quarantined,
        )

    async def lost(self, filters: Filters, span: Span, *, first_received_before_us: int) -> int:
        """Pending calls first heard of before an instant."""
        before = Filters(
            carrier=filters.carrier,
            app=filters.app,
            kind=filters.kind,
            caller=filters.caller,
            nationcode=filters.nationcode,
            outcome=filters.outcome,
            first_received_from_us=filters.first_received_from_us,
            first_received_before_us=first_received_before_us,
        )
        ((count,),) = await self._ask(questions.pending(before, span))
        return int(count)

    async def callees(self, filters: Filters, span: Span) -> Callees:
        """Distinct callees, and how many of them answered."""
        ((called, answered),) = await self._ask(questions.callees(filters, span))
        return Callees(called=called, answered=answered)

    async def calls(self, filters: Filters, span: Span, *, after: tuple[int, int] | None, limit: int) -> list[CallRow]:
        """Calls newest first."""
        question = questions.calls(call_table.COLUMNS, filters, span, after=after, limit=limit)
        return [_call_row(row) for row in await self._ask(question)]

    async def call(self, carrier: str, app: str, call_id: str) -> tuple[CallRow, list[DeliveryRow]] | None:
        """One call, with every delivery that made it, in journal order."""
        key = (carrier, app, call_id)
        rows = await self._connection.rows(call_table.BY_KEY, (call_table.hash_of(key),))
        for found in [_call_row(row) for row in rows]:
            if (found.call.carrier, found.call.app, found.call.call_id) == key:
                return found, await deliveries.of_call(self._connection, found.row_id)
        return None

    async def _ask(self, question: Question) -> list[Any]:
        return await self._connection.rows(question.statement, question.values)


def _calendar(rules: str) -> Calendar:
    """The days of the roll-ups are those of the zone they were computed with. Without rules there are none yet."""
    return Calendar(ZoneInfo(orjson.loads(rules)["zone"] if rules else "UTC"))


def _call_row(row: Sequence[Any]) -> CallRow:
    return CallRow(
        row_id=row[0],
        call=call_table.call_of(row),
        outcome=OUTCOMES[row[24]],
        event_at=row[23],
        event_time_source=row[25],
        deliveries=row[21],
        duplicates=row[22],
    )
