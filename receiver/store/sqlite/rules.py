"""Declared applications, pins and blocks: whom the receiver listens to. Knows columns, no certificate and no key."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from receiver.errors import UsageError
from receiver.store.interface import AppRow, BlockRow, PinRow
from receiver.store.sqlite.connection import Tables

APPS: Final = """
select app.carrier, app.name, app.callers, app_key.hash
from app left join app_key on app_key.carrier = app.carrier and app_key.name = app.name
order by app.carrier, app.name, app_key.id
"""
PINS: Final = "select id, carrier, kind, issuer, subject, san, sha256, until, reason, created_at from pin order by id"
BLOCKS: Final = "select id, carrier, kind, issuer, serial, sha256, reason, created_at from block order by id"
_ADD_APP: Final = """
insert into app (carrier, name, callers, created_at) values (?, ?, ?, ?) on conflict do nothing
"""
_SET_CALLERS: Final = "update app set callers = ? where carrier = ? and name = ?"
_ADD_KEY: Final = "insert into app_key (carrier, name, hash, created_at) values (?, ?, ?, ?)"
# During a rotation the old key and the new one are valid, and no third.
_DROP_OLD_KEYS: Final = """
delete from app_key
where carrier = ?1 and name = ?2
  and id not in (select id from app_key where carrier = ?1 and name = ?2 order by id desc limit 2)
"""
_DROP_APP: Final = "delete from app where carrier = ? and name = ?"
_KEYS: Final = """
select count(app_key.id) from app left join app_key on app_key.carrier = app.carrier and app_key.name = app.name
where app.carrier = ? and app.name = ? group by app.name
"""
_DROP_OLD_KEY: Final = """
delete from app_key
where carrier = ?1 and name = ?2 and id <> (select max(id) from app_key where carrier = ?1 and name = ?2)
"""
_ADD_PIN: Final = """
insert into pin (carrier, kind, issuer, subject, san, sha256, until, reason, created_at)
values (:carrier, :kind, :issuer, :subject, :san, :sha256, :until, :reason, :created_at)
"""
_DROP_PIN: Final = "delete from pin where id = ?"
_ADD_BLOCK: Final = """
insert into block (carrier, kind, issuer, serial, sha256, reason, created_at)
values (:carrier, :kind, :issuer, :serial, :sha256, :reason, :created_at)
"""
_DROP_BLOCK: Final = "delete from block where id = ?"

_PIN_COLUMNS: Final = ("kind", "issuer", "subject", "san", "sha256", "until")
_BLOCK_COLUMNS: Final = ("kind", "issuer", "serial", "sha256")


def app_rows(rows: Iterable[tuple[Any, ...]]) -> list[AppRow]:
    """Rows of `APPS` as values."""
    keys: dict[tuple[str, str], list[str]] = {}
    callers: dict[tuple[str, str], tuple[str, ...]] = {}
    for carrier, name, numbers, key_hash in rows:
        callers[carrier, name] = tuple(orjson.loads(numbers))
        keys.setdefault((carrier, name), []).extend([key_hash] if key_hash else [])
    return [
        AppRow(carrier=carrier, name=name, key_hashes=tuple(hashes), callers=callers[carrier, name])
        for (carrier, name), hashes in keys.items()
    ]


def pin_row(row: tuple[Any, ...]) -> PinRow:
    """A row of `PINS` as a value."""
    row_id, carrier, *columns, reason, created_at = row
    return PinRow(
        id=row_id, carrier=carrier, columns=_given(_PIN_COLUMNS, columns), reason=reason, created_at=created_at
    )


def block_row(row: tuple[Any, ...]) -> BlockRow:
    """A row of `BLOCKS` as a value."""
    row_id, carrier, *columns, reason, created_at = row
    return BlockRow(
        id=row_id, carrier=carrier, columns=_given(_BLOCK_COLUMNS, columns), reason=reason, created_at=created_at
    )


def _given(names: Iterable[str], values: Iterable[Any]) -> dict[str, str | int | None]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


class Apps(Tables):
    """The applications whose callbacks are accepted."""

    def app_add(
        self, *, carrier: str, name: str, key_hash: str, created_at: int, callers: Iterable[str] | None = None
    ) -> None:
        """Declare an application, or give a declared one another key: its newest two are valid.

        `callers` are the numbers it calls from; None leaves them as they are.
        """
        self._connection.execute(_ADD_APP, (carrier, name, "[]", created_at))
        if callers is not None:
            self._connection.execute(_SET_CALLERS, (orjson.dumps(sorted(callers)).decode(), carrier, name))
        self._connection.execute(_ADD_KEY, (carrier, name, key_hash, created_at))
        self._connection.execute(_DROP_OLD_KEYS, (carrier, name))

    def app_declare(
        self, *, carrier: str, name: str, key_hash: str, created_at: int, callers: Iterable[str] = ()
    ) -> None:
        """Declare an application with its first key.

        Raises:
            UsageError: it is declared already.
        """
        if self._key_count(carrier, name) is not None:
            raise UsageError(f"carrier {carrier} has an application {name} already")
        self.app_add(carrier=carrier, name=name, key_hash=key_hash, created_at=created_at, callers=callers)

    def app_rotate(self, *, carrier: str, name: str, key_hash: str, created_at: int) -> None:
        """Give a declared application another key; the one it has stays valid.

        Raises:
            UsageError: it is not declared, or has two keys already, one of which somebody may be using.
        """
        if self._declared_keys(carrier, name) > 1:
            raise UsageError(f"application {name} of {carrier} has two valid keys already; drop the old one first")
        self.app_add(carrier=carrier, name=name, key_hash=key_hash, created_at=created_at)

    def app_drop_old_key(self, *, carrier: str, name: str) -> None:
        """End a rotation: only the newest key stays valid.

        Raises:
            UsageError: the application is not declared, or has one key only.
        """
        if self._declared_keys(carrier, name) < 2:  # noqa: PLR2004 -- the old one and the new one
            raise UsageError(f"application {name} of {carrier} has one key only, so there is no old one")
        self._connection.execute(_DROP_OLD_KEY, (carrier, name))

    def app_callers(self, *, carrier: str, name: str, callers: Iterable[str]) -> None:
        """Say anew which numbers a declared application calls from.

        Raises:
            UsageError: it is not declared.
        """
        self._declared_keys(carrier, name)
        self._connection.execute(_SET_CALLERS, (orjson.dumps(sorted(callers)).decode(), carrier, name))

    def _declared_keys(self, carrier: str, name: str) -> int:
        count = self._key_count(carrier, name)
        if count is None:
            raise UsageError(f"carrier {carrier} has no application {name}")
        return count

    def _key_count(self, carrier: str, name: str) -> int | None:
        row = self._connection.execute(_KEYS, (carrier, name)).fetchone()
        return int(row[0]) if row else None

    def app_list(self) -> list[AppRow]:
        """The declared applications; keys oldest first."""
        return app_rows(self._connection.execute(APPS))

    def app_remove(self, *, carrier: str, name: str) -> None:
        """Accept an application's callbacks no more.

        Raises:
            UsageError: it is not declared.
        """
        if not self._connection.execute(_DROP_APP, (carrier, name)).rowcount:
            raise UsageError(f"carrier {carrier} has no application {name}")


class TrustRules(Tables):
    """Which chain-valid certificates speak for a carrier, and which never do."""

    def pin_add(self, *, carrier: str, columns: Mapping[str, str | int | None], reason: str, created_at: int) -> int:
        """Pin what the columns (`trust.pin_row`) say; the number of the pin."""
        row = dict.fromkeys(_PIN_COLUMNS) | dict(columns)
        row |= {"carrier": carrier, "reason": reason, "created_at": created_at}
        return int(self._connection.execute(_ADD_PIN, row).lastrowid or 0)

    def pin_list(self) -> list[PinRow]:
        """The pins of all carriers, oldest first."""
        return [pin_row(row) for row in self._connection.execute(PINS)]

    def pin_remove(self, pin_id: int) -> None:
        """Take a pin away.

        Raises:
            UsageError: there is no such pin.
        """
        if not self._connection.execute(_DROP_PIN, (pin_id,)).rowcount:
            raise UsageError(f"there is no pin {pin_id}")

    def block_add(
        self, *, carrier: str | None, columns: Mapping[str, str | int | None], reason: str, created_at: int
    ) -> int:
        """Block what the columns (`trust.block_row`) say; the number of the block."""
        row = dict.fromkeys(_BLOCK_COLUMNS) | dict(columns)
        row |= {"carrier": carrier, "reason": reason, "created_at": created_at}
        return int(self._connection.execute(_ADD_BLOCK, row).lastrowid or 0)

    def block_list(self) -> list[BlockRow]:
        """The blocked certificates, oldest first."""
        return [block_row(row) for row in self._connection.execute(BLOCKS)]

    def block_remove(self, block_id: int) -> None:
        """Take a block away.

        Raises:
            UsageError: there is no such block.
        """
        if not self._connection.execute(_DROP_BLOCK, (block_id,)).rowcount:
            raise UsageError(f"there is no block {block_id}")
