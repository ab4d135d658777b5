"""Is it alive, and can it store: for those who watch it. Reveals nothing else."""

from http import HTTPStatus

from aiohttp import web

from receiver.web.desk import Desk, reply
from receiver.web.problems import Handler


async def alive(request: web.Request) -> web.Response:
    """`GET /healthz`: the event loop turns."""
    del request
    return reply({"status": "alive"})


def ready(desk: Desk) -> Handler:
    """`GET /readyz`: 200 when callbacks can be stored, else 503 with the reasons."""

    async def handler(request: web.Request) -> web.StreamResponse:
        del request
        reasons = desk.unready()
        response = reply({"status": "unready" if reasons else "ready", "reasons": reasons})
        response.set_status(HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK)
        return response

    return handler
