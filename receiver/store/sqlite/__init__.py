"""The embedded store on SQLite: two files, one writer each, readers that never block a writer."""

from receiver.store.sqlite.embedded import SqliteStore, offline, open_store
from receiver.store.sqlite.lock import locked
from receiver.store.sqlite.paths import StoreFiles
from receiver.store.sqlite.reader import SqliteReader
from receiver.store.sqlite.reading import Rules, callee_hash
from receiver.store.sqlite.rebuilding import Rebuilt, StoppedError, folding, needs_rebuild, rebuild
from receiver.store.sqlite.state import State

__all__ = [
    "Rebuilt",
    "Rules",
    "SqliteReader",
    "SqliteStore",
    "State",
    "StoppedError",
    "StoreFiles",
    "callee_hash",
    "folding",
    "locked",
    "needs_rebuild",
    "offline",
    "open_store",
    "rebuild",
]
