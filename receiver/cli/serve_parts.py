"""What both sides of a running receiver stand on: store, journal, projector, sockets, trust. Opens no side itself."""

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from receiver import config
from receiver.carriers import PROFILES
from receiver.config import Settings
from receiver.errors import SettingsError
from receiver.home import Home
from receiver.journal import Journal, JournalLimits
from receiver.model import MICROSECONDS
from receiver.pki.development import is_development
from receiver.projector_process import ProjectorProcess
from receiver.store.interface import Quotas
from receiver.store.sqlite import SqliteStore, open_store
from receiver.trust import Verifier
from receiver.trust.files import TrustFiles
from receiver.web.audit_socket import AuditSocket
from receiver.web.auth import FileToken
from receiver.web.edge import Edge, EdgeCarrier
from receiver.web.gate import Gate
from receiver.web.refusals import Refusals
from receiver.web.rules import Rules
from receiver.web.sockets import Sockets, listening
from receiver.web.targets import Declared
from receiver.web.upkeep import Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and how one receiver runs.

    Attributes:
        file: the settings file, when it is not the home's own.
        run: the directory of the sockets.
        nginx_uid: the user whose connections are nginx's.
        nginx_group: the group that nginx's sockets are given to; None leaves them ours.
    """

    home: Home
    settings: Settings
    file: Path | None
    run: Path
    nginx_uid: int
    nginx_group: int | None

    @property
    def store(self) -> Path:
        """The directory of the store."""
        return config.store_directory(self.settings, self.home.root)


@dataclass(slots=True, kw_only=True)
class Parts:
    """The running parts. `is_open` while callbacks are taken."""

    place: Place
    store: SqliteStore
    sockets: Sockets
    projector: ProjectorProcess
    journal: Journal
    trust: TrustFiles
    refusals: Refusals
    audit: AuditSocket
    edge: Edge
    upkeep: Upkeep
    is_open: bool = False

    def unready(self) -> list[str]:
        """Why nothing can be stored now."""
        reasons = {
            "callbacks are not taken": not self.is_open,
            "the store fails": self.journal.is_failing or self.journal.died.done(),
            "the projector is dead": self.projector.died.done(),
            "the disk is full": self.upkeep.is_disk_full,
        }
        return [reason for reason, holds in reasons.items() if holds]


async def start(place: Place, stack: AsyncExitStack) -> Parts:
    """Start the parts; they stop with the stack, in reverse order.

    Raises:
        ReceiverError: one of them cannot be started.
    """
    settings, refusals = place.settings, Refusals()
    strictness = {name: each.strictness for name, each in settings.carriers.items()}
    trust = TrustFiles(place.home.trust, strictness, is_refused=is_development if settings.is_production else None)
    trust.load(now=now_us() // MICROSECONDS)
    # First of all the store's lock: whoever has it may clear away sockets that a dead server left.
    store = await stack.enter_async_context(open_store(place.store, quotas=_quotas(settings)))
    ops = (settings.server.ops_host, settings.server.ops_port)
    sockets = stack.enter_context(listening(place.run, ops=ops, group=place.nginx_group))
    file = ["--config", str(place.file)] if place.file else []
    projector = await stack.enter_async_context(ProjectorProcess.running("--home", str(place.home.root), *file))
    waiting = JournalLimits(entries=settings.limits.queue_deliveries, bytes=settings.limits.queue_bytes)
    journal = await stack.enter_async_context(
        Journal.running(store.append, post=store.post, limits=waiting, on_commit=projector.notify)
    )
    edge, upkeep = await _edge(place, store, journal, trust, refusals)
    # Whatever was refused until the last connection closed is still counted.
    stack.push_async_callback(upkeep.save_refusals)
    return Parts(
        place=place,
        store=store,
        sockets=sockets,
        projector=projector,
        journal=journal,
        trust=trust,
        refusals=refusals,
        audit=AuditSocket(refusals),
        edge=edge,
        upkeep=upkeep,
    )


def _quotas(settings: Settings) -> Quotas:
    limits = settings.limits
    return Quotas(
        unknown_kind=limits.unknown_kind_per_day, quarantine=limits.quarantine_per_day, held=limits.held_per_day
    )


async def _edge(
    place: Place, store: SqliteStore, journal: Journal, trust: TrustFiles, refusals: Refusals
) -> tuple[Edge, Upkeep]:
    settings, verifier = place.settings, Verifier({})
    edge = Edge(
        carriers={
            name: EdgeCarrier(profile=PROFILES[each.profile], accepts_undecodable=each.undecodable == "accept")
            for name, each in settings.carriers.items()
        },
        gate=Gate(place.nginx_uid, _edge_key(place.home)),
        identify=verifier.identify,
        declared=Declared({}, is_required=settings.is_production),
        keep=journal.keep,
        refusals=refusals,
        now_us=now_us,
    )
    rules = Rules(store.reader, trust, verifier, is_production=settings.is_production, now_us=now_us)
    await rules.refresh(edge)
    upkeep = Upkeep(
        edge=edge,
        rules=rules,
        refusals=refusals,
        write=store.write,
        file_token=_file_token(place),
        directory=place.store,
        now_us=now_us,
    )
    return edge, upkeep


def _file_token(place: Place) -> FileToken:
    path = place.settings.ops_token_file
    token = FileToken(path and place.home.root / path)
    token.reload()
    return token


def _edge_key(home: Home) -> bytes:
    try:
        key = home.edge_key.read_bytes().strip()
    except OSError as exc:
        raise SettingsError(f"{home.edge_key}: cannot be read: {exc.strerror}; receiver init makes it") from None
    if not key:
        raise SettingsError(f"{home.edge_key}: is empty; remove it and run receiver init")
    return key


def now_us() -> int:
    """The clock's time in Unix microseconds."""
    return time.time_ns() // 1000
