"""Do both sides really answer? Asks as a client would, and keeps nothing in the store."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Final

from receiver.config import Server

_EVERY_SECONDS: Final = 0.03
_ANSWER_SECONDS: Final = 5.0


async def receiver_is_ready(server: Server) -> None:
    """Wait until the operations side says that deliveries can be stored."""

    async def ask() -> bool:
        return await _status(server.ops_host, server.ops_port, b"GET /readyz") == HTTPStatus.OK

    await _until(ask)


async def nginx_answers(server: Server, *, server_ca: Path, client: tuple[Path, Path]) -> None:
    """Wait until nginx completes a handshake with the client certificate.

    No request follows: it would be one more refusal in the counts, and people would ask who that was.
    """
    tls = ssl.create_default_context(cafile=server_ca)
    tls.load_cert_chain(*client)
    host = "127.0.0.1" if server.https_host == "*" else server.https_host

    async def ask() -> bool:
        _, writer = await asyncio.open_connection(host, server.https_port, ssl=tls, server_hostname="localhost")
        writer.close()
        return True

    await _until(ask)


async def _until(ask: Callable[[], Awaitable[bool]]) -> None:
    while True:
        with suppress(OSError, EOFError, ValueError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                if await ask():
                    return
        await asyncio.sleep(_EVERY_SECONDS)


async def _status(host: str, port: int, request: bytes) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        line = await reader.readuntil(b"\r\n")
        return int(line.split(b" ", 2)[1])
    finally:
        writer.close()
