"""One request to a running nginx as a carrier would make it, which leaves nothing in the store. Judges nothing."""

import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from receiver.config import Server

_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.1
_MOST_BYTES: Final = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What came back. `status` is 405 for a client that is let in, because the request is a GET.

    Attributes:
        reason: nginx's or the receiver's word for a refusal.
        server: the certificate that nginx presents, DER.
    """

    status: int
    reason: str
    server: bytes


def probe(server: Server, *, roots: str, carrier: str, client: tuple[Path, Path] | None) -> Probed:
    """Ask with a client certificate and its key, or with none.

    Raises:
        OSError: nobody answers, or (ssl.SSLError) the handshake fails.
        ValueError: what answers does not speak HTTP.
    """
    tls = ssl.create_default_context()
    if roots:
        tls.load_verify_locations(cadata=roots)
    if client:
        tls.load_cert_chain(*client)
    host = "127.0.0.1" if server.https_host == "*" else server.https_host
    # The log then tells who that was: a GET is refused, and refusals are counted.
    headers = f"Host: {server.domain}\r\nUser-Agent: receiver certs reload\r\nConnection: close"
    request = f"GET /callbacks/{carrier}/probe HTTP/1.1\r\n{headers}\r\n\r\n"
    with (
        socket.create_connection((host, server.https_port), timeout=_SECONDS) as connection,
        tls.wrap_socket(connection, server_hostname=server.domain) as stream,
    ):
        stream.sendall(request.encode())
        head = _head(stream)
        return Probed(
            status=int(head[0].split(" ")[1]), reason=_reason(head), server=stream.getpeercert(binary_form=True) or b""
        )


def probe_until(status: int, server: Server, *, roots: str, carrier: str, client: tuple[Path, Path] | None) -> Probed:
    """Ask until an answer has this status, for some seconds: after a reload old workers may still answer.

    Raises:
        OSError: as `probe`.
        ValueError: as `probe`.
    """
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            found = probe(server, roots=roots, carrier=carrier, client=client)
            if found.status == status or time.monotonic() > deadline:
                return found
        except (OSError, ValueError):
            if time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def _head(stream: ssl.SSLSocket) -> list[str]:
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _MOST_BYTES and (chunk := stream.recv(4096)):
        received += chunk
    lines = received.decode("latin-1").split("\r\n\r\n", 1)[0].split("\r\n")
    if not lines[0].startswith("HTTP/1."):
        raise ValueError("what answers does not speak HTTP")
    return lines


def _reason(head: list[str]) -> str:
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    return headers.get("x-receiver-reason", "")
