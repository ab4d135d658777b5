"""What the handlers of the operations side share: their dependencies, who asks, and how answers are written."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import orjson
from aiohttp import web

from receiver.config import Settings
from receiver.model import Role
from receiver.store.interface import Reader
from receiver.web.audit_socket import Handshake
from receiver.web.auth import Caller, Doorkeeper, require
from receiver.web.problems import Handler

if TYPE_CHECKING:
    # Only named: handlers say what to write, and the store they are given writes it.
    from receiver.store.sqlite import State

_T = TypeVar("_T")
_JSON: Final = {"Content-Type": "application/json"}


class Write(Protocol):
    """Run one function on the writer's thread, in a transaction of its own."""

    async def __call__(self, function: "Callable[[State], _T]", /) -> _T:
        """Give what the function gives, once it is on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The dependencies of the operations side.

    Attributes:
        unready: why nothing can be stored now, each reason in a few words; empty when all is well.
        trust_warnings: what a person should look at in the trust files, one line each.
        handshakes: the last refusals that nginx reported.
    """

    settings: Settings
    reader: Reader
    write: Write
    doorkeeper: Doorkeeper
    unready: Callable[[], list[str]]
    trust_warnings: Callable[[], list[str]]
    handshakes: Callable[[], list[Handshake]]
    now_us: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Ask:
    """One authorised request."""

    desk: Desk
    caller: Caller
    request: web.Request


Answer = Callable[[Ask], Awaitable[web.StreamResponse]]


def guarded(desk: Desk, role: Role, answer: Answer) -> Handler:
    """A handler that lets only callers with the role reach an answer."""

    async def handler(request: web.Request) -> web.StreamResponse:
        caller = require(await desk.doorkeeper.caller(request), role, method=request.method)
        return await answer(Ask(desk, caller, request))

    return handler


def reply(document: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(document), headers={**_JSON, **(headers or {})})
