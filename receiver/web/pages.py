"""The pages people look at: the dashboard and the sign-in form. Takes the API's own figures, counts nothing."""

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from receiver.dashboard import LANGUAGES, Site
from receiver.model import Role
from receiver.statistics.rates import LiteralVerdict, StatisticalVerdict
from receiver.store.interface import Dimension
from receiver.web import figures
from receiver.web.api_journal import latest_callbacks
from receiver.web.auth import require
from receiver.web.desk import Ask, Desk
from receiver.web.problems import Handler
from receiver.web.query import Query, Scope, take_scope

SITE: Final = web.AppKey("site", Site)

_RANGES: Final = ("1h", "today", "yesterday", "24h", "7d", "30d")
_ICONS: Final[Mapping[str, str]] = {
    StatisticalVerdict.ABOVE: "✔",
    StatisticalVerdict.UNDECIDED: "≈",
    StatisticalVerdict.BELOW: "▼",
    StatisticalVerdict.NONE: "·",
    LiteralVerdict.INSUFFICIENT: "·",
}
_ROWS: Final = 20
_MOST_CODES: Final = 40
_FILTERS: Final = ("carrier", "app", "kind", "call_from", "nationcode", "outcome")
_IMMUTABLE: Final = "public, max-age=31536000, immutable"


class SignInNote(StrEnum):
    """Why somebody sees the sign-in form again."""

    CODE = "wrong_code"
    TOKEN = "wrong_token"  # noqa: S105  (the name of a sentence)
    LATER = "later"


def sign_in_page(
    request: web.Request, *, note: SignInNote | None = None, status: HTTPStatus = HTTPStatus.OK
) -> web.Response:
    """The form that opens a session."""
    page = request.app[SITE].render("signin.html", language=_language(request), note=note)
    return web.Response(status=status, text=page, content_type="text/html")


def dashboard(desk: Desk) -> Handler:
    """`GET /`: the dashboard, or for nobody known the way to sign in."""

    async def handler(request: web.Request) -> web.StreamResponse:
        caller = await desk.doorkeeper.caller(request)
        if caller is None:
            place = f"/signin?lang={_language(request)}"
            return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": place})
        ask = Ask(desk, require(caller, Role.READ, method=request.method), request)
        page = request.app[SITE].render("dashboard.html", language=_language(request), **await _content(ask))
        return web.Response(text=page, content_type="text/html")

    return handler


async def _content(ask: Ask) -> dict[str, Any]:
    query = Query(ask.request.query)
    query.take("lang")
    scope = take_scope(query, ask.caller, ask.desk.settings, now_us=ask.desk.now_us())
    query.finish()
    summary = await figures.summary(ask.desk, scope)
    verdict = _verdict(summary["verdict"])
    return {
        "summary": summary,
        "is_simulated": summary.get("simulated", False),
        "verdict": verdict,
        "icon": _ICONS[verdict],
        "lag": summary["lag_seconds"] or {"p50": None, "p99": None},
        "outcomes": sorted([each for each in summary["outcomes"].items() if each[1]], key=lambda each: -each[1]),
        **await _tables(ask, scope),
        "ranges": _RANGES,
        "range": _range(ask.request),
        "filters": {name: ask.request.query[name] for name in _FILTERS if name in ask.request.query},
        "address": partial(_address, ask.request.query),
        "name": ask.caller.name,
        "is_session": ask.caller.session_hash is not None,
    }


async def _tables(ask: Ask, scope: Scope) -> dict[str, Any]:
    failures = await figures.breakdown(ask.desk, scope, by=Dimension.FAILURE_CODE)
    callers = await figures.breakdown(ask.desk, scope, by=Dimension.CALLER)
    applications = await figures.breakdown(ask.desk, scope, by=Dimension.APP)
    codes = [row for row in failures["rows"] if row["key"]]
    return {
        "failures": codes[:_MOST_CODES],
        "failures_more": len(codes[_MOST_CODES:]),
        "groups": [
            ("callers", "caller", "call_from", callers["rows"][:_ROWS], len(callers["rows"][_ROWS:])),
            ("applications", "app", "app", applications["rows"][:_ROWS], len(applications["rows"][_ROWS:])),
        ],
        "callbacks": await latest_callbacks(ask, zone=scope.zone, limit=_ROWS),
        "refusals": await figures.refusals(ask.desk),
    }


def _verdict(verdict: Mapping[str, str]) -> str:
    """The word on the page: with few calls that decide nothing, not even that the rate is near the floor."""
    if verdict["literal"] == LiteralVerdict.INSUFFICIENT and verdict["statistical"] == StatisticalVerdict.UNDECIDED:
        return LiteralVerdict.INSUFFICIENT
    return verdict["statistical"]


def _address(query: Mapping[str, str], **changes: str | None) -> str:
    """This page with other parameters; None takes one away. Everything else stays as it is."""
    if "range" in changes:
        changes = {"start": None, "end": None, **changes}
    kept = {name: value for name, value in {**query, **changes}.items() if value is not None}
    return f"/?{urlencode(kept)}"


def _range(request: web.Request) -> str | None:
    """The named range on show; None when the interval was given by its ends."""
    return request.query.get("range", None if "start" in request.query else "today")


def _language(request: web.Request) -> str:
    """What the address says, else the browser's first choice that we have, else Chinese."""
    chosen = request.query.get("lang")
    if chosen in LANGUAGES:
        return chosen
    for each in request.headers.get("Accept-Language", "").split(","):
        language = each.strip()[:2].lower()
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]


async def asset(request: web.Request) -> web.StreamResponse:
    """`GET /static/…`: one of the few files a page asks for, from memory."""
    found = request.app[SITE].assets.get(request.path)
    if found is None:
        raise web.HTTPNotFound
    headers = {"Content-Type": found.content_type, "Cache-Control": _IMMUTABLE}
    return web.Response(body=found.content, headers=headers)
