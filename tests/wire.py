"""A TLS client that sends exactly the bytes it is told and reads one HTTP answer. Knows nothing of the receiver."""

import io
import json
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, cast

from certificates import Issued

TIMEOUT_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to connect, and as whom."""

    port: int
    tls: ssl.SSLContext | None

    def send(self, *parts: bytes) -> Answer:
        """Send the bytes over a new connection, one part after the other, and read the answer."""
        with self.connected() as connection:
            for part in parts:
                connection.sendall(part)
            return read(connection)

    def post(self, path: str, body: bytes, *, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        """POST a body as an ordinary client does."""
        return self.send(request("POST", path, body, headers=headers))

    @contextmanager
    def connected(self, session: ssl.SSLSession | None = None) -> Iterator[socket.socket]:
        """An open connection, after the TLS handshake, in which an earlier session is offered for resumption."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_SECONDS) as plain:
            if self.tls is None:
                yield plain
                return
            with self.tls.wrap_socket(plain, server_hostname="localhost", session=session) as secured:
                yield secured


def read(connection: socket.socket) -> Answer:
    """Read one answer.

    Raises:
        http.client.BadStatusLine: the connection was closed without one.
    """
    response = HTTPResponse(connection)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(status=response.status, headers=headers, body=response.read())


def read_all(connection: socket.socket, number: int) -> list[Answer]:
    """Read several answers that may have come together."""
    stream = _Stream(connection.makefile("rb", buffering=0))
    source = cast("socket.socket", _Source(stream))
    return [read(source) for _ in range(number)]


class _Stream(io.BufferedReader):
    """Stays open when an answer has been read from it: the next one may be in its buffer already."""

    def close(self) -> None:
        """Not yet."""


@dataclass(frozen=True)
class _Source:
    stream: _Stream

    def makefile(self, _: str) -> _Stream:
        return self.stream


def request(method: str, path: str, body: bytes = b"", *, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The bytes of a request with a Content-Length."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(path: str, chunks: Iterable[bytes]) -> bytes:
    """The bytes of a POST whose body comes in chunks."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def tls(server_ca: Path, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """A client's TLS settings: whom to trust, and which certificate (and key) to show."""
    context = ssl.create_default_context(cafile=server_ca)
    if client:
        context.load_cert_chain(*client)
    return context


def as_client(server_ca: Path, client: Issued, directory: Path) -> ssl.SSLContext:
    """TLS settings that show a certificate made in process; its files go into `directory`."""
    return tls(server_ca, client.write(directory, f"client-{client.sha256[:16]}"))


def free_port() -> int:
    """A TCP port on loopback that nothing listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
