"""The carrier side: one POST in, kept, answered in the carrier's own shape. Knows no certificate and no database."""

import hashlib
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from receiver.carriers import PROFILES, CarrierProfile
from receiver.errors import (
    OverloadedError,
    QuotaError,
    ReceiverError,
    UndecodableError,
    UnknownTargetError,
    UntrustedError,
)
from receiver.model import MICROSECONDS, Delivery, Disposition, Entry, Peer, Receipt, Undecodable
from receiver.trust import Forwarded
from receiver.web.gate import Gate, RequestError
from receiver.web.refusals import NO_CARRIER, Refusals
from receiver.web.targets import Declared, Target, parse

Keep = Callable[[Entry], Awaitable[Receipt]]
"""Make an entry durable. On return it is on disk."""

# An unknown carrier has no shape of its own; every refusal is JSON all the same.
_STRANGERS_PROFILE: Final = PROFILES["tencent"]
# Kept beside a body that could not be decoded: what explains it, nothing that authenticates anybody.
_EXPLAINING: Final = ("Content-Type", "Content-Encoding", "User-Agent", "X-Request-Id", "X-Real-IP")
_EXPLAINING_LENGTH: Final = 256
# Seconds to wait before the same bytes are welcome again, drawn from the range, lest all come back at once.
_QUEUE_PAUSE: Final = (1, 3)
_STORE_PAUSE: Final = (5, 15)
_QUOTA_PAUSE: Final = (300, 900)


class Identify(Protocol):
    """From what nginx forwards to a verified peer; raises UntrustedError."""

    def __call__(self, forwarded: Forwarded, *, carrier: str, now: int) -> Peer:
        """Verify the forwarded certificate for a carrier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeCarrier:
    """A configured carrier: its profile, and whether undecodable bodies are answered with success."""

    profile: CarrierProfile
    accepts_undecodable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One authenticated POST, before anybody has read its body's meaning."""

    received_us: int
    target: Target
    peer: Peer
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """How an error is told: the status, the public reason, the problem in words, and the reason we count it under."""

    status: HTTPStatus
    reason: str
    problem: str
    counted_as: str
    headers: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Edge:
    """Authenticate, keep, answer. One serves every connection of the carrier side.

    Attributes:
        declared: the declared applications; replaced as a whole when they change.
        is_draining: answers close their connection, because the process is about to stop.
    """

    carriers: Mapping[str, EdgeCarrier]
    gate: Gate
    identify: Identify
    declared: Declared
    keep: Keep
    refusals: Refusals
    now_us: Callable[[], int]
    is_draining: bool = False

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request. Success means that its bytes are on disk."""
        target = parse(request.raw_path)
        try:
            response = await self._accepted(request, target)
        except ReceiverError as exc:
            response = self.refuse(request, exc)
        if self.is_draining:
            response.force_close()
        return response

    async def _accepted(self, request: web.BaseRequest, target: Target | None) -> web.Response:
        received_us = self.now_us()
        forwarded = self.gate.forwarded(request)
        if request.method != "POST":
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, "method", "callbacks are sent with POST")
        carrier = self.carriers.get(target.carrier) if target else None
        if target is None or carrier is None:
            raise UnknownTargetError("path" if target is None else "carrier")
        peer = self.identify(forwarded, carrier=target.carrier, now=received_us // MICROSECONDS)
        self.declared.check(target)
        body = await _body(request)
        arrival = Arrival(received_us=received_us, target=target, peer=peer, body=body, headers=request.headers)
        return await self._kept(arrival, carrier)

    async def _kept(self, arrival: Arrival, carrier: EdgeCarrier) -> web.Response:
        try:
            kind = carrier.profile.decode(arrival.body).kind
        except UndecodableError as exc:
            return await self._quarantined(arrival, carrier, exc)
        receipt = await self.keep(_delivery(arrival, kind))
        return _success(carrier, {"X-Receiver-Receipt": str(receipt.seq)})

    async def _quarantined(self, arrival: Arrival, carrier: EdgeCarrier, error: UndecodableError) -> web.Response:
        status = HTTPStatus.OK if carrier.accepts_undecodable else HTTPStatus.BAD_REQUEST
        receipt = await self.keep(_undecodable(arrival, error, status))
        if not carrier.accepts_undecodable:
            raise error
        # Not a journal cursor: the number of its row in quarantine, which is where a question about it leads.
        headers = {"X-Receiver-Receipt": f"quarantine-{receipt.seq}", "X-Receiver-Reason": error.reason}
        return _success(carrier, headers)

    def refuse(self, request: web.BaseRequest, error: ReceiverError) -> web.Response:
        """Count and log why a request is not accepted, and say so in the shape of the carrier it was meant for."""
        target = parse(request.raw_path)
        name = target.carrier if target and target.carrier in self.carriers else NO_CARRIER
        profile = self.carriers[name].profile if name in self.carriers else _STRANGERS_PROFILE
        refusal = _refusal(error)
        self.refusals.add(
            name,
            refusal.counted_as,
            status=int(refusal.status),
            error=error.__cause__,
            detail=str(error),
            request_id=request.headers.get("X-Request-Id", ""),
        )
        headers = {"Content-Type": "application/json", "X-Receiver-Reason": refusal.reason, **refusal.headers}
        return web.Response(status=refusal.status, body=profile.answer(refusal.problem), headers=headers)


def _success(carrier: EdgeCarrier, headers: Mapping[str, str]) -> web.Response:
    return web.Response(body=carrier.profile.answer(None), headers={"Content-Type": "application/json", **headers})


async def _body(request: web.BaseRequest) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        message = "the body is larger than a callback may be"
        raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", message) from None
    except (HttpProcessingError, web.RequestPayloadError, ConnectionError):
        raise RequestError(HTTPStatus.BAD_REQUEST, "truncated", "the body ended before it was complete") from None


def _delivery(arrival: Arrival, kind: str) -> Delivery:
    return Delivery(
        received_us=arrival.received_us,
        carrier=arrival.target.carrier,
        app=arrival.target.app,
        kind=kind,
        body=arrival.body,
        sha256=hashlib.sha256(arrival.body).digest(),
        peer=arrival.peer,
        tls_protocol=arrival.headers.get("X-TLS-Protocol", ""),
        tls_cipher=arrival.headers.get("X-TLS-Cipher", ""),
        disposition=Disposition.COUNTED if arrival.peer.is_pinned else Disposition.HELD,
    )


def _undecodable(arrival: Arrival, error: UndecodableError, status: HTTPStatus) -> Undecodable:
    headers = arrival.headers
    return Undecodable(
        received_us=arrival.received_us,
        carrier=arrival.target.carrier,
        app=arrival.target.app,
        body=arrival.body,
        sha256=hashlib.sha256(arrival.body).digest(),
        peer=arrival.peer,
        headers={name: headers[name][:_EXPLAINING_LENGTH] for name in _EXPLAINING if name in headers},
        reason=str(error),
        offset=error.offset,
        answered_status=int(status),
    )


def _refusal(error: ReceiverError) -> Refusal:
    match error:
        case UntrustedError():
            problem = f"client certificate refused: {error.code}"
            refusal = Refusal(HTTPStatus.FORBIDDEN, error.code, problem, error.code, {})
        case UnknownTargetError():
            counted_as = f"{error.reason}_{error.code}"
            refusal = Refusal(HTTPStatus.NOT_FOUND, error.reason, str(error), counted_as, {})
        case RequestError():
            allow = {"Allow": "POST"} if error.status is HTTPStatus.METHOD_NOT_ALLOWED else {}
            refusal = Refusal(error.status, error.code, str(error), error.code, allow)
        case UndecodableError():
            refusal = Refusal(HTTPStatus.BAD_REQUEST, error.reason, str(error), error.reason, {})
        case QuotaError(what="held"):
            # Not our failure: a stranger's allowance is used up, and asking again does not help until a pin comes.
            refusal = Refusal(HTTPStatus.FORBIDDEN, "held_quota", str(error), "held_quota", {})
        case _:
            refusal = _our_failure(error)
    return refusal


def _our_failure(error: ReceiverError) -> Refusal:
    match error:
        case QuotaError():
            return _unavailable(error.reason, str(error), f"{error.reason}_{error.what}", _QUOTA_PAUSE)
        case OverloadedError():
            return _unavailable(error.reason, "busy; send it again later", error.reason, _QUEUE_PAUSE)
        case _:
            return _unavailable(error.reason, "cannot keep it now; send it again later", error.reason, _STORE_PAUSE)


def _unavailable(reason: str, problem: str, counted_as: str, pause: tuple[int, int]) -> Refusal:
    seconds = random.randint(*pause)  # noqa: S311  (jitter, no secret)
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason, problem, counted_as, {"Retry-After": str(seconds)})
