"""The sides of a running receiver: the operations side, the commands, the carrier side, until told to stop."""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from receiver import commands, control
from receiver.cli.serve_parts import Parts, Place, now_us, start
from receiver.control import Handler, Request
from receiver.errors import StoreError
from receiver.model import MICROSECONDS
from receiver.web import edge_server, ops
from receiver.web.auth import Doorkeeper
from receiver.web.desk import Desk

log = logging.getLogger(__name__)


async def serve(place: Place) -> None:
    """Serve until SIGTERM or SIGINT. On return everything taken is on disk.

    Raises:
        ReceiverError: it cannot be started, or a part without which nothing works has died.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        parts = await start(place, stack)
        stack.enter_context(parts.audit.reading(parts.sockets.audit))
        await stack.enter_async_context(ops.serving(_desk(parts), parts.sockets.ops))
        await stack.enter_async_context(_control(parts))
        # The carrier side opens last and closes first.
        body_bytes = place.settings.limits.body_bytes
        await stack.enter_async_context(edge_server.serving(parts.edge, [parts.sockets.edge], body_bytes=body_bytes))
        await _until_over(stop, parts)


def _desk(parts: Parts) -> Desk:
    store, settings = parts.store, parts.place.settings
    doorkeeper = Doorkeeper(
        store.reader,
        file_token=parts.upkeep.file_token,
        note_seen=lambda session, now: store.write(lambda state: state.session_seen(session, now=now)),
        is_behind_tls=settings.server.ops_tls,
        now_us=now_us,
    )
    return Desk(
        settings=settings,
        reader=store.reader,
        write=store.write,
        doorkeeper=doorkeeper,
        unready=parts.unready,
        trust_warnings=lambda: [
            *parts.trust.warnings(now=now_us() // MICROSECONDS),
            *parts.upkeep.rules.warnings(),
        ],
        handshakes=lambda: parts.audit.last,
        now_us=now_us,
    )


@asynccontextmanager
async def _control(parts: Parts) -> AsyncIterator[None]:
    handlers = _effective(control.serving(parts.store, parts.journal, parts.projector), parts)
    given = parts.sockets.control
    path = None if given else parts.place.run / "control.sock"
    async with control.listening(handlers, path=path, sock=given):
        yield


def _effective(handlers: Mapping[str, Handler], parts: Parts) -> dict[str, Handler]:
    """The same handlers, but whoever changed something is answered when the change is in force."""

    def of(handler: Handler) -> Handler:
        async def changed(request: Request) -> object:
            result = await handler(request)
            await parts.upkeep.rules.refresh(parts.edge)
            return result

        return changed

    return {name: of(handler) if name in commands.CHANGES else handler for name, handler in handlers.items()}


async def _until_over(stop: asyncio.Event, parts: Parts) -> None:
    """Be open until told to stop.

    Raises:
        StoreError: a part has died.
    """
    # What lives as long as the process need not be looked through again and again.
    gc.collect()
    gc.freeze()
    stopping = asyncio.create_task(stop.wait())
    working = asyncio.create_task(parts.upkeep.run())
    log.info("serving", extra={"home": str(parts.place.home.root), "mode": parts.place.settings.mode})
    parts.is_open = True
    try:
        ends: list[asyncio.Future[Any]] = [stopping, working, parts.journal.died, parts.projector.died]
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        parts.is_open = False
        stopping.cancel()
        working.cancel()
        await asyncio.gather(stopping, working, return_exceptions=True)
    for ended in done - {stopping}:
        error = ended.exception()
        log.critical("a part has died", extra={"problem": str(error)}, exc_info=error)
        raise StoreError(f"a part of the receiver has died: {error}") from error
    log.info("stopping")
