"""The carrier side's connections: HTTP by aiohttp with our bounds, every answer in the carrier's shape, a calm stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from receiver.errors import ReceiverError
from receiver.web.edge import Edge
from receiver.web.gate import RequestError

# nginx's escaped certificate may take 8190 characters beside the header's name.
_HEADER_BYTES: Final = 16 * 1024
# nginx sends a whole request at once, so what is left of a refused one comes soon or never.
_LINGER_SECONDS: Final = 2.0
# Longer than nginx keeps its idle connections to us (60 s), so that nginx, who can retry, is the one who closes.
_KEEPALIVE_SECONDS: Final = 75.0
_BACKLOG: Final = 1024
_LAST_REQUESTS_SECONDS: Final = 0.2


class _InternalError(ReceiverError):
    """Something nobody foresaw; the traceback is in the log."""

    reason = "internal"


class _Connection(web.RequestHandler):
    """aiohttp's connection, except that no answer of its own leaves in another shape or with another status."""

    __slots__ = ("_edge",)

    def __init__(self, server: "_EdgeServer", edge: Edge, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._edge = edge

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp could not parse with 400, and our own failures with 503."""
        del message
        if status == HTTPStatus.BAD_REQUEST:
            error: ReceiverError = RequestError(HTTPStatus.BAD_REQUEST, "bad_http", "not a well-formed HTTP request")
        else:
            error = _InternalError("unforeseen failure")
            error.__cause__ = exc
        response = self._edge.refuse(request, error)
        response.force_close()
        return response


class _EdgeServer(web.Server):
    """Makes our connections, and requests that read no more than a callback's bytes."""

    def __init__(self, edge: Edge, *, body_bytes: int) -> None:
        super().__init__(edge.answer, request_factory=self._bounded_request)
        self._edge = edge
        self._body_bytes = body_bytes

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            self._edge,
            loop=self._loop,
            access_log=None,
            auto_decompress=False,
            max_field_size=_HEADER_BYTES,
            lingering_time=_LINGER_SECONDS,
            keepalive_timeout=_KEEPALIVE_SECONDS,
        )

    def _bounded_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=self._body_bytes)


@asynccontextmanager
async def serving(
    edge: Edge, sockets: Iterable[socket.socket], *, body_bytes: int, drain_seconds: float = 10.0
) -> AsyncIterator[None]:
    """Serve the carrier side on listening Unix sockets; on leaving, answer what was admitted and close calmly."""
    server = _EdgeServer(edge, body_bytes=body_bytes)
    runner = web.ServerRunner(server, shutdown_timeout=drain_seconds)
    await runner.setup()
    try:
        for each in sockets:
            await web.SockSite(runner, each, backlog=_BACKLOG).start()
        yield
    finally:
        await _drain(edge, server, runner)


async def _drain(edge: Edge, server: web.Server, runner: web.ServerRunner) -> None:
    edge.is_draining = True
    for site in runner.sites:
        await site.stop()
    if server.connections:
        # A kept-alive connection may carry a request that is already under way to us: it is answered, then closed.
        await asyncio.sleep(_LAST_REQUESTS_SECONDS)
    await runner.cleanup()
