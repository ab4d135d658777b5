"""Whose file is this, of which version, and how it gets the tables of the present one. Knows no row."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from receiver.errors import StoreError
from receiver.store.sqlite import derived_tables, journal_tables


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one file.

    Attributes:
        application_id: marks the file as ours.
        version: what this program reads and writes.
        scripts: what to run, in order, by the version from which on it is needed; 0 is an empty file.
    """

    application_id: int
    version: int
    scripts: Mapping[int, str]


JOURNAL: Final = Schema(0x5643524A, len(journal_tables.MIGRATIONS), dict(enumerate(journal_tables.MIGRATIONS)))
DERIVED: Final = Schema(0x56435244, derived_tables.VERSION, {0: derived_tables.TABLES})


def version_of(connection: sqlite3.Connection, schema: Schema, *, name: str) -> int:
    """The version of an open file, 0 for an empty one.

    Raises:
        StoreError: the file belongs to another program, or to a newer version of this one.
    """
    (application_id,) = connection.execute("pragma application_id").fetchone()
    (version,) = connection.execute("pragma user_version").fetchone()
    (tables,) = connection.execute("select count(*) from sqlite_schema").fetchone()
    if application_id != schema.application_id and (application_id or tables):
        raise StoreError(f"{name}: not a file of this program")
    if version > schema.version:
        raise StoreError(
            f"{name}: written by a newer version of this program (schema {version}, known up to {schema.version})"
        )
    return int(version)


def is_present(connection: sqlite3.Connection, schema: Schema) -> bool:
    """Whether an open file is ours and of the present version."""
    marks = [connection.execute(f"pragma {name}").fetchone()[0] for name in ("application_id", "user_version")]
    return marks == [schema.application_id, schema.version]


def migrate(connection: sqlite3.Connection, schema: Schema, *, name: str) -> None:
    """Bring an open file to the present version, in one transaction.

    Raises:
        StoreError: as `version_of`, or nothing leads from the file's version to the present one.
    """
    version = version_of(connection, schema, name=name)
    if version == schema.version:
        return
    if version not in schema.scripts:
        raise StoreError(f"{name}: written by an older version of this program (schema {version})")
    scripts = "".join([script for start, script in schema.scripts.items() if start >= version])
    marks = f"pragma application_id = {schema.application_id}; pragma user_version = {schema.version};"
    try:
        connection.executescript(f"begin immediate; {scripts} {marks} commit;")
    except sqlite3.Error:
        connection.rollback()
        raise
