"""The operations side on a real socket and a real store: who may ask what, sessions, errors, health."""

import re
import secrets
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from store_lab import report
from web_lab import NOW, Browser, Receiver, Setting, receiving

from receiver.errors import StoreError
from receiver.model import Role
from receiver.web.ops import API

PATHS = [path.format(carrier="tencent", app="demo", callid="call-1") for path in API]
WITH_QUERY = [f"{path}?by=kind" if path.endswith("breakdown") else path for path in PATHS]


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with receiving(tmp_path) as running:
        yield running


async def _sign_in(receiver: Receiver, browser: Browser, *roles: Role) -> ClientResponse:
    code = secrets.token_urlsafe()
    await receiver.store.write(
        lambda state: state.signin_code_create(
            code_hash=sha256(code.encode()).hexdigest(),
            name="somebody",
            roles=roles or [Role.READ],
            apps=[],
            now=NOW,
            expires_at=NOW + 600,
        )
    )
    return await browser.get("/signin", params={"code": code})


@pytest.mark.parametrize("path", WITH_QUERY)
async def test_every_question_needs_a_token_with_the_role(receiver: Receiver, path: str) -> None:
    """Nobody gets 401, a token without the role 403, a token with it an answer."""
    await receiver.post(report())
    await receiver.fold()
    async with receiver.asking() as nobody, receiver.asking(Role.SUBMIT) as other, receiver.asking(Role.READ) as reader:
        refused, forbidden, answered = [await each.get(path) for each in (nobody, other, reader)]

    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert forbidden.status == 403
    assert answered.status == 200
    for response in (refused, forbidden):
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("path", WITH_QUERY)
async def test_every_question_is_answered_to_a_session_too(receiver: Receiver, path: str) -> None:
    await receiver.post(report())
    await receiver.fold()
    async with receiver.asking() as browser:
        await _sign_in(receiver, browser)

        assert (await browser.get(path)).status == 200


@pytest.mark.parametrize(
    "authorization", ["Bearer nonsense", "Bearer ", "Bearer", "Basic dTpw", "nonsense", "Bearer \u00e9"]
)
async def test_a_wrong_token_is_401(receiver: Receiver, authorization: str) -> None:
    async with receiver.asking() as nobody:
        response = await nobody.get("/api/v1/summary", headers={"Authorization": authorization})

    assert response.status == 401


async def test_a_token_ends_when_it_expires_and_when_it_is_revoked(receiver: Receiver) -> None:
    """Neither an expired nor a revoked token is good for one more question."""
    expiring = await receiver.token(Role.READ, expires_at=NOW + 60)
    revoked = await receiver.token(Role.READ, name="revoked")
    async with receiver.asking() as nobody:

        async def status(token: str) -> int:
            return (await nobody.get("/api/v1/summary", headers={"Authorization": f"Bearer {token}"})).status

        assert await status(expiring) == await status(revoked) == 200
        receiver.clock.forward(60)
        await receiver.store.write(lambda state: state.token_revoke("revoked"))

        assert await status(expiring) == await status(revoked) == 401


async def test_a_token_from_a_file_may_read_and_no_more(tmp_path: Path) -> None:
    """`ops_token_file` names one more token; replacing the file replaces the token."""
    file = tmp_path / "ops.token"
    file.write_text("first\n")
    async with receiving(tmp_path, Setting(token_file=file)) as receiver, receiver.asking() as nobody:
        before = await nobody.get("/api/v1/summary", headers={"Authorization": "Bearer first"})
        quarantine = await nobody.get("/api/v1/quarantine", headers={"Authorization": "Bearer first"})
        file.write_text("second\n")
        receiver.file_token.reload()
        after = [
            (await nobody.get("/api/v1/summary", headers={"Authorization": f"Bearer {token}"})).status
            for token in ("first", "second", "")
        ]

    assert (before.status, quarantine.status) == (200, 200)
    assert after == [401, 200, 401]


async def test_a_token_for_one_application_sees_no_other(receiver: Receiver) -> None:
    """Figures, calls and the journal of other applications do not exist for it; its cursor still moves past them."""
    await receiver.post(report("mine"), path="/callbacks/tencent/mine")
    await receiver.post(report("yours"), path="/callbacks/tencent/yours")
    await receiver.post(b"undecodable", path="/callbacks/tencent/yours")
    await receiver.fold()
    async with receiver.asking(Role.READ, apps=["mine"]) as browser:
        summary = await browser.json("/api/v1/summary", range="7d")
        calls = await browser.json("/api/v1/calls", range="7d")
        callbacks = await browser.json("/api/v1/callbacks")
        quarantine = await browser.json("/api/v1/quarantine")
        other = await browser.get("/api/v1/calls/tencent/yours/yours")
        asked = await browser.get("/api/v1/summary", params={"app": "yours"})
        page = await (await browser.get("/", params={"range": "7d"})).text()

    assert summary["calls"] == 1
    assert [call["call_id"] for call in calls["calls"]] == ["mine"]
    assert [row["app"] for row in callbacks["callbacks"]] == ["mine"]
    assert callbacks["next_cursor"] == 2
    assert quarantine["quarantine"] == []
    assert (other.status, asked.status) == (404, 400)
    assert "yours" not in page


async def test_a_sign_in_address_opens_one_session_once(receiver: Receiver) -> None:
    """The code is used up by its first use; the cookie it leaves is out of reach of scripts and other sites."""
    async with receiver.asking() as browser, receiver.asking() as thief:
        opened = await _sign_in(receiver, browser)
        again = await thief.get(str(opened.url.relative()))
        seen = await thief.get("/api/v1/summary")
        page = await browser.get("/")

    assert (opened.status, opened.headers["Location"]) == (303, "/")
    cookie = opened.headers["Set-Cookie"]
    assert re.match(r"receiver_session=\S{40,};", cookie)
    for attribute in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert attribute in cookie
    assert "Secure" not in cookie
    assert (again.status, seen.status) == (403, 401)
    assert "Set-Cookie" not in again.headers
    assert (page.status, page.content_type) == (200, "text/html")


async def test_a_code_is_good_for_ten_minutes(receiver: Receiver) -> None:
    receiver.clock.forward(600)
    async with receiver.asking() as browser:
        assert (await _sign_in(receiver, browser)).status == 403


async def test_behind_tls_the_cookie_is_bound_to_this_host(tmp_path: Path) -> None:
    async with receiving(tmp_path, Setting(is_behind_tls=True)) as receiver, receiver.asking() as browser:
        cookie = (await _sign_in(receiver, browser)).headers["Set-Cookie"]

    assert cookie.startswith("__Host-receiver_session=")
    assert "Secure" in cookie
    assert "Domain" not in cookie


async def test_a_session_ends_after_eight_idle_hours(receiver: Receiver) -> None:
    """A session that is used lives on; one that nobody used for eight hours is over."""
    async with receiver.asking() as browser:
        await _sign_in(receiver, browser)
        for _ in range(3):
            receiver.clock.forward(7 * 3600)
            assert (await browser.get("/api/v1/summary")).status == 200
        receiver.clock.forward(8 * 3600 + 1)

        assert (await browser.get("/api/v1/summary")).status == 401


async def test_a_session_of_a_revoked_token_is_over(receiver: Receiver) -> None:
    token = await receiver.token(Role.READ, name="leaving")
    async with receiver.asking() as browser:
        await browser.post("/signin", data={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})
        assert (await browser.get("/api/v1/summary")).status == 200
        await receiver.store.write(lambda state: state.token_revoke("leaving"))

        assert (await browser.get("/api/v1/summary")).status == 401


async def test_a_token_s_form_opens_a_session_that_only_reads(receiver: Receiver) -> None:
    """Whatever else the token may do, its session has no role that writes."""
    token = await receiver.token(*Role, name="everything")
    async with receiver.asking() as browser:
        opened = await browser.post("/signin", data={"token": f" {token}\n"}, headers={"Sec-Fetch-Site": "same-origin"})
        session = sha256(browser.session.cookie_jar.filter_cookies(opened.url)["receiver_session"].value.encode())

    assert (opened.status, opened.headers["Location"]) == (303, "/")
    row = await receiver.store.reader.session(session.hexdigest(), seen_since=0)
    assert row is not None
    assert row.roles == {Role.READ, Role.LOOKUP, Role.REVEAL}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", ["/signin", "/signout"])
async def test_a_form_sent_by_another_site_is_refused(receiver: Receiver, path: str, headers: dict[str, str]) -> None:
    token = await receiver.token(Role.READ)
    async with receiver.asking() as browser:
        await _sign_in(receiver, browser)
        response = await browser.post(path, data={"token": token}, headers=headers)

        assert response.status == 403
        assert (await browser.get("/api/v1/summary")).status == 200


async def test_an_old_browser_s_form_is_known_by_its_origin(receiver: Receiver) -> None:
    token = await receiver.token(Role.READ)
    async with receiver.asking() as browser:
        response = await browser.post("/signin", data={"token": token}, headers={"Origin": receiver.ops_url})

    assert response.status == 303


async def test_signing_out_ends_the_session_itself(receiver: Receiver) -> None:
    """Not only is the cookie taken away: whoever copied it is out as well."""
    async with receiver.asking() as browser:
        opened = await _sign_in(receiver, browser)
        cookie = opened.headers["Set-Cookie"].partition(";")[0]
        out = await browser.post("/signout", headers={"Sec-Fetch-Site": "same-origin"})
        copied = await browser.get("/api/v1/summary", headers={"Cookie": cookie})

    assert (out.status, out.headers["Location"]) == (303, "/signin")
    assert 'receiver_session=""' in out.headers["Set-Cookie"]
    assert copied.status == 401


async def test_guessing_tokens_is_throttled(receiver: Receiver) -> None:
    """After five wrong ones in a minute not even a good one is looked at; bearer tokens go on working."""
    token = await receiver.token(Role.READ)
    async with receiver.asking() as browser, receiver.asking(Role.READ) as reader:

        async def attempt(text: str) -> int:
            form = {"token": text}
            return (await browser.post("/signin", data=form, headers={"Sec-Fetch-Site": "same-origin"})).status

        wrong = [await attempt(f"wrong-{number}") for number in range(6)]
        throttled = await attempt(token)
        bearer = await reader.get("/api/v1/summary")
        receiver.clock.forward(60)

        assert wrong == [403] * 5 + [429]
        assert (throttled, bearer.status, await attempt(token)) == (429, 200, 303)


async def test_nobody_is_led_from_the_dashboard_to_the_sign_in_form(receiver: Receiver) -> None:
    async with receiver.asking() as browser:
        led = await browser.get("/")
        form = await browser.get(led.headers["Location"])

    assert led.status == 303
    assert form.status == 200
    assert "<form" in await form.text()


async def test_whoever_may_not_read_sees_no_dashboard(receiver: Receiver) -> None:
    async with receiver.asking(Role.SUBMIT) as browser:
        assert (await browser.get("/")).status == 403


@pytest.mark.parametrize("path", ["/", "/signin", "/api/v1/summary", "/metrics", "/nowhere", "/healthz"])
async def test_every_answer_carries_the_security_headers(receiver: Receiver, path: str) -> None:
    """Errors included; and no policy is softened by an `unsafe` word."""
    async with receiver.asking(Role.READ) as browser:
        headers = (await browser.get(path)).headers

    policy = headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "aiohttp" not in headers["Server"]


@pytest.mark.parametrize("host", ["evil.test", "evil.test:8080", "127.0.0.1.evil.test", "", "[::2]"])
async def test_a_name_that_is_not_ours_is_not_served(receiver: Receiver, host: str) -> None:
    """A page that rebinds its own name to this machine gets nothing, though the connection comes from loopback."""
    async with receiver.asking(Role.READ) as browser:
        response = await browser.get("/api/v1/summary", headers={"Host": host})
        health = await browser.get("/healthz", headers={"Host": host})

    assert response.status in {400, 421}
    assert health.status == 200 or not host


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8080"])
async def test_our_own_names_are_served(receiver: Receiver, host: str) -> None:
    async with receiver.asking(Role.READ) as browser:
        assert (await browser.get("/api/v1/summary", headers={"Host": host})).status == 200


async def test_health_needs_nothing_and_reveals_nothing(receiver: Receiver) -> None:
    async with receiver.asking() as nobody:
        alive, ready = await nobody.get("/healthz"), await nobody.get("/readyz")
        receiver.unready.append("the store cannot write")
        unready = await nobody.get("/readyz")

    assert (alive.status, await alive.json()) == (200, {"status": "alive"})
    assert (ready.status, await ready.json()) == (200, {"status": "ready", "reasons": []})
    assert (unready.status, await unready.json()) == (
        503,
        {"status": "unready", "reasons": ["the store cannot write"]},
    )


@pytest.mark.parametrize(
    ("path", "status", "parameter"),
    [
        ("/api/v1/summary?rangee=today", 400, "rangee"),
        ("/api/v1/summary?range=today&range=7d", 400, "range"),
        ("/api/v1/summary?start=2&end=1", 400, "start"),
        ("/api/v1/series?metric=happiness", 400, "metric"),
        ("/api/v1/series?step=1s", 400, "step"),
        ("/api/v1/series?start=0&end=4000000000&step=60", 400, "step"),
        ("/api/v1/series?group_by=callee", 400, "group_by"),
        ("/api/v1/breakdown", 400, "by"),
        ("/api/v1/breakdown?by=callee", 400, "by"),
        ("/api/v1/calls?limit=0", 400, "limit"),
        ("/api/v1/calls?limit=1001", 400, "limit"),
        ("/api/v1/calls?cursor=x", 400, "cursor"),
        ("/api/v1/callbacks?after=-1", 400, "after"),
        ("/api/v1/callbacks?after=99999999999999999999", 400, "after"),
        ("/api/v1/quarantine?limit=many", 400, "limit"),
        ("/api/v1/calls/tencent/demo/nobody", 404, None),
        ("/api/v1/nowhere", 404, None),
        ("/static/dashboard.css", 404, None),
    ],
)
async def test_what_cannot_be_answered_is_a_problem_that_names_the_parameter(
    receiver: Receiver, path: str, status: int, parameter: str | None
) -> None:
    """RFC 9457: the problem says what is wrong, and where a parameter is at fault, which."""
    async with receiver.asking(Role.READ) as browser:
        response = await browser.get(path)
        problem = await response.json(content_type="application/problem+json")

    assert response.status == problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert [error["parameter"] for error in problem.get("errors", [])] == ([parameter] if parameter else [])


async def test_another_method_is_refused_with_the_allowed_ones(receiver: Receiver) -> None:
    async with receiver.asking(Role.READ) as browser:
        response = await browser.post("/api/v1/summary")

    assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")
    assert response.content_type == "application/problem+json"


async def test_a_failing_store_is_503_and_an_unforeseen_failure_says_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that the store cannot answer may be asked again; a bug's words stay in our log."""
    error: Exception = StoreError("derived.db: disk I/O error")

    async def fail(_: str) -> None:
        raise error

    async with receiver.asking(Role.READ) as browser:
        monkeypatch.setattr(receiver.store.reader, "meta", fail)
        failing = await browser.get("/api/v1/summary")
        error = ZeroDivisionError("the bug's own words")
        unforeseen = await browser.get("/api/v1/summary")

    assert failing.status == 503
    assert unforeseen.status == 500
    assert "own words" not in await unforeseen.text()
