"""The store's reading side: each question on a connection and a snapshot of its own, or several on one snapshot."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from receiver.model import Selection, Span
from receiver.statistics.tally import Arrivals, Callees
from receiver.store.interface import (
    AppRow,
    BlockRow,
    CallRow,
    Cell,
    DeliveryRow,
    Dimension,
    Filters,
    HistogramOf,
    PinRow,
    Progress,
    QuarantineRow,
    SessionRow,
    TokenRow,
)
from receiver.store.sqlite import deliveries, rules, source, state, tokens
from receiver.store.sqlite.paths import StoreFiles
from receiver.store.sqlite.pool import CONNECTIONS, TIME_LIMIT_SECONDS, Pool
from receiver.store.sqlite.view import Calendars, View


class SqliteReader:
    """Implements `interface.Reader`, where every method is described. Each may raise QueryError when it takes too long,
    and StoreError when the store cannot be read.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._calendars: Calendars = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, files: StoreFiles, *, connections: int = CONNECTIONS, time_limit_seconds: float = TIME_LIMIT_SECONDS
    ) -> AsyncIterator[Self]:
        """Read a store until the block ends, whether something serves it or not.

        Raises:
            StoreError: there is no store.
        """
        await asyncio.to_thread(files.require)
        async with Pool.open(files, connections=connections, time_limit_seconds=time_limit_seconds) as pool:
            yield cls(pool)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[View]:
        """Several questions about calls whose answers agree with each other; they share one time limit."""
        async with self._pool.borrow() as connection:
            yield await View.on(connection, self._calendars)

    async def progress(self) -> Progress:  # noqa: D102 -- as the protocol says; so are all below
        async with self.snapshot() as view:
            return await view.progress()

    async def tabulate(  # noqa: D102
        self,
        filters: Filters,
        span: Span,
        *,
        edges: Sequence[int] | None = None,
        group_by: Dimension | None = None,
    ) -> list[Cell]:
        async with self.snapshot() as view:
            return await view.tabulate(filters, span, edges=edges, group_by=group_by)

    async def histogram(self, filters: Filters, span: Span, of: HistogramOf) -> dict[int, int]:  # noqa: D102
        async with self.snapshot() as view:
            return await view.histogram(filters, span, of)

    async def arrivals(self, filters: Filters, span: Span) -> Arrivals:  # noqa: D102
        async with self.snapshot() as view:
            return await view.arrivals(filters, span)

    async def lost(self, filters: Filters, span: Span, *, first_received_before_us: int) -> int:  # noqa: D102
        async with self.snapshot() as view:
            return await view.lost(filters, span, first_received_before_us=first_received_before_us)

    async def callees(self, filters: Filters, span: Span) -> Callees:  # noqa: D102
        async with self.snapshot() as view:
            return await view.callees(filters, span)

    async def calls(  # noqa: D102
        self, filters: Filters, span: Span, *, after: tuple[int, int] | None, limit: int
    ) -> list[CallRow]:
        async with self.snapshot() as view:
            return await view.calls(filters, span, after=after, limit=limit)

    async def call(self, carrier: str, app: str, call_id: str) -> tuple[CallRow, list[DeliveryRow]] | None:  # noqa: D102
        async with self.snapshot() as view:
            return await view.call(carrier, app, call_id)

    async def callbacks(self, *, after: int, limit: int) -> list[DeliveryRow]:  # noqa: D102
        async with self._pool.borrow() as connection:
            return await deliveries.after(connection, after, limit)

    async def held(self, *, after: int, limit: int) -> list[DeliveryRow]:  # noqa: D102
        async with self._pool.borrow() as connection:
            return await deliveries.held_after(connection, after, limit)

    async def count_selected(self, selection: Selection, *, is_held: bool = False) -> int:
        """How many deliveries a decision would be about, with `is_held` only of those that came under no pin."""
        async with self._pool.borrow() as connection:
            ((count,),) = await connection.rows(*source.count_selected(selection, is_held=is_held))
        return int(count)

    async def quarantine(self, *, after: int, limit: int) -> list[QuarantineRow]:  # noqa: D102
        async with self._pool.borrow() as connection:
            return await deliveries.quarantine_after(connection, after, limit)

    async def token(self, token_hash: str) -> TokenRow | None:  # noqa: D102
        rows = await self._rows(tokens.TOKEN_BY_HASH, token_hash)
        return tokens.token_row(rows[0]) if rows else None

    async def session(self, session_hash: str, *, seen_since: int) -> SessionRow | None:  # noqa: D102
        rows = await self._rows(tokens.SESSION_BY_HASH, session_hash, seen_since)
        return tokens.session_row(rows[0]) if rows else None

    async def apps(self) -> list[AppRow]:  # noqa: D102
        return rules.app_rows(await self._rows(rules.APPS))

    async def pins(self) -> list[PinRow]:  # noqa: D102
        return [rules.pin_row(row) for row in await self._rows(rules.PINS)]

    async def blocks(self) -> list[BlockRow]:  # noqa: D102
        return [rules.block_row(row) for row in await self._rows(rules.BLOCKS)]

    async def refusals(self) -> dict[tuple[str, str], int]:  # noqa: D102
        return {(carrier, reason): count for carrier, reason, count in await self._rows(state.REFUSALS)}

    async def meta(self, name: str) -> str | None:  # noqa: D102
        rows = await self._rows(state.META, name)
        return rows[0][0] if rows else None

    async def _rows(self, statement: str, *values: Any) -> list[Any]:
        async with self._pool.borrow() as connection:
            return await connection.rows(statement, values)
