"""Who asks, and may they: bearer tokens and browser sessions. Knows the hashes of secrets, and keeps no secret."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from receiver.errors import StoreError
from receiver.model import MICROSECONDS, Role
from receiver.store.interface import Reader, TokenRow
from receiver.web.problems import Problem

SESSION_IDLE_SECONDS: Final = 8 * 3600
SESSION_ROLES: Final = frozenset({Role.READ, Role.LOOKUP, Role.REVEAL})
"""What a session may have: the roles that only look."""

_COOKIE: Final = "receiver_session"
# RFC 6265bis: a browser takes a cookie of this prefix only with Secure, Path=/ and no Domain.
_COOKIE_TLS: Final = "__Host-receiver_session"
_BEARER: Final = "bearer "
# Noted no more often than this: every look at a page would be a write.
_SEEN_EVERY_SECONDS: Final = 300
_READING_METHODS: Final = frozenset({"GET", "HEAD"})
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="receiver"'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody authenticated. No `apps` means all applications; `session_hash` is None for a bearer token."""

    name: str
    roles: frozenset[Role]
    apps: frozenset[str] = frozenset()
    session_hash: str | None = None

    def may(self, role: Role) -> bool:
        """Whether the caller has a role."""
        return role in self.roles

    def sees(self, app: str) -> bool:
        """Whether the caller may see an application."""
        return not self.apps or app in self.apps


def hash_of(secret: str) -> str:
    """The SHA-256 (hexadecimal) under which tokens, codes and sessions are kept: they are random, so no salt."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


class FileToken:
    """One more token with the role `read`, in a file that its owner may replace at any time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._hash: str | None = None

    def reload(self) -> None:
        """Read the file again; a missing, unreadable or empty one is no token."""
        self._hash = None
        if self._path is None:
            return
        try:
            token = self._path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return
        self._hash = hash_of(token) if token else None

    def matches(self, token_hash: str) -> bool:
        """Whether this is the file's token."""
        return self._hash is not None and hmac.compare_digest(self._hash, token_hash)


class Doorkeeper:
    """Finds out who asks. Nothing is remembered between two requests, so a revoked token is refused at once."""

    def __init__(
        self,
        reader: Reader,
        *,
        file_token: FileToken,
        note_seen: Callable[[str, int], Awaitable[None]],
        is_behind_tls: bool,
        now_us: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._file_token = file_token
        self._note_seen = note_seen
        self._now_us = now_us
        self.is_behind_tls = is_behind_tls
        self.cookie = _COOKIE_TLS if is_behind_tls else _COOKIE

    async def caller(self, request: web.Request) -> Caller | None:
        """Whoever the bearer token or else the session cookie belongs to; None for nobody."""
        authorization = request.headers.get("Authorization")
        if authorization is not None:
            if authorization[: len(_BEARER)].lower() != _BEARER:
                return None
            return await self.token_owner(authorization[len(_BEARER) :].strip())
        cookie = request.cookies.get(self.cookie)
        return await self._session(cookie) if cookie else None

    async def token_owner(self, token: str) -> Caller | None:
        """Whoever a token belongs to; None when it is unknown, revoked or expired."""
        token_hash = hash_of(token)
        if self._file_token.matches(token_hash):
            return Caller(name="ops_token_file", roles=frozenset({Role.READ}))
        row = await self._reader.token(token_hash)
        if row is None or self._is_expired(row):
            return None
        return Caller(name=row.name, roles=row.roles, apps=row.apps)

    def _is_expired(self, row: TokenRow) -> bool:
        return row.expires_at is not None and row.expires_at <= self._now_us() // MICROSECONDS

    async def _session(self, cookie: str) -> Caller | None:
        session_hash, now = hash_of(cookie), self._now_us() // MICROSECONDS
        row = await self._reader.session(session_hash, seen_since=now - SESSION_IDLE_SECONDS)
        if row is None:
            return None
        if row.last_seen_at < now - _SEEN_EVERY_SECONDS:
            # A full disk stops callbacks; it must not stop people from seeing that.
            with suppress(StoreError):
                await self._note_seen(session_hash, now)
        return Caller(name=row.name, roles=row.roles & SESSION_ROLES, apps=row.apps, session_hash=session_hash)


def require(caller: Caller | None, role: Role, *, method: str) -> Caller:
    """Let a caller with a role pass.

    Raises:
        Problem: 401 for nobody, 403 without the role or for a session that wants to do more than read.
    """
    if caller is None:
        raise Problem(HTTPStatus.UNAUTHORIZED, "a valid token or session is needed", headers=_CHALLENGE)
    if not caller.may(role):
        raise Problem(HTTPStatus.FORBIDDEN, f"the role {role} is needed")
    if caller.session_hash is not None and method not in _READING_METHODS:
        raise Problem(HTTPStatus.FORBIDDEN, "a session may only read; use a bearer token")
    return caller
