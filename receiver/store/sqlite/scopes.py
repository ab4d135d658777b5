"""What calls are summed over, by small numbers: a carrier as a whole, and each application, kind and caller of it."""

import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

_ALL: Final = "select id, carrier, app, kind, caller from scope"
_ADD: Final = "insert into scope (id, carrier, app, kind, caller) values (?, ?, ?, ?, ?)"


class Scope(NamedTuple):
    """None stands for everything; a caller of "" for calls whose caller is unknown."""

    carrier: str
    app: str | None = None
    kind: str | None = None
    caller: str | None = None


class Scopes:
    """The numbers of the scopes of one file; only its writer adds some. Kept in step with a transaction by `forget`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._id_of: dict[Scope, int] = {}
        self._by_id: dict[int, Scope] = {}
        self._families: dict[int, tuple[int, ...]] = {}
        self.forget()

    def forget(self) -> None:
        """Take the numbers from the file again: a rolled-back transaction's are void."""
        self._by_id = {row[0]: Scope(*row[1:]) for row in self._connection.execute(_ALL)}
        self._id_of = {scope: scope_id for scope_id, scope in self._by_id.items()}
        self._families.clear()

    def __getitem__(self, scope_id: int) -> Scope:
        """The scope of a number."""
        return self._by_id[scope_id]

    def id_of(self, scope: Scope) -> int:
        """The number of a scope, a new one if need be."""
        scope_id = self._id_of.get(scope)
        if scope_id is None:
            scope_id = len(self._by_id) + 1
            self._connection.execute(_ADD, (scope_id, *scope))
            self._id_of[scope] = scope_id
            self._by_id[scope_id] = scope
        return scope_id

    def family(self, scope_id: int) -> tuple[int, ...]:
        """The numbers of all scopes to which calls, or arrivals, of a scope belong, itself included."""
        family = self._families.get(scope_id)
        if family is None:
            family = self._families[scope_id] = tuple([self.id_of(each) for each in _family(self._by_id[scope_id])])
        return family


def _family(scope: Scope) -> Iterator[Scope]:
    carrier, app, kind, caller = scope
    yield Scope(carrier)
    yield Scope(carrier, app=app)
    if kind is not None:
        yield Scope(carrier, kind=kind)
        yield Scope(carrier, caller=caller)
        yield scope
