"""The page's own files: templates, style and words, read once. Knows no figure and no request."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from receiver.logs import printable

_FILES: Final = Path(__file__).parent
_TEMPLATES: Final = ("dashboard.html", "signin.html")
LANGUAGES: Final = ("zh", "en")
_TAGS: Final = {"zh": "zh-CN", "en": "en"}
_MISSING: Final = "—"
# Unit, its seconds, and from how many seconds on it is used.
_UNITS: Final = (("h", 3600, 7200), ("min", 60, 300), ("s", 1, 0))


@dataclass(frozen=True, slots=True)
class Asset:
    """A file a page asks for; its address holds a hash of its content, so it may be kept for ever."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Site:
    """Everything a page is made of.

    Attributes:
        assets: the only files served, by path.
        words: language to word list; all have the same keys.
    """

    templates: Mapping[str, Template]
    assets: Mapping[str, Asset]
    words: Mapping[str, Mapping[str, str]]

    def render(self, template: str, *, language: str, **values: Any) -> str:
        """A page in a language."""
        return self.templates[template].render(words=self.words[language], **values)


def load() -> Site:
    """Read and compile all files, so that no request waits for a disk."""
    style = (_FILES / "dashboard.css").read_bytes()
    style_path = f"/static/dashboard.{hashlib.sha256(style).hexdigest()[:16]}.css"
    environment = Environment(
        loader=FileSystemLoader(_FILES / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    environment.globals["style"] = style_path
    return Site(
        templates={name: environment.get_template(name) for name in _TEMPLATES},
        assets={style_path: Asset(style, "text/css; charset=utf-8")},
        words=_words(json.loads((_FILES / "words.json").read_text("utf-8"))),
    )


def _words(given: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    return {
        language: {**given[language], "code": language, "tag": _TAGS[language], "other": _other(language)}
        for language in LANGUAGES
    }


def _other(language: str) -> str:
    return next(each for each in LANGUAGES if each != language)


def _percent(rate: float | None) -> str:
    return _MISSING if rate is None else f"{rate * 100:.1f} %"


def _interval(ends: Sequence[float] | None) -> str:
    return _MISSING if ends is None else f"{ends[0] * 100:.1f}\u2013{ends[1] * 100:.1f} %"


def _count(number: int | None) -> str:
    return _MISSING if number is None else f"{number:,}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return _MISSING
    unit, size = next((unit, size) for unit, size, least in _UNITS if seconds >= least)
    return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"


def _clock(instant: str | None) -> str:
    return _MISSING if instant is None else f"{datetime.fromisoformat(instant):%m-%d %H:%M:%S}"


_FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "percent": _percent,
    "interval": _interval,
    "count": _count,
    "seconds": _seconds,
    "clock": _clock,
    "printable": printable,
}
