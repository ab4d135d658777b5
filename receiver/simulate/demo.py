"""A simulated past, written into a store that has none, so that the page has something to show. Sends nothing."""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypedDict

from receiver import config
from receiver.carriers import PROFILES
from receiver.errors import UndecodableError, UsageError
from receiver.home import Home
from receiver.model import MICROSECONDS, Delivery, Entry, Peer, Undecodable
from receiver.simulate.history import History, episodes
from receiver.simulate.plan import DAY_SECONDS, Post, schedule
from receiver.store.interface import Quotas
from receiver.store.sqlite import open_store

STAMP: Final = "simulated"
"""The store's own note that its figures are made up; every answer then says so."""
_CARRIER: Final = "tencent"
_TLS_PROTOCOL: Final = "TLSv1.3"
_TLS_CIPHER: Final = "TLS_AES_256_GCM_SHA384"


class _Common(TypedDict):
    received_us: int
    carrier: str
    app: str
    body: bytes
    sha256: bytes
    peer: Peer


def fill(home: Home, *, now: int, days: int = 7, seed: int = 1) -> int:
    """Give a home a past of some days that ends at `now` (Unix seconds), and stamp its store; not in an event loop.

    A home filled before gets what happened since. Each time is one transaction; the same `now` and seed in a fresh home
    give the same bytes.

    Returns:
        How many deliveries and undecodable bodies were written.

    Raises:
        UsageError: a production home, or one with callbacks that nobody simulated.
        StoreError: the store is served, or cannot be written.
    """
    settings = config.load(home.root)
    if settings.is_production:
        raise UsageError(f"{home.root} is a production home; a demonstration wants a development home of its own")
    limits = settings.limits
    quotas = Quotas(
        unknown_kind=limits.unknown_kind_per_day, quarantine=limits.quarantine_per_day, held=limits.held_per_day
    )
    history = History(now=now, days=days, seed=seed)
    return asyncio.run(_fill(config.store_directory(settings, home.root), quotas, history))


async def _fill(directory: Path, quotas: Quotas, history: History) -> int:
    async with open_store(directory, quotas=quotas) as store:
        stamp = await store.reader.meta(STAMP)
        is_empty = not (await store.reader.progress()).last_seq
        if stamp is None and not is_empty:
            raise UsageError(f"{directory} holds callbacks that are not simulated; a demonstration wants its own home")
        # First the stamp: simulated figures without it would pass for real ones.
        await store.write(lambda state: state.meta_set(STAMP, str(history.now)))
        results = await store.commit(list(entries(history, since=0 if is_empty else int(stamp or 0))))
    for result in results:
        if isinstance(result, Exception):
            raise result
    return len(results)


def entries(history: History, *, since: int = 0) -> Iterator[Entry]:
    """What the journal would hold from an instant on, had the history been posted as it happened."""
    posts = schedule(episodes(history))
    return _entries((post for post in posts if since <= post.due < history.now), _peer(history))


def _entries(posts: Iterable[Post], peer: Peer) -> Iterator[Entry]:
    decode = PROFILES[_CARRIER].decode
    for post in posts:
        common = _Common(
            received_us=int(post.due * MICROSECONDS),
            carrier=_CARRIER,
            app=post.app,
            body=post.body,
            sha256=hashlib.sha256(post.body).digest(),
            peer=peer,
        )
        try:
            kind = decode(post.body).kind
        except UndecodableError as exc:
            yield Undecodable(**common, headers={}, reason=str(exc), offset=exc.offset, answered_status=400)
        else:
            yield Delivery(**common, kind=kind, tls_protocol=_TLS_PROTOCOL, tls_cipher=_TLS_CIPHER)


def _peer(history: History) -> Peer:
    return Peer(
        carrier=_CARRIER,
        subject="CN=simulated carrier",
        issuer="CN=simulated authority",
        serial="01",
        sha256="0" * 64,
        not_after=history.now + 365 * DAY_SECONDS,
        is_pinned=True,
    )
