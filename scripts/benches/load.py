"""A cheap load generator: kept-alive TLS connections, each with one request under way, in one epoll loop.

It shares the machine with what it measures, so it is no asyncio program. Its own ceiling is measured beside the rest,
against nginx answering by itself.
"""

import gc
import math
import select
import socket
import ssl
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"Content-Length: "
_CLOSE: Final = b"\nConnection: close"
_STATUS: Final = slice(9, 12)
_OK: Final = b"200"
_READ_BYTES: Final = 65536
_SILENCE_SECONDS: Final = 10.0
WARM_UP_SECONDS: Final = 0.5
"""What is answered in this time is not counted."""


class LoadError(Exception):
    """The other side does not answer as a kept-alive HTTP server does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one run saw. `answered` counts successes, `refused` other answers by status, both without the warm-up.

    Attributes:
        all_answered: successes including those of the warm-up.
        cpu_seconds: processor time of the generator itself in `whole_seconds`, connecting and warm-up included.
        reconnects: connections the other side closed after an answer, as nginx does after a number of requests.
        latencies: seconds from a request to its whole answer.
    """

    answered: int
    all_answered: int
    refused: dict[str, int]
    seconds: float
    whole_seconds: float
    cpu_seconds: float
    reconnects: int
    latencies: "array[float]"

    @property
    def rate(self) -> float:
        """Successes per second."""
        return self.answered / self.seconds

    def percentile_ms(self, quantile: float) -> float:
        """A latency by nearest rank, in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[max(math.ceil(quantile * len(ordered)), 1) - 1] * 1000 if ordered else math.nan


def opener(port: int, context: ssl.SSLContext) -> Callable[[], ssl.SSLSocket]:
    """How to open one connection to nginx on this machine."""

    def opened() -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", port), timeout=_SILENCE_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = context.wrap_socket(plain, server_hostname="localhost")
        tls.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        return tls

    return opened


def drive(
    opened: Callable[[], ssl.SSLSocket], request: Callable[[], bytes], *, connections: int, seconds: float
) -> Load:
    """Keep every connection busy for some seconds, after a moment to warm up.

    Raises:
        LoadError: no answers, or none that can be read.
        OSError: a connection failed.
    """
    gc.collect()
    gc.disable()
    try:
        with select.epoll() as poll:
            driver = _Driver(poll, opened, request)
            try:
                return driver.run(connections=connections, seconds=seconds)
            finally:
                driver.close()
    finally:
        gc.enable()


class _Connection:
    """One kept-alive connection; knows when its request was sent and what has come of the answer."""

    __slots__ = ("_arrived", "sent_at", "tls")

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self.tls = tls
        self.sent_at = 0.0
        self._arrived = b""

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        # A small request always fits the empty buffer of an idle connection, so there is nothing to wait for.
        if self.tls.send(request) != len(request):
            raise LoadError("a request was sent only in part")

    def answer(self) -> bytes | None:
        """The head of the answer, or None while it has not all come."""
        try:
            arrived = self.tls.recv(_READ_BYTES)
        except ssl.SSLWantReadError:
            return None
        if not arrived:
            raise LoadError("the server closed a connection instead of answering")
        self._arrived += arrived
        head, end, body = self._arrived.partition(_HEAD_END)
        if not end or len(body) < _length(head):
            return None
        self._arrived = b""
        return head


def _length(head: bytes) -> int:
    at = head.find(_LENGTH)
    if at < 0:
        raise LoadError(f"an answer without a length: {head[:200]!r}")
    return int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])


class _Driver:
    """All connections of one run, and what they have seen."""

    def __init__(self, poll: select.epoll, opened: Callable[[], ssl.SSLSocket], request: Callable[[], bytes]) -> None:
        self._poll = poll
        self._opened = opened
        self._request = request
        self._busy: dict[int, _Connection] = {}
        self._statuses: Counter[bytes] = Counter()
        self._latencies = array("d")
        self._reconnects = 0

    def run(self, *, connections: int, seconds: float) -> Load:
        began, cpu_before = time.perf_counter(), time.process_time()
        for _ in range(connections):
            self._connect()
        self._answer_until(time.perf_counter() + WARM_UP_SECONDS)
        warm_up = self._statuses.pop(_OK, 0)
        self._statuses.clear()
        self._latencies = array("d")
        self._answer_until(time.perf_counter() + seconds)
        answered = self._statuses.pop(_OK, 0)
        return Load(
            answered=answered,
            all_answered=warm_up + answered,
            refused={status.decode(): count for status, count in sorted(self._statuses.items())},
            seconds=seconds,
            whole_seconds=time.perf_counter() - began,
            cpu_seconds=time.process_time() - cpu_before,
            reconnects=self._reconnects,
            latencies=self._latencies,
        )

    def close(self) -> None:
        for connection in self._busy.values():
            connection.tls.close()

    def _connect(self) -> None:
        connection = _Connection(self._opened())
        self._busy[connection.tls.fileno()] = connection
        self._poll.register(connection.tls.fileno(), select.EPOLLIN)
        connection.send(self._request())

    def _answer_until(self, end: float) -> None:
        while time.perf_counter() < end:
            events = self._poll.poll(_SILENCE_SECONDS)
            if not events:
                raise LoadError(f"no answer for {_SILENCE_SECONDS:.0f} s")
            for number, _ in events:
                self._read(self._busy[number])

    def _read(self, connection: _Connection) -> None:
        head = connection.answer()
        if head is None:
            return
        self._statuses[head[_STATUS]] += 1
        self._latencies.append(time.perf_counter() - connection.sent_at)
        if _CLOSE not in head:
            connection.send(self._request())
            return
        self._reconnects += 1
        del self._busy[connection.tls.fileno()]
        connection.tls.close()
        self._connect()
