"""The operations side: which path is answered by whom, for which role, and the checks that come before every answer."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from receiver import dashboard
from receiver.model import Role
from receiver.web import (
    api_calls,
    api_figures,
    api_journal,
    api_metrics,
    api_trust,
    health,
    pages,
    problems,
    signin,
)
from receiver.web.desk import Answer, Desk, guarded
from receiver.web.problems import Handler, Problem

_STOP_SECONDS: Final = 2.0
_FORM_BYTES: Final = 16 * 1024
_OPEN_TO_ALL: Final = frozenset({"/healthz", "/readyz"})

API: Final[Mapping[str, tuple[Role, Answer]]] = {
    "/api/v1/summary": (Role.READ, api_figures.summary),
    "/api/v1/series": (Role.READ, api_figures.series),
    "/api/v1/breakdown": (Role.READ, api_figures.breakdown),
    "/api/v1/definitions": (Role.READ, api_figures.definition),
    "/api/v1/calls": (Role.READ, api_calls.calls),
    "/api/v1/calls/{carrier}/{app}/{callid}": (Role.READ, api_calls.call),
    "/api/v1/callbacks": (Role.READ, api_journal.callbacks),
    "/api/v1/quarantine": (Role.READ, api_journal.quarantine),
    "/api/v1/held": (Role.READ, api_journal.held),
    "/api/v1/trust": (Role.READ, api_trust.trust),
    "/metrics": (Role.READ, api_metrics.exposition),
}
"""Path to the role it needs and who answers it; all are asked with GET."""


@asynccontextmanager
async def serving(desk: Desk, listening: socket.socket) -> AsyncIterator[None]:
    """Serve the operations side on a listening socket until the block ends."""
    runner = web.AppRunner(application(desk), access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()


def application(desk: Desk) -> web.Application:
    """The operations side as an application."""
    app = web.Application(middlewares=[problems.explain, _known_host(desk)], client_max_size=_FORM_BYTES)
    app[pages.SITE] = dashboard.load()
    throttle = signin.Throttle()
    router = app.router
    for path, (role, answer) in API.items():
        router.add_get(path, guarded(desk, role, answer))
    router.add_get("/healthz", health.alive)
    router.add_get("/readyz", health.ready(desk))
    router.add_get("/", pages.dashboard(desk))
    router.add_get("/static/{name}", pages.asset)
    router.add_get("/signin", signin.with_code(desk, throttle))
    router.add_post("/signin", signin.with_token(desk, throttle))
    router.add_post("/signout", signin.sign_out(desk))
    return app


def _known_host(desk: Desk) -> Middleware:
    """Answer only under our own names: another name that leads here is a page that rebinds its DNS to loopback."""
    server = desk.settings.server
    names = frozenset({"localhost", "127.0.0.1", "::1", server.ops_host, server.domain})

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in _OPEN_TO_ALL and urlsplit(f"//{request.host}").hostname not in names:
            raise Problem(HTTPStatus.MISDIRECTED_REQUEST, "this host name is not one of ours")
        return await handler(request)

    return check
