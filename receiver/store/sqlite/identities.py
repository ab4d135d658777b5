"""Numbers for what many deliveries share: who posted them, and over what. Knows no delivery."""

import sqlite3
from typing import Final, NamedTuple

from receiver.model import Peer
from receiver.store.sqlite.connection import inserted

_SEEN_EVERY_SECONDS: Final = 60
_REMEMBERED: Final = 1024

_PEER: Final = "select id, last_seen_at from peer where carrier = ? and sha256 = ?"
_ADD_PEER: Final = """
insert into peer (carrier, subject, issuer, serial, sha256, not_after, first_seen_at, last_seen_at)
values (?, ?, ?, ?, ?, ?, ?, ?)
"""
_SEE_PEER: Final = "update peer set last_seen_at = ? where id = ?"
_TLS: Final = "select id from tls where protocol = ? and cipher = ?"
_ADD_TLS: Final = "insert into tls (protocol, cipher) values (?, ?)"


class _Known(NamedTuple):
    """A peer that has a number."""

    id: int
    last_seen_at: int


class Identities:
    """The numbers of one file; only its writer gives new ones. Kept in step with a transaction by `forget`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._peers: dict[tuple[str, str], _Known] = {}
        self._tls: dict[tuple[str, str], int] = {}

    def forget(self) -> None:
        """Ask the file again: what a rolled-back transaction numbered has no number."""
        self._peers.clear()
        self._tls.clear()

    def peer(self, peer: Peer, *, seen_at: int) -> int:
        """The number of a peer; when it was last seen is kept to the minute."""
        key = (peer.carrier, peer.sha256)
        known = self._peers.get(key) or self._find_peer(peer, seen_at)
        if seen_at >= known.last_seen_at + _SEEN_EVERY_SECONDS:
            known = _Known(known.id, seen_at)
            self._connection.execute(_SEE_PEER, (seen_at, known.id))
        if len(self._peers) >= _REMEMBERED:
            self._peers.clear()
        self._peers[key] = known
        return known.id

    def _find_peer(self, peer: Peer, seen_at: int) -> _Known:
        row = self._connection.execute(_PEER, (peer.carrier, peer.sha256)).fetchone()
        if row is not None:
            return _Known(*row)
        names = (peer.carrier, peer.subject, peer.issuer, peer.serial, peer.sha256)
        return _Known(inserted(self._connection, _ADD_PEER, (*names, peer.not_after, seen_at, seen_at)), seen_at)

    def tls(self, protocol: str, cipher: str) -> int:
        """The number of a TLS version and cipher."""
        known = self._tls.get((protocol, cipher))
        if known is None:
            row = self._connection.execute(_TLS, (protocol, cipher)).fetchone()
            known = int(row[0]) if row else inserted(self._connection, _ADD_TLS, (protocol, cipher))
            self._tls[protocol, cipher] = known
        return known
