"""Errors of the operations side as RFC 9457 problem details, and the headers every answer there carries."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web

from receiver.errors import QueryError, ReceiverError

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "receiver",
}


class Problem(Exception):  # noqa: N818  (an answer that a handler gives up with)
    """A request of the operations side that cannot be answered as asked."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        parameter: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.parameter = parameter
        self.headers = headers or {}


def answer(problem: Problem, *, instance: str) -> web.Response:
    """Give a problem as `application/problem+json`, naming the parameter at fault where there is one."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": str(problem),
        "instance": instance,
    }
    if problem.parameter is not None:
        document["errors"] = [{"parameter": problem.parameter, "detail": str(problem)}]
    return web.Response(
        status=problem.status,
        body=orjson.dumps(document),
        headers={"Content-Type": "application/problem+json", "Cache-Control": "no-store", **problem.headers},
    )


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem, and add the security headers to every answer."""
    try:
        response = await handler(request)
    except web.HTTPException as exc:
        allow = {"Allow": exc.headers["Allow"]} if "Allow" in exc.headers else None
        response = answer(Problem(HTTPStatus(exc.status), exc.reason, headers=allow), instance=request.path)
    except Problem as exc:
        response = answer(exc, instance=request.path)
    except QueryError as exc:
        detail = str(exc) if exc.parameter in str(exc) else f"{exc.parameter}: {exc}"
        problem = Problem(HTTPStatus.BAD_REQUEST, detail, parameter=exc.parameter)
        response = answer(problem, instance=request.path)
    except ReceiverError as exc:
        log.exception("question failed", extra={"reason": exc.reason, "path": request.path})
        problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), headers={"Retry-After": "1"})
        response = answer(problem, instance=request.path)
    except Exception:
        log.exception("question failed", extra={"reason": "internal", "path": request.path})
        detail = "an unforeseen failure; the log has the details"
        response = answer(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail), instance=request.path)
    response.headers.update(_SECURITY_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    return response
