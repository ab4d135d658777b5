"""The dashboard: the API's own figures, in words, in two languages, without anything a strict policy would block."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from store_lab import failure, report
from web_lab import NOW, Browser, Receiver, receiving, unanswered

from receiver.model import Role


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with receiving(tmp_path) as running:
        yield running


@pytest.fixture
async def reader(receiver: Receiver) -> AsyncIterator[Browser]:
    async with receiver.asking(Role.READ) as browser:
        yield browser


class _Page(HTMLParser):
    """The parts of a page that a test is about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and what it says."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]


async def test_the_dashboard_shows_the_api_s_own_figures(receiver: Receiver, reader: Browser) -> None:
    """State in a word, rate with interval and n, outcomes, callers, callbacks, refusals: in both languages."""
    await receiver.fill(report("a"), unanswered("b"), failure("c", failure_code=8))
    await receiver.store.write(lambda state: state.refusals_add({("tencent", "revoked"): 7}, now=NOW))
    summary = await reader.json("/api/v1/summary")
    low, high = summary["answer_rate_wilson95"]
    zh, en = [await (await reader.get(f"/?lang={language}")).text() for language in ("zh", "en")]

    for page in (zh, en):
        assert "33.3 %" in page
        assert f"{low * 100:.1f}–{high * 100:.1f} %" in page  # noqa: RUF001  (a range of numbers)
        assert "n = 3" in page
        assert "075583763333" in page
        assert "revoked" in page
        assert "空号" in page
    assert '<html lang="zh-CN">' in zh
    assert "样本不足" in zh
    assert '<html lang="en">' in en
    assert "too few calls to tell" in en
    assert "near the floor" not in en


@pytest.mark.parametrize(
    ("answered", "word"), [(40, "above the floor"), (0, "below the floor"), (15, "near the floor")]
)
async def test_the_state_is_a_word(receiver: Receiver, reader: Browser, answered: int, word: str) -> None:
    """Above or below only when the sample proves it; a word that claims compliance with a law is never used."""
    calls = [report(f"a{number}") if number < answered else unanswered(f"a{number}") for number in range(50)]
    await receiver.fill(*calls)
    page = await (await reader.get("/?lang=en")).text()

    assert word in page
    assert sum(each in page for each in ("above the floor", "below the floor", "near the floor")) == 1


async def test_an_empty_dashboard_says_so(reader: Browser) -> None:
    page = await (await reader.get("/?lang=zh")).text()

    assert "无数据" in page
    assert re.search(r">\s*0\.0 %", page) is None
    assert "暂无" in page


async def test_the_page_has_nothing_a_strict_policy_would_block(receiver: Receiver, reader: Browser) -> None:
    """No script, no inline style, no address but our own; foreign text is text."""
    foreign = "</td><script>alert(1)</script>\u202e"
    await receiver.fill(report(foreign, call_from="<b onclick=x>"))
    text = await (await reader.get("/?lang=en")).text()
    page = _Page(text)

    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "\u202e" not in text
    names = {name for _, name, _ in page.attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]
    for _, name, value in page.attributes:
        if name in {"href", "src", "action"}:
            assert value is not None
            assert value.startswith("/") or value == "data:,"


async def test_the_style_is_served_for_ever_under_a_name_of_its_content(reader: Browser) -> None:
    page = await (await reader.get("/")).text()
    (path,) = re.findall(r'rel="stylesheet" href="([^"]+)"', page)
    style = await reader.get(path)

    assert (style.status, style.content_type) == (200, "text/css")
    assert "immutable" in style.headers["Cache-Control"]
    assert style.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("query", "accepted", "language"),
    [
        ("", "en-GB,en;q=0.9", "en"),
        ("", "fr, zh;q=0.5", "zh-CN"),
        ("", "fr", "zh-CN"),
        ("?lang=en", "zh", "en"),
        ("?lang=xx", "en", "en"),
    ],
)
async def test_the_page_speaks_the_reader_s_language(reader: Browser, query: str, accepted: str, language: str) -> None:
    page = await (await reader.get(f"/{query}", headers={"Accept-Language": accepted})).text()

    assert f'<html lang="{language}">' in page


async def test_the_page_s_links_keep_the_period_the_language_and_the_filters(reader: Browser) -> None:
    page = _Page(await (await reader.get("/?lang=en&range=7d&app=demo&kind=code")).text())
    links = [value for tag, name, value in page.attributes if tag == "a" and name == "href"]

    assert "/?lang=en&range=30d&app=demo&kind=code" in links
    assert "/?lang=zh&range=7d&app=demo&kind=code" in links
    # Each filter on show takes itself away, and nothing else.
    assert "/?lang=en&range=7d&kind=code" in links
    assert ("a", "aria-current", "page") in page.attributes
