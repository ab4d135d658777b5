"""The receiver's two sides on real sockets and a real store, without nginx: the test plays nginx, or tries to."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import store_lab
from aiohttp import ClientResponse, ClientSession, CookieJar
from certificates import Issued, authority, client, nginx_header
from wire import Answer, request

from receiver.carriers import PROFILES
from receiver.config import Settings
from receiver.journal import Journal, JournalLimits
from receiver.model import MICROSECONDS, Role
from receiver.store.interface import Quotas
from receiver.store.sqlite import SqliteStore, open_store
from receiver.trust import CarrierTrust, Material, Strictness, Verifier, pin_of
from receiver.trust.certificate import read
from receiver.web import ops
from receiver.web.audit_socket import AuditSocket
from receiver.web.auth import Doorkeeper, FileToken
from receiver.web.desk import Desk
from receiver.web.edge import Edge, EdgeCarrier, Keep
from receiver.web.edge_server import serving
from receiver.web.gate import Gate
from receiver.web.refusals import Refusals
from receiver.web.targets import Declared

EDGE_KEY: Final = "e" * 64
NOW: Final = store_lab.NOW
PATH: Final = "/callbacks/tencent/demo"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_us = NOW * MICROSECONDS

    def __call__(self) -> int:
        """The time in Unix microseconds."""
        return self.now_us

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.now_us += int(seconds * MICROSECONDS)


def unanswered(call_id: str, **changes: Any) -> bytes:
    """A status callback of a call that nobody answered."""
    return store_lab.report(call_id, **{"result": "1", "accept_time": "0", "end_calltime": "0", "fee": "0"} | changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """A carrier's authority, the pinned client, one without a pin, and a stranger."""

    carrier: Issued
    pinned: Issued
    unpinned: Issued
    stranger: Issued

    @classmethod
    def made(cls) -> "Certificates":
        """New ones."""
        at = datetime.fromtimestamp(NOW, UTC)
        ca = authority(at=at)
        return cls(
            carrier=ca,
            pinned=client(ca, at=at),
            unpinned=client(ca, "other.tencent.test", at=at),
            stranger=client(authority("Somebody else", at=at), at=at),
        )

    def verifier(self) -> Verifier:
        """A verifier that trusts this carrier's authority and pins its one client."""
        material = Material(anchors=[self.carrier.certificate], intermediates=[], crls=[], strictness=Strictness.STRICT)
        pin = pin_of(read(self.pinned.der))
        return Verifier({"tencent": CarrierTrust(material=material, pins=(pin,))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A running receiver, both sides of it."""

    directory: Path
    store: SqliteStore
    edge: Edge
    refusals: Refusals
    audit: AuditSocket
    certificates: Certificates
    clock: Clock
    file_token: FileToken
    ops_url: str
    unready: list[str]

    @property
    def edge_path(self) -> Path:
        """Where nginx would connect to."""
        return self.directory / "edge.sock"

    async def send(self, *parts: bytes, is_ended: bool = False) -> Answer:
        """Send bytes to the carrier side over a new connection, and read one answer."""
        reader, writer = await asyncio.open_unix_connection(str(self.edge_path))
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            if is_ended:
                writer.write_eof()
            return await _answer(reader)
        finally:
            writer.close()
            await writer.wait_closed()

    async def post(
        self,
        body: bytes,
        *,
        path: str = PATH,
        method: str = "POST",
        headers: Mapping[str, str | None] | None = None,
        more: Iterable[tuple[str, str]] = (),
    ) -> Answer:
        """POST a body as nginx passes it on; `headers` change its headers (None takes one away), `more` adds some."""
        return await self.send(self.request(body, path=path, method=method, headers=headers, more=more))

    def request(
        self,
        body: bytes = b"",
        *,
        path: str = PATH,
        method: str = "POST",
        headers: Mapping[str, str | None] | None = None,
        more: Iterable[tuple[str, str]] = (),
    ) -> bytes:
        """The bytes of a request as nginx makes it."""
        usual = self.identity() | {"X-Request-Id": "r-1", "X-Real-IP": "192.0.2.1", "Content-Type": "application/json"}
        chosen = usual | dict(headers or {})
        given = [(name, value) for name, value in chosen.items() if value is not None]
        return request(method, path, body, headers=[*given, *more])

    def identity(self, issued: Issued | None = None) -> dict[str, str | None]:
        """The headers by which nginx names the client."""
        return {
            "X-Edge-Key": EDGE_KEY,
            "X-SSL-Client-Verify": "SUCCESS",
            "X-SSL-Client-Cert": nginx_header(issued or self.certificates.pinned),
            "X-TLS-Protocol": "TLSv1.3",
            "X-TLS-Cipher": "TLS_AES_256_GCM_SHA384",
        }

    async def fill(self, *bodies: bytes) -> None:
        """Post these callbacks and bring them into the figures."""
        for body in bodies:
            await self.post(body)
        await self.fold()

    async def fold(self) -> None:
        """Bring everything kept so far into the figures."""
        await asyncio.to_thread(store_lab.fold, self.directory / "store")

    async def token(
        self, *roles: Role, apps: Iterable[str] = (), name: str | None = None, expires_at: int | None = None
    ) -> str:
        """Make a token."""
        token = secrets.token_urlsafe()
        await self.store.write(
            lambda state: state.token_create(
                name=name or token[:8],
                token_hash=sha256(token.encode()).hexdigest(),
                roles=roles,
                apps=apps,
                created_at=NOW,
                expires_at=expires_at,
            )
        )
        return token

    @asynccontextmanager
    async def asking(self, *roles: Role, apps: Iterable[str] = ()) -> AsyncIterator["Browser"]:
        """Somebody with a token of these roles; with none, somebody without a token."""
        headers = {"Authorization": f"Bearer {await self.token(*roles, apps=apps)}"} if roles else {}
        async with ClientSession(self.ops_url, headers=headers, cookie_jar=CookieJar(unsafe=True)) as session:
            yield Browser(session)


@dataclass(frozen=True, slots=True)
class Browser:
    """Somebody who asks the operations side; follows no redirect."""

    session: ClientSession

    async def get(self, path: str, **options: Any) -> ClientResponse:
        """GET, the body read."""
        return await self._ask("GET", path, **options)

    async def post(self, path: str, **options: Any) -> ClientResponse:
        """POST, the body read."""
        return await self._ask("POST", path, **options)

    async def json(self, path: str, **query: str | int) -> Any:
        """The answer to a question that must be answered."""
        response = await self.get(path, params=query)
        assert response.status == 200, await response.text()
        return await response.json()

    async def _ask(self, method: str, path: str, **options: Any) -> ClientResponse:
        async with self.session.request(method, path, allow_redirects=False, **options) as response:
            await response.read()
            return response


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in head[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers["content-length"]))
    return Answer(status=int(head[0].split()[1]), headers=headers, body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a receiver is set up, where it matters to a test.

    Attributes:
        keep: what stands in the journal's place.
    """

    settings: Settings = field(default_factory=Settings)
    quotas: Quotas = store_lab.AMPLE
    declared: Declared = field(default_factory=lambda: Declared({}, is_required=False))
    accepts_undecodable: bool = False
    keep: Keep | None = None
    token_file: Path | None = None
    is_behind_tls: bool = False


@asynccontextmanager
async def receiving(directory: Path, setting: Setting | None = None) -> AsyncIterator[Receiver]:
    """Run both sides in this process until the block ends."""
    setting = setting or Setting()
    certificates, clock, refusals = Certificates.made(), Clock(), Refusals()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(directory / "store", quotas=setting.quotas))
        limits = JournalLimits(entries=1000, bytes=1 << 20)
        journal = await stack.enter_async_context(Journal.running(store.append, post=store.post, limits=limits))
        profile = EdgeCarrier(profile=PROFILES["tencent"], accepts_undecodable=setting.accepts_undecodable)
        edge = Edge(
            carriers={"tencent": profile},
            gate=Gate(os.geteuid(), EDGE_KEY.encode()),
            identify=certificates.verifier().identify,
            declared=setting.declared,
            keep=setting.keep or journal.keep,
            refusals=refusals,
            now_us=clock,
        )
        edge_socket = socket.socket(socket.AF_UNIX)
        edge_socket.bind(str(directory / "edge.sock"))
        body_bytes = setting.settings.limits.body_bytes
        await stack.enter_async_context(serving(edge, [edge_socket], body_bytes=body_bytes, drain_seconds=1))
        file_token, audit, unready = FileToken(setting.token_file), AuditSocket(refusals), list[str]()
        file_token.reload()
        desk = Desk(
            settings=setting.settings,
            reader=store.reader,
            write=store.write,
            doorkeeper=Doorkeeper(
                store.reader,
                file_token=file_token,
                note_seen=lambda session, now: store.write(lambda state: state.session_seen(session, now=now)),
                is_behind_tls=setting.is_behind_tls,
                now_us=clock,
            ),
            unready=lambda: unready,
            trust_warnings=list,
            handshakes=lambda: audit.last,
            now_us=clock,
        )
        ops_socket = socket.create_server(("127.0.0.1", 0))
        await stack.enter_async_context(ops.serving(desk, ops_socket))
        yield Receiver(
            directory=directory,
            store=store,
            edge=edge,
            refusals=refusals,
            audit=audit,
            certificates=certificates,
            clock=clock,
            file_token=file_token,
            ops_url=f"http://127.0.0.1:{ops_socket.getsockname()[1]}",
            unready=unready,
        )
