"""The sender against a server that behaves as badly as it is told to, over real mutual TLS."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import certificates
import pytest
from aiohttp import web
from cryptography import x509

from receiver.carriers import PROFILES
from receiver.errors import UndecodableError
from receiver.simulate import sender as sender_module
from receiver.simulate.plan import Nature, Options, Post, episodes, schedule
from receiver.simulate.sender import Acknowledgement, Sender, Sent
from receiver.simulate.target import Target

CLOSE = "close"
POSTS = list(schedule(episodes(Options(calls=40, start=1_763_784_000, seed=3, malformed=0.3, apps=2))))


@dataclass
class Server:
    """Answers as scripted, over and over with `is_stubborn`, else as the receiver does; notes what came how."""

    script: list[int | str] = field(default_factory=list)
    is_stubborn: bool = False
    bodies: list[bytes] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    peers: set[str] = field(default_factory=set)

    async def answer(self, request: web.Request) -> web.Response:
        """Note the request, and misbehave or answer."""
        body = await request.read()
        assert request.transport is not None
        self.bodies.append(body)
        self.connections.add(request.transport)
        self.peers.add(str(request.transport.get_extra_info("peercert")["subject"]))
        behaviour = self._next()
        if behaviour == CLOSE:
            request.transport.abort()
        status = behaviour if isinstance(behaviour, int) else _proper_status(body)
        return web.Response(status=status, headers={"X-Receiver-Receipt": str(len(self.bodies)), "Retry-After": "1"})

    def _next(self) -> int | str | None:
        if not self.script:
            return None
        return self.script[0] if self.is_stubborn else self.script.pop(0)


def _proper_status(body: bytes) -> int:
    try:
        PROFILES["tencent"].decode(body)
    except UndecodableError:
        return 400
    return 200


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def target(server: Server, tmp_path: Path) -> AsyncIterator[Target]:
    at = certificates.now()
    ca = certificates.authority(at=at)
    ca_file, _ = ca.write(tmp_path, "ca")
    own: certificates.Extensions = {x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), False)}
    names = (x509.DNSName("localhost"),)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca_file)
    context.load_cert_chain(*certificates.client(ca, san=names, extensions=own, at=at).write(tmp_path, "server"))
    context.verify_mode = ssl.CERT_REQUIRED
    application = web.Application()
    application.router.add_post("/callbacks/tencent/{app}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    certificate, key = certificates.client(ca, at=at).write(tmp_path, "client")
    yield Target(
        carrier="tencent",
        callbacks_url=f"https://localhost:{runner.addresses[0][1]}/callbacks/tencent",
        ops_url="http://127.0.0.1:1",
        token="",
        server_ca=ca_file,
        client_cert=certificate,
        client_key=key,
    )
    await runner.cleanup()


@pytest.fixture
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "_PAUSES_SECONDS", (0.001, 0.001, 0.001))
    monkeypatch.setattr(sender_module, "_LONGEST_PAUSE_SECONDS", 0.001)


async def send(target: Target, posts: list[Post], *, connections: int = 4) -> tuple[Sent, list[Acknowledgement]]:
    heard: list[Acknowledgement] = []
    sent = await Sender(target, connections=connections, on_acknowledged=heard.append).send(posts, lambda: None)
    return sent, heard


async def test_every_body_arrives_once_over_kept_connections(server: Server, target: Target) -> None:
    """The exact bytes come under the client's certificate, over no more connections than allowed."""
    sent, _ = await send(target, POSTS, connections=3)

    assert sorted(server.bodies) == sorted(post.body for post in POSTS)
    assert len(server.connections) <= 3
    assert "callback.tencent.test" in server.peers.pop()
    assert sent.posts == len(POSTS) == len(sent.seconds)
    assert sent.is_complete
    assert not sent.unexpected


async def test_answers_are_counted_by_what_they_must_be(target: Target) -> None:
    """400 is right for a body that cannot be read, and wrong for any other."""
    bad = sum(post.nature is Nature.UNDECODABLE for post in POSTS)
    sent, _ = await send(target, POSTS)

    assert bad
    assert sent.statuses == {200: len(POSTS) - bad, 400: bad}
    assert not sent.unexpected


async def test_a_wrong_answer_is_noticed(server: Server, target: Target) -> None:
    """A refusal that is not an overload is final, and unexpected."""
    server.script = [403]
    sent, _ = await send(target, POSTS)

    assert sent.unexpected == {403: 1}
    assert len(server.bodies) == len(POSTS)


async def test_every_success_is_in_the_ledger(target: Target) -> None:
    """Each acknowledgement names receipt, application, call and digest, and is heard of at once."""
    sent, heard = await send(target, POSTS)
    readable = [post for post in POSTS if post.nature is not Nature.UNDECODABLE]

    assert heard == sent.ledger
    assert sorted((each.app, each.call_id, each.sha256) for each in heard) == sorted(
        (post.app, post.call_id, hashlib.sha256(post.body).hexdigest()) for post in readable
    )
    assert sent.last_receipt == max(each.receipt for each in heard) > 0


async def test_overload_is_waited_out(server: Server, target: Target) -> None:
    """503 is tried again no sooner than its Retry-After says, and is no failure in the end."""
    server.script = [503]
    sent, _ = await send(target, POSTS[:1])

    assert (sent.unavailable, sent.given_up, sent.statuses.total()) == (1, 0, 1)
    assert sent.elapsed_seconds >= 1
    assert not sent.unexpected


@pytest.mark.usefixtures("quick_pauses")
async def test_a_broken_connection_is_tried_again(server: Server, target: Target) -> None:
    """A callback whose answer never came is posted again, and counted as perhaps kept twice."""
    server.script = [CLOSE, 503]
    sent, _ = await send(target, POSTS)

    assert (sent.broken, sent.unavailable, sent.ambiguous) == (1, 1, 2)
    assert sent.statuses.total() == len(POSTS)
    assert len(server.bodies) == len(POSTS) + 2


@pytest.mark.usefixtures("quick_pauses")
async def test_a_dead_receiver_is_given_up(server: Server, target: Target) -> None:
    """Attempts are bounded for each callback, and so is the number of callbacks that are given up."""
    server.script, server.is_stubborn = [CLOSE], True
    sent, _ = await send(target, POSTS)

    assert not sent.is_complete
    assert 8 <= sent.given_up < len(POSTS)
    assert sent.broken == sent.given_up * 3
    assert sent.last_break


async def test_nothing_is_sent_before_it_is_due(server: Server, target: Target) -> None:
    """With a pace, the last of the posts leaves when the plan says."""
    sender = Sender(target, connections=4, pace_from=1000.0, on_acknowledged=lambda _: None)
    paced = [replace(post, due=1000.0 + 0.1 * number) for number, post in enumerate(POSTS[:6])]
    sent = await sender.send(paced, lambda: None)

    assert server.bodies == [post.body for post in paced]
    assert sent.elapsed_seconds >= 0.5


async def test_a_stopped_sender_finishes_what_is_under_way(server: Server, target: Target) -> None:
    """An interrupt ends the wait for the next post at once; nothing sent stays without its answer."""
    sender = Sender(target, connections=2, pace_from=1000.0, on_acknowledged=lambda _: None)
    distant = [replace(POSTS[0], due=1000.0), replace(POSTS[1], due=1060.0)]
    asyncio.get_running_loop().call_later(0.3, sender.stop)
    sent = await sender.send(distant, lambda: None)

    assert not sent.is_complete
    assert sent.posts == sent.statuses.total() == len(server.bodies) == 1
    assert sent.elapsed_seconds < 1
