"""What `receiver capture` answers: everything for one application is written down, then answered as a success.

Trusts nobody and counts nothing: a record says what came, and what nginx says of how it came.
"""

import asyncio
import base64
import hashlib
import logging
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDictProxy

from receiver.carriers import CarrierProfile
from receiver.errors import QuotaError, ReceiverError, StoreError
from receiver.web.capture_file import CaptureFile
from receiver.web.gate import Gate
from receiver.web.targets import Target, parse

log = logging.getLogger(__name__)

# As the carrier side: nginx's escaped certificate may take 8190 characters beside the header's name.
_HEADER_BYTES: Final = 16 * 1024
_DRAIN_SECONDS: Final = 5.0
_BACKLOG: Final = 128
_LONGEST_VALUE: Final = 256
_MOST_QUERY_NAMES: Final = 20
# What nginx adds, or speaks itself.
_NOT_THEIRS: Final = frozenset(
    {
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-edge-key",
        "x-ssl-client-cert",
        "x-ssl-client-verify",
    }
)
_OURS_PREFIX: Final = "x-capture-"
# The client's own words that travel under a name of ours.
_MOVED: Final = {
    "Host": "X-Capture-Host",
    "Connection": "X-Capture-Connection",
    "Expect": "X-Capture-Expect",
    "Transfer-Encoding": "X-Capture-Encoding",
    "Content-Type": "X-Capture-Type",
    "User-Agent": "X-Capture-Agent",
}
# Their values explain a client and authenticate nobody.
_HARMLESS: Final = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-encoding",
        "content-type",
        "date",
        "expect",
        "host",
        "keep-alive",
        "pragma",
        "te",
        "transfer-encoding",
        "user-agent",
    }
)


@dataclass(slots=True, kw_only=True)
class Capture:
    """Answers every request of one capture.

    Attributes:
        on_kept: told of each record that is on disk.
        not_kept: how many requests were not kept, by the reason.
    """

    carrier: str
    app: str
    profile: CarrierProfile
    gate: Gate
    file: CaptureFile
    on_kept: Callable[[dict[str, Any]], None]
    not_kept: Counter[str] = field(default_factory=Counter)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request. Success means that its bytes are on disk."""
        try:
            verify = self.gate.forwarded(request).verify
        except ReceiverError as exc:
            return self._not_kept("not through nginx", HTTPStatus.FORBIDDEN, str(exc))
        target = parse(request.raw_path)
        if target is None or (target.carrier, target.app) != (self.carrier, self.app):
            return self._not_kept("another address", HTTPStatus.NOT_FOUND, "no such callback address")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._not_kept("body too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
        except (HttpProcessingError, web.RequestPayloadError, ConnectionError):
            return self._not_kept("body cut short", HTTPStatus.BAD_REQUEST, "the body ended too early")
        return await self._kept(_record(request, target, verify, body))

    async def _kept(self, record: dict[str, Any]) -> web.Response:
        try:
            await self.file.keep(record)
        except QuotaError:
            return self._not_kept("capture full", HTTPStatus.SERVICE_UNAVAILABLE, "the capture is full")
        except StoreError as exc:
            return self._not_kept(str(exc), HTTPStatus.SERVICE_UNAVAILABLE, "cannot keep it now")
        self.on_kept(record)
        return self._response(HTTPStatus.OK, None)

    def _not_kept(self, reason: str, status: HTTPStatus, problem: str) -> web.Response:
        self.not_kept[reason] += 1
        return self._response(status, problem)

    def _response(self, status: HTTPStatus, problem: str | None) -> web.Response:
        headers = {"Content-Type": "application/json"}
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = "60"
        return web.Response(status=status, body=self.profile.answer(problem), headers=headers)


def _record(request: web.BaseRequest, target: Target, verify: str, body: bytes) -> dict[str, Any]:
    query = request.raw_path.partition("?")[2]

    def said(name: str) -> str:
        return _text(request.headers.get(name, ""))

    return {
        "received_us": time.time_ns() // 1000,
        "address": said("X-Capture-Address"),
        "method": request.method,
        # Neither the key nor what stands in the query: an address may hold secrets.
        "path": f"/callbacks/{target.carrier}/{target.app}",
        "has_key": target.key is not None,
        "query_names": [_text(name) for name, _ in parse_qsl(query, keep_blank_values=True)][:_MOST_QUERY_NAMES],
        "http": said("X-Capture-HTTP"),
        "tls": said("X-Capture-Protocol"),
        "cipher": said("X-Capture-Cipher"),
        "sni": said("X-Capture-SNI"),
        "verify": _text(verify),
        "certificate": unquote(said("X-SSL-Client-Cert")),
        "headers": _theirs(request.headers),
        # A header held control characters, so nginx passed on none but those above.
        "are_headers_withheld": "X-Capture-Bare" in request.headers,
        "sha256": hashlib.sha256(body).hexdigest(),
        "body": base64.b64encode(body).decode("ascii"),
    }


def _theirs(headers: CIMultiDictProxy[str]) -> list[tuple[str, str | None]]:
    """The client's headers by name; with the value where that is harmless."""
    moved = [(name, headers[ours]) for name, ours in _MOVED.items() if headers.get(ours)]
    passed = [
        (name, value)
        for name, value in headers.items()
        if name.lower() not in _NOT_THEIRS and not name.lower().startswith(_OURS_PREFIX)
    ]
    return [
        (_text(name), _text(value)[:_LONGEST_VALUE] if name.lower() in _HARMLESS else None)
        for name, value in (*moved, *passed)
    ]


def _text(value: str) -> str:
    """Bytes beyond UTF-8 come as lone surrogates, which JSON cannot hold."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_news(record: logging.LogRecord) -> bool:
    """What a stranger's request does to the parser is none: it is answered, and comes once more without its headers."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


log.addFilter(_is_news)


@asynccontextmanager
async def serving(capture: Capture, listener: socket.socket, *, body_bytes: int) -> AsyncIterator[None]:
    """Serve a capture on a listening Unix socket; on leaving, what is under way is answered."""
    loop = asyncio.get_running_loop()

    def bounded(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=body_bytes)

    server = web.Server(
        capture.answer,
        request_factory=bounded,
        access_log=None,
        logger=log,
        auto_decompress=False,
        max_field_size=_HEADER_BYTES,
    )
    runner = web.ServerRunner(server, shutdown_timeout=_DRAIN_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        yield
    finally:
        await runner.cleanup()
