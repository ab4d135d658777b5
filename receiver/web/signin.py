"""Opening and closing browser sessions: a single-use code in the address, or a token in a form. Draws no page."""

import secrets
from collections import deque
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from receiver.dashboard import LANGUAGES
from receiver.model import MICROSECONDS
from receiver.web.auth import SESSION_ROLES, Caller, hash_of
from receiver.web.desk import Desk
from receiver.web.pages import SignInNote, sign_in_page
from receiver.web.problems import Handler, Problem

_FAILURES: Final = 5
_WINDOW_SECONDS: Final = 60


class Throttle:
    """Lets a few wrong tokens and codes through in any minute, then nobody until some of them are a minute old."""

    def __init__(self) -> None:
        self._failures: deque[int] = deque(maxlen=_FAILURES)

    def wait_seconds(self, *, now: int) -> int:
        """How long to wait before the next attempt; 0 when it may be made."""
        if len(self._failures) < _FAILURES:
            return 0
        return max(0, self._failures[0] + _WINDOW_SECONDS - now)

    def fail(self, *, now: int) -> None:
        """Note a wrong token or code."""
        self._failures.append(now)


def with_code(desk: Desk, throttle: Throttle) -> Handler:
    """`GET /signin?code=`: use the code up and open a session; without a code, the form."""

    async def handler(request: web.Request) -> web.StreamResponse:
        code = request.query.get("code")
        # Link previews ask with HEAD first; a code is used up by whoever really opens it.
        if code is None or request.method != "GET":
            return sign_in_page(request)
        now = desk.now_us() // MICROSECONDS
        if wait := throttle.wait_seconds(now=now):
            return _later(request, wait)
        row = await desk.write(lambda state: state.signin_code_take(hash_of(code), now=now))
        if row is None:
            throttle.fail(now=now)
            return sign_in_page(request, note=SignInNote.CODE, status=HTTPStatus.FORBIDDEN)
        return await _open(desk, request, Caller(name=row.name, roles=row.roles, apps=row.apps))

    return handler


def with_token(desk: Desk, throttle: Throttle) -> Handler:
    """`POST /signin`: open a session for whoever a token belongs to."""

    async def handler(request: web.Request) -> web.StreamResponse:
        _require_same_origin(request)
        now = desk.now_us() // MICROSECONDS
        if wait := throttle.wait_seconds(now=now):
            return _later(request, wait)
        token = (await request.post()).get("token")
        caller = await desk.doorkeeper.token_owner(token.strip()) if isinstance(token, str) else None
        if caller is None:
            throttle.fail(now=now)
            return sign_in_page(request, note=SignInNote.TOKEN, status=HTTPStatus.FORBIDDEN)
        return await _open(desk, request, caller)

    return handler


def sign_out(desk: Desk) -> Handler:
    """`POST /signout`: close the session, if there is one."""

    async def handler(request: web.Request) -> web.StreamResponse:
        _require_same_origin(request)
        if cookie := request.cookies.get(desk.doorkeeper.cookie):
            session_hash = hash_of(cookie)
            await desk.write(lambda state: state.session_end(session_hash))
        response = _see_other("/signin")
        response.del_cookie(desk.doorkeeper.cookie, path="/", secure=desk.doorkeeper.is_behind_tls, httponly=True)
        return response

    return handler


async def _open(desk: Desk, request: web.Request, caller: Caller) -> web.Response:
    secret = secrets.token_urlsafe(32)
    now, roles = desk.now_us() // MICROSECONDS, caller.roles & SESSION_ROLES
    await desk.write(
        lambda state: state.session_create(
            session_hash=hash_of(secret), name=caller.name, roles=roles, apps=caller.apps, now=now
        )
    )
    language = request.query.get("lang")
    response = _see_other(f"/?lang={language}" if language in LANGUAGES else "/")
    # Without an age: it ends with the browser, or after 8 h of disuse, which only we can measure.
    response.set_cookie(
        desk.doorkeeper.cookie,
        secret,
        path="/",
        httponly=True,
        samesite="Lax",
        secure=desk.doorkeeper.is_behind_tls,
    )
    return response


def _see_other(place: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": place, "Cache-Control": "no-store"})


def _later(request: web.Request, wait: int) -> web.Response:
    response = sign_in_page(request, note=SignInNote.LATER, status=HTTPStatus.TOO_MANY_REQUESTS)
    response.headers["Retry-After"] = str(wait)
    return response


def _require_same_origin(request: web.Request) -> None:
    """Refuse a form that another site made the browser send.

    Raises:
        Problem: 403, the request does not come from a page of ours.
    """
    site = request.headers.get("Sec-Fetch-Site")
    # Our pages send no referrer, and browsers then write the origin as null: where they say the site, that decides.
    is_ours = site == "same-origin" if site else urlsplit(request.headers.get("Origin", "")).netloc == request.host
    if not is_ours:
        raise Problem(HTTPStatus.FORBIDDEN, "this form was not sent from a page of ours")
