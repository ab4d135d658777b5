"""Refusals that nginx answered itself, reported as datagrams: counted by reason, the last few kept to be shown."""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import orjson

from receiver.logs import printable
from receiver.web.refusals import NO_CARRIER, Refusals

_DATAGRAM_BYTES: Final = 8192
# Callbacks come first: a flood of refusals gets its turn, and no more than that.
_DATAGRAMS_PER_TURN: Final = 64
_TEXT_LENGTH: Final = 200
_LAST: Final = 50

REASONS: Final = frozenset({
    "no_certificate", "expired", "not_yet_valid", "untrusted", "revoked", "bad_certificate", "wrong_purpose",
    "weak_key", "crl_invalid", "plain_http", "bad_request", "not_found", "method", "timeout", "truncated", "too_large",
    "uri_too_long", "headers_too_large", "rate", "connections", "not_implemented", "unavailable", "misdirected",
})  # fmt: skip
"""Reasons that are counted under their own name. Anything else is `other`: a name is never made of foreign text."""
OTHER: Final = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """One refusal as nginx reported it; texts are escaped and cut."""

    at: int
    status: int
    reason: str
    verify: str
    subject: str
    serial: str


class AuditSocket:
    """Reads nginx's reports; `last` holds the most recent ones, newest first."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._last: deque[Handshake] = deque(maxlen=_LAST)

    @property
    def last(self) -> list[Handshake]:
        """The most recent refusals, newest first."""
        return list(self._last)

    @contextmanager
    def reading(self, sock: socket.socket) -> Iterator[None]:
        """Read a bound datagram socket on the running loop until left."""
        sock.settimeout(0)
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, self._read, sock)
        try:
            yield
        finally:
            loop.remove_reader(sock)

    def _read(self, sock: socket.socket) -> None:
        for _ in range(_DATAGRAMS_PER_TURN):
            try:
                datagram = sock.recv(_DATAGRAM_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            self.take(datagram, now=int(time.time()))

    def take(self, datagram: bytes, *, now: int) -> None:
        """Count one report: a syslog prefix, then a JSON object."""
        handshake = _handshake(datagram, now)
        self._last.appendleft(handshake)
        self._refusals.add(
            NO_CARRIER,
            handshake.reason,
            answered_by="nginx",
            status=handshake.status,
            verify=handshake.verify,
            subject=handshake.subject,
            serial=handshake.serial,
        )


def _handshake(datagram: bytes, now: int) -> Handshake:
    try:
        report = orjson.loads(datagram[max(datagram.find(b"{"), 0) :])
    except orjson.JSONDecodeError:
        report = None
    if not isinstance(report, dict):
        report = {}
    status, reason = report.get("status"), report.get("reason")
    return Handshake(
        at=now,
        status=status if isinstance(status, int) else 0,
        reason=reason if isinstance(reason, str) and reason in REASONS else OTHER,
        verify=_text(report.get("verify")),
        subject=_text(report.get("subject")),
        serial=_text(report.get("serial")),
    )


def _text(value: object) -> str:
    return printable(value[:_TEXT_LENGTH]) if isinstance(value, str) else ""
