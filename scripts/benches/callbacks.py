"""The callbacks a bench posts: the simulated carrier's bodies as ready-made HTTP requests, no call twice."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from receiver.simulate.plan import Nature, Options, episodes, schedule

_CALLS: Final = 2000
_SUFFIX: Final = 12
"""How many digits of a call id, its node, are counted up; one call's callbacks share them."""
_READABLE: Final = frozenset({Nature.REPORT, Nature.FAILURE, Nature.KEY_PRESS})


def endless(*, path: str, seed: int) -> Callable[[], bytes]:
    """A function that returns the next request: realistic bodies in a realistic order, each pass with new call ids."""
    options = Options(calls=_CALLS, start=int(time.time()), seed=seed, duplicates=0, late=0, malformed=0)
    cuts = [
        _cut(path, post.body, post.call_id.encode()) for post in schedule(episodes(options)) if post.nature in _READABLE
    ]

    def requests() -> Iterator[bytes]:
        number = 0
        while True:
            suffix = b"%012x" % number
            for head, tail in cuts:
                yield head + suffix + tail
            number += 1

    return requests().__next__


def _cut(path: str, body: bytes, call_id: bytes) -> tuple[bytes, bytes]:
    head = (
        f"POST {path} HTTP/1.1\r\n"
        "Host: localhost\r\n"
        "Content-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "\r\n"
    )
    place = body.index(call_id) + len(call_id) - _SUFFIX
    return head.encode() + body[:place], body[place + _SUFFIX :]
