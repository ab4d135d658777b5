"""Tokens, sign-in codes and browser sessions. Knows hashes of secrets only: each is random, so no salt."""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from receiver.errors import UsageError
from receiver.model import Role
from receiver.store.interface import SessionRow, TokenRow
from receiver.store.sqlite.connection import Tables

TOKEN_BY_HASH: Final = "select name, roles, apps, created_at, expires_at from token where hash = ?"  # noqa: S105 -- a statement
SESSION_BY_HASH: Final = "select name, roles, apps, last_seen_at from session where hash = ? and last_seen_at >= ?"
_ADD_TOKEN: Final = "insert into token (name, hash, roles, apps, created_at, expires_at) values (?, ?, ?, ?, ?, ?)"  # noqa: S105 -- a statement
_TOKEN_NAME: Final = "select 1 from token where name = ?"  # noqa: S105 -- a statement
_TOKENS: Final = "select name, roles, apps, created_at, expires_at from token order by name"
_DROP_TOKEN: Final = "delete from token where name = ?"  # noqa: S105 -- a statement
_ADD_CODE: Final = "insert into signin_code (hash, name, roles, apps, expires_at) values (?, ?, ?, ?, ?)"
_DROP_EXPIRED_CODES: Final = "delete from signin_code where expires_at <= ?"
_CODE: Final = "select name, roles, apps, expires_at from signin_code where hash = ?"
_DROP_CODE: Final = "delete from signin_code where hash = ?"
_DROP_CODES_OF: Final = "delete from signin_code where name = ?"
_ADD_SESSION: Final = (
    "insert into session (hash, name, roles, apps, created_at, last_seen_at) values (?, ?, ?, ?, ?, ?)"
)
_DROP_UNSEEN_SESSIONS: Final = "delete from session where last_seen_at < ?"
_SEE_SESSION: Final = "update session set last_seen_at = max(last_seen_at, ?) where hash = ?"
_DROP_SESSION: Final = "delete from session where hash = ?"
_DROP_SESSIONS_OF: Final = "delete from session where name = ?"

_FORGET_SESSIONS_SECONDS: Final = 7 * 24 * 60 * 60


def token_row(row: tuple[Any, ...]) -> TokenRow:
    """A row of `TOKEN_BY_HASH` as a value."""
    name, roles, apps, created_at, expires_at = row
    return TokenRow(name=name, roles=_roles(roles), apps=_apps(apps), created_at=created_at, expires_at=expires_at)


def session_row(row: tuple[Any, ...]) -> SessionRow:
    """A row of `SESSION_BY_HASH` as a value."""
    name, roles, apps, last_seen_at = row
    return SessionRow(name=name, roles=_roles(roles), apps=_apps(apps), last_seen_at=last_seen_at)


class Tokens(Tables):
    """Who may use the operations side."""

    def token_create(  # noqa: PLR0913 -- the columns of a token
        self,
        *,
        name: str,
        token_hash: str,
        roles: Iterable[Role],
        apps: Iterable[str],
        created_at: int,
        expires_at: int | None,
    ) -> None:
        """Let whoever knows the token in.

        Raises:
            UsageError: the name is taken.
        """
        if self._connection.execute(_TOKEN_NAME, (name,)).fetchone():
            raise UsageError(f"there is a token of the name {name} already; revoke it first, or choose another name")
        row = (name, token_hash, _names(roles), _names(apps), created_at, expires_at)
        self._connection.execute(_ADD_TOKEN, row)

    def token_list(self) -> list[TokenRow]:
        """All tokens, expired ones too, by name."""
        return [token_row(row) for row in self._connection.execute(_TOKENS)]

    def token_revoke(self, name: str) -> None:
        """Let the token's owner in no more, and end the sessions and sign-in codes of that name.

        Raises:
            UsageError: there is no such token.
        """
        if not self._connection.execute(_DROP_TOKEN, (name,)).rowcount:
            raise UsageError(f"there is no token of the name {name}")
        self._connection.execute(_DROP_SESSIONS_OF, (name,))
        self._connection.execute(_DROP_CODES_OF, (name,))

    def signin_code_create(  # noqa: PLR0913 -- the columns of a code
        self, *, code_hash: str, name: str, roles: Iterable[Role], apps: Iterable[str], now: int, expires_at: int
    ) -> None:
        """Let whoever knows the code open one session, once."""
        self._connection.execute(_DROP_EXPIRED_CODES, (now,))
        self._connection.execute(_ADD_CODE, (code_hash, name, _names(roles), _names(apps), expires_at))

    def signin_code_take(self, code_hash: str, *, now: int) -> SessionRow | None:
        """Use a code up: what a session opened with it may do, or None when there is no such code in time."""
        row = self._connection.execute(_CODE, (code_hash,)).fetchone()
        self._connection.execute(_DROP_CODE, (code_hash,))
        if row is None or row[3] <= now:
            return None
        return session_row((*row[:3], now))


class Sessions(Tables):
    """Browser sessions; what they may do is written into them when they open."""

    def session_create(
        self, *, session_hash: str, name: str, roles: Iterable[Role], apps: Iterable[str], now: int
    ) -> None:
        """Open a session, and forget those nobody has used for a week."""
        self._connection.execute(_DROP_UNSEEN_SESSIONS, (now - _FORGET_SESSIONS_SECONDS,))
        self._connection.execute(_ADD_SESSION, (session_hash, name, _names(roles), _names(apps), now, now))

    def session_seen(self, session_hash: str, *, now: int) -> None:
        """Note that a session was used."""
        self._connection.execute(_SEE_SESSION, (now, session_hash))

    def session_end(self, session_hash: str) -> None:
        """Close a session; one that is closed already stays so."""
        self._connection.execute(_DROP_SESSION, (session_hash,))


def _names(names: Iterable[str]) -> str:
    return orjson.dumps(sorted(names)).decode()


def _roles(text: str) -> frozenset[Role]:
    return frozenset(Role(name) for name in orjson.loads(text))


def _apps(text: str) -> frozenset[str]:
    return frozenset(orjson.loads(text))
