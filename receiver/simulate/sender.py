"""Posts callbacks over mutual TLS on kept-alive connections, and notes every answer. Knows nothing of their content."""

import asyncio
import hashlib
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, NamedTuple

import aiohttp
from yarl import URL

from receiver.simulate.plan import Nature, Post
from receiver.simulate.target import Target

RECEIPT_HEADER: Final = "X-Receiver-Receipt"
_PAUSES_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0)
_LONGEST_PAUSE_SECONDS: Final = 5.0
# A receiver that lets this many callbacks down, each through all its attempts, is gone.
_HOPELESS: Final = 8
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
_HEADERS: Final = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "receiver-simulate"}


class Acknowledgement(NamedTuple):
    """A success answer: the receiver says that these bytes are on disk. `receipt` is 0 when the answer had none."""

    receipt: int
    carrier: str
    app: str
    call_id: str
    sha256: str


class _Answer(NamedTuple):
    status: int
    receipt: str
    retry_after: str


@dataclass(slots=True)
class Sent:
    """What became of the posts. `seconds` are the times from a request to its answer, refusals included.

    Attributes:
        posts: callbacks taken from the plan, however often each was tried.
        statuses: final answers by status; a callback that never got one is in `given_up`.
        unexpected: final answers other than the one such a post must get.
        unavailable: answers 503, each tried again.
        broken: connections that failed before an answer, each tried again; `last_break` says how the last one did.
        behind_seconds: how far the sender fell behind the plan's pace.
    """

    posts: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    unexpected: Counter[int] = field(default_factory=Counter)
    unavailable: int = 0
    broken: int = 0
    last_break: str = ""
    given_up: int = 0
    is_complete: bool = False
    behind_seconds: float = 0.0
    elapsed_seconds: float = 0.0
    seconds: "array[float]" = field(default_factory=lambda: array("d"))
    ledger: list[Acknowledgement] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """Success answers."""
        return self.statuses[HTTPStatus.OK]

    @property
    def ambiguous(self) -> int:
        """Attempts whose bytes may have been kept although no success was seen."""
        return self.unavailable + self.broken

    @property
    def last_receipt(self) -> int:
        """The highest journal cursor among the success answers, 0 without any."""
        return max((each.receipt for each in self.ledger), default=0)


class Sender:
    """A bounded number of connections over which posts go out.

    With `pace_from`, an instant of the plan's clock that means now, nothing is sent before it is due.
    """

    def __init__(
        self,
        target: Target,
        *,
        connections: int,
        pace_from: float | None = None,
        on_acknowledged: Callable[[Acknowledgement], None],
    ) -> None:
        self.sent = Sent()
        self._target = target
        self._on_acknowledged = on_acknowledged
        self._connections = connections
        self._pace_from = pace_from
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Take no further post from the plan; those under way are finished."""
        self._stopped.set()

    async def send(self, posts: Iterable[Post], on_answer: Callable[[], None]) -> Sent:
        """Post everything, each until it is answered or hopeless."""
        began = time.monotonic()
        queue: asyncio.Queue[Post | None] = asyncio.Queue(maxsize=self._connections)
        connector = aiohttp.TCPConnector(limit=self._connections, ssl=self._target.tls(), keepalive_timeout=60)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, headers=_HEADERS) as session,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(self._connections):
                group.create_task(self._work(queue, session, on_answer))
            await self._feed(queue, posts, began)
        self.sent.elapsed_seconds = time.monotonic() - began
        return self.sent

    async def _feed(self, queue: asyncio.Queue[Post | None], posts: Iterable[Post], began: float) -> None:
        for post in posts:
            if self._pace_from is not None:
                await self._wait(began + post.due - self._pace_from - time.monotonic())
            if self._stopped.is_set():
                break
            await queue.put(post)
        self.sent.is_complete = not self._stopped.is_set()
        for _ in range(self._connections):
            await queue.put(None)

    async def _wait(self, seconds: float) -> None:
        if seconds <= 0:
            self.sent.behind_seconds = max(self.sent.behind_seconds, -seconds)
            return
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return

    async def _work(
        self, queue: asyncio.Queue[Post | None], session: aiohttp.ClientSession, on_answer: Callable[[], None]
    ) -> None:
        urls: dict[str, URL] = {}
        while (post := await queue.get()) is not None:
            if post.app not in urls:
                urls[post.app] = URL(self._target.app_url(post.app))
            await self._deliver(post, urls[post.app], session)
            on_answer()

    async def _deliver(self, post: Post, url: URL, session: aiohttp.ClientSession) -> None:
        self.sent.posts += 1
        for pause in _PAUSES_SECONDS:
            began = time.perf_counter()
            try:
                answer = await _attempt(post, url, session)
            except (aiohttp.ClientError, TimeoutError) as exc:
                self.sent.broken += 1
                self.sent.last_break = f"{type(exc).__name__}: {exc}"
                await self._wait_again(pause)
                continue
            self.sent.seconds.append(time.perf_counter() - began)
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                self._note(post, answer)
                return
            self.sent.unavailable += 1
            await self._wait_again(max(pause, _seconds(answer.retry_after)))
        self.sent.given_up += 1
        if self.sent.given_up >= _HOPELESS:
            self.stop()

    async def _wait_again(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, _LONGEST_PAUSE_SECONDS))

    def _note(self, post: Post, answer: _Answer) -> None:
        self.sent.statuses[answer.status] += 1
        if answer.status == HTTPStatus.OK:
            receipt = int(answer.receipt) if answer.receipt.isdecimal() else 0
            sha256 = hashlib.sha256(post.body).hexdigest()
            acknowledgement = Acknowledgement(receipt, self._target.carrier, post.app, post.call_id, sha256)
            self.sent.ledger.append(acknowledgement)
            self._on_acknowledged(acknowledgement)
        if answer.status != (HTTPStatus.BAD_REQUEST if post.nature is Nature.UNDECODABLE else HTTPStatus.OK):
            self.sent.unexpected[answer.status] += 1


async def _attempt(post: Post, url: URL, session: aiohttp.ClientSession) -> _Answer:
    async with session.post(url, data=post.body) as response:
        await response.read()
        headers = response.headers
        return _Answer(response.status, headers.get(RECEIPT_HEADER, ""), headers.get("Retry-After", ""))


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdecimal() else 0.0
