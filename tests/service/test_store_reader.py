"""What the store answers, from one snapshot, in bounded time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import store_lab as lab

from receiver.errors import QueryError, StoreError
from receiver.model import MICROSECONDS, DecisionKind, Entry, Outcome, Span
from receiver.statistics.tally import Callees
from receiver.store.interface import Dimension, Filters
from receiver.store.sqlite import SqliteReader, StoreFiles, rebuild
from receiver.store.sqlite.view import View
from receiver.store.standing import Standing

DAY = 86_400
ONE_BY_ONE = 2**62
"""As an upper bound of arrivals true of every call, but no part of the roll-ups' key."""


@asynccontextmanager
async def reading(directory: Path, **options: float) -> AsyncIterator[SqliteReader]:
    """A reader of whatever lies in a directory."""
    async with SqliteReader.open(StoreFiles(directory), **options) as reader:  # type: ignore[arg-type] # few options
        yield reader


async def test_old_arrivals_count_by_whole_hours(tmp_path: Path) -> None:
    """Where only hours are kept, a span of arrivals means the hours it touches."""
    old = lab.NOW - 9 * DAY
    lab.keep(tmp_path, [lab.delivery(received_us=at * MICROSECONDS) for at in (old, old + 1800, old + 3600, lab.NOW)])
    lab.fold(tmp_path)

    async with reading(tmp_path) as reader:
        found = await reader.arrivals(Filters(), Span(start=old + 60, end=old + 61))

    assert (found.deliveries, found.duplicates) == (2, 1)


async def test_undecodable_bodies_count_by_arrival(tmp_path: Path) -> None:
    """Every arrival of an undecodable body counts in its second, repeats included."""
    seconds = [0, 0, 1, 7]
    lab.keep(tmp_path, [lab.undecodable(received_us=(lab.NOW + each) * MICROSECONDS) for each in seconds])
    lab.keep(tmp_path, [lab.delivery(), lab.undecodable(app="other")])
    lab.fold(tmp_path)

    async with reading(tmp_path) as reader:
        span = Span(start=lab.NOW, end=lab.NOW + 7)
        counts = [(await reader.arrivals(Filters(app=app), span)).quarantined for app in ("demo", "other", None)]

    assert counts == [3, 1, 4]


async def test_calls_come_newest_first_and_page_by_page(tmp_path: Path) -> None:
    """Pages joined together are every call once, newest first, though some have the same time."""
    starts = [lab.NOW - 100, lab.NOW - 50, lab.NOW - 50, lab.NOW - 50, lab.NOW - 10]
    lab.keep(tmp_path, [lab.delivery(lab.report(f"c{n}", start_calltime=at)) for n, at in enumerate(starts)])
    lab.fold(tmp_path)
    span = Span(start=lab.NOW - 200, end=lab.NOW)

    async with reading(tmp_path) as reader:
        after, pages = None, list[list[str]]()
        while page := await reader.calls(Filters(), span, after=after, limit=2):
            pages.append([row.call.call_id for row in page])
            after = (page[-1].event_at, page[-1].row_id)

    assert pages == [["c4", "c3"], ["c2", "c1"], ["c0"]]


async def test_filters_beside_the_key_ask_the_calls(tmp_path: Path) -> None:
    """Country code, failure code and first arrival filter and group too; what is unknown has the key ""."""
    lab.keep(
        tmp_path,
        [
            lab.delivery(lab.report("1", nationcode="852")),
            lab.delivery(lab.failure("2", failure_code=2)),
            lab.delivery(lab.key_press("3", nationcode="")),
        ],
    )
    lab.fold(tmp_path)
    span = Span(start=lab.NOW - 60, end=lab.NOW + 1)

    async with reading(tmp_path) as reader:
        by_code = await reader.tabulate(Filters(), span, group_by=Dimension.FAILURE_CODE)
        by_country = await reader.tabulate(Filters(), span, group_by=Dimension.NATIONCODE)
        hong_kong = await reader.calls(Filters(nationcode="852"), span, after=None, limit=9)

    assert {cell.key: sum(each.calls for each in cell.tally.values()) for cell in by_code} == {"": 2, "2": 1}
    assert [cell.key for cell in by_country] == ["", "852", "86"]
    assert [row.call.call_id for row in hong_kong] == ["1"]


async def test_lost_calls_are_pending_ones_first_heard_of_long_ago(tmp_path: Path) -> None:
    """Of the calls without a final outcome, those count as lost whose first callback came before an instant."""
    arrivals = {"old": lab.NOW - DAY, "new": lab.NOW}
    presses = [lab.delivery(lab.key_press(name), received_us=at * MICROSECONDS) for name, at in arrivals.items()]
    lab.keep(tmp_path, [*presses, lab.delivery(lab.report("final"), received_us=(lab.NOW - DAY) * MICROSECONDS)])
    lab.fold(tmp_path)

    async with reading(tmp_path) as reader:
        before_us = (lab.NOW - 60) * MICROSECONDS
        span = Span(start=0, end=lab.NOW + 1)
        lost = await reader.lost(Filters(app="demo"), span, first_received_before_us=before_us)
        rest = await reader.calls(
            Filters(outcome=Outcome.PENDING, first_received_from_us=before_us), span, after=None, limit=9
        )

    assert lost == 1
    assert [row.call.call_id for row in rest] == ["new"]


async def test_distinct_callees(tmp_path: Path) -> None:
    """People are counted once, however often they were called, and told apart by their keyed hash."""
    bodies = [lab.report("1"), lab.failure("2"), lab.failure("3", mobile="13800000000"), lab.key_press("4", mobile="")]
    lab.keep(tmp_path, [lab.delivery(body) for body in bodies])
    lab.fold(tmp_path)

    async with reading(tmp_path) as reader:
        found = await reader.callees(Filters(), Span(start=0, end=lab.NOW + 1))

    assert found == Callees(called=2, answered=1)


async def test_one_call_with_all_its_deliveries(tmp_path: Path) -> None:
    """A call shows every delivery that made it, exact bytes and peer included, and no other call's."""
    bodies = [lab.report("1"), lab.failure("2"), lab.key_press("1"), lab.report("1")]
    lab.keep(tmp_path, [lab.delivery(body) for body in bodies])
    lab.fold(tmp_path)

    async with reading(tmp_path) as reader:
        found = await reader.call("tencent", "demo", "1")
        nobody = await reader.call("tencent", "other", "1")

    assert found is not None
    row, made_of = found
    assert (row.outcome, row.deliveries, row.duplicates, row.event_time_source) == (Outcome.ANSWERED, 3, 1, "carrier")
    assert [(each.seq, each.body) for each in made_of] == [(1, bodies[0]), (3, bodies[2]), (4, bodies[3])]
    assert made_of[0].peer["subject"] == "CN=callbacks"
    assert nobody is None


async def test_the_journal_is_followed_in_commit_order(tmp_path: Path) -> None:
    """Followers see deliveries, not decisions, behind their cursor, with what each counts for now."""
    entries: list[Entry] = [
        lab.delivery(),
        lab.held(),
        lab.decision(DecisionKind.RELEASE, seqs=(2,)),
        lab.held(),
        lab.delivery(),
    ]
    lab.keep(tmp_path, [*entries, lab.decision(DecisionKind.VOID, seqs=(5,))])
    lab.fold(tmp_path)

    async with reading(tmp_path) as reader:
        first = await reader.callbacks(after=0, limit=2)
        rest = await reader.callbacks(after=first[-1].seq, limit=100)
        waiting = await reader.held(after=0, limit=1)

    assert [(row.seq, row.standing) for row in (*first, *rest)] == [
        (1, Standing.COUNTED),
        (2, Standing.COUNTED),
        (4, Standing.HELD),
        (5, Standing.VOIDED),
    ]
    assert [row.seq for row in waiting] == [4]


async def test_progress_tells_what_waits_to_be_folded(tmp_path: Path) -> None:
    """The watermark is the last row folded; the oldest row behind it tells the lag."""
    lab.keep(tmp_path, [lab.delivery(), lab.delivery(received_us=7)])
    lab.fold(tmp_path)
    lab.keep(tmp_path, [lab.delivery(received_us=8), lab.delivery(received_us=9)])

    async with reading(tmp_path) as reader:
        progress = await reader.progress()

    assert (progress.watermark, progress.last_seq, progress.oldest_unfolded_us) == (2, 4, 8)
    assert progress.last_callback_us == lab.NOW * MICROSECONDS
    assert progress.version > 0


async def test_a_question_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    """The time limit stops a question with a clear line, and the connection answers the next one."""
    lab.keep(tmp_path, [lab.delivery(lab.report(f"call-{n}")) for n in range(20)])
    lab.fold(tmp_path)

    async with reading(tmp_path, connections=1, time_limit_seconds=0.2) as reader:
        with pytest.raises(QueryError, match="shorter range"):
            await endless(reader)
        assert (await reader.progress()).watermark > 0


async def endless(reader: SqliteReader) -> None:
    """Ask something that has no end."""
    async with reader.snapshot() as view:
        await view._connection.rows("with recursive n (i) as (select 1 union all select i from n) select max(i) from n")


async def test_a_cancelled_question_stops_and_frees_its_connection(tmp_path: Path) -> None:
    """Whoever leaves while the store still looks for the answer holds nobody else up."""
    lab.keep(tmp_path, [lab.delivery()])
    lab.fold(tmp_path)

    async with reading(tmp_path, connections=1, time_limit_seconds=30) as reader:
        asking = asyncio.create_task(endless(reader))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

        assert (await asyncio.wait_for(reader.progress(), timeout=5)).watermark == 1


async def test_one_view_is_one_snapshot(tmp_path: Path) -> None:
    """What is folded while a view is open shows in the next view only."""
    lab.keep(tmp_path, [lab.delivery(lab.report("1"))])
    lab.fold(tmp_path)
    lab.keep(tmp_path, [lab.delivery(lab.report("2"))])

    async with reading(tmp_path) as reader:
        async with reader.snapshot() as view:
            before = await calls_in(view)
            await asyncio.to_thread(lab.fold, tmp_path)
            still = await calls_in(view)
        async with reader.snapshot() as view:
            after = await calls_in(view)

    assert (before, still, after) == (1, 1, 2)


async def calls_in(view: View) -> int:
    """How many calls there are."""
    return len(await view.calls(Filters(), Span(start=0, end=lab.NOW + 1), after=None, limit=99))


async def test_a_rebuilt_file_is_noticed(tmp_path: Path) -> None:
    """Readers that were open during a rebuild read the new file, without a restart."""
    lab.keep(tmp_path, [lab.delivery(lab.report("1"))])
    derived = lab.fold(tmp_path)

    async with reading(tmp_path) as reader:
        await reader.progress()
        old = derived.stat().st_ino
        await asyncio.to_thread(rebuild, StoreFiles(tmp_path), lab.rules(), on_progress=lambda *_: None)
        lab.keep(tmp_path, [lab.delivery(lab.report("2"))])
        lab.fold(tmp_path)
        await asyncio.sleep(0.3)
        progress = await reader.progress()

    assert derived.stat().st_ino != old
    assert progress.watermark == 2


async def test_no_store_is_one_clear_line(tmp_path: Path) -> None:
    """Reading where no store is says so."""
    with pytest.raises(StoreError, match="no store here"):
        async with reading(tmp_path):
            pass
