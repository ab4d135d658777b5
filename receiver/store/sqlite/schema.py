"""The tables of both files, and how a file of an older version gets them. Knows no row."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from receiver.errors import StoreError

_JOURNAL_1: Final = """
-- Who posted, and over what. Deliveries name them by number: the texts are long and few.
create table peer (
  id            integer primary key,
  carrier       text    not null,
  subject       text    not null,
  issuer        text    not null,
  serial        text    not null,
  sha256        text    not null,
  not_after     integer not null,
  first_seen_at integer not null,
  last_seen_at  integer not null,
  unique (carrier, sha256)
) strict;

create table tls (
  id       integer primary key,
  protocol text not null,
  cipher   text not null,
  unique (protocol, cipher)
) strict;

-- Append-only, the truth. A row is a delivery or a decision. Autoincrement: without it the numbers would start again
-- once retention has emptied the table, and every cursor would pass over the new rows.
create table journal (
  seq         integer primary key autoincrement,
  received_us integer not null,
  carrier     text,
  app         text,
  kind        text,
  is_held     integer,
  peer_id     integer references peer,
  tls_id      integer references tls,
  sha256      blob,
  size        integer,
  body        blob,
  facts       blob,
  decision    text,
  check ((decision is null) = (sha256 is not null))
) strict;

create index journal_received on journal (received_us);
create index journal_held     on journal (seq) where is_held = 1;
create index journal_unknown  on journal (seq) where kind = 'unknown';
create index journal_decision on journal (seq) where decision is not null;

create table quarantine (
  id               integer primary key autoincrement,
  received_us      integer not null,
  last_received_us integer not null,
  hits             integer not null,
  carrier          text    not null,
  app              text    not null,
  peer_id          integer not null references peer,
  headers          text    not null,
  sha256           blob    not null,
  size             integer not null,
  body             blob    not null,
  reason           text    not null,
  offset           integer,
  answered_status  integer not null,
  state            text    not null default 'new' check (state in ('new', 'redecoded', 'dismissed')),
  unique (carrier, app, sha256)
) strict;

-- Every arrival of an undecodable body, repeats included, by second.
create table quarantine_arrival (
  carrier     text    not null,
  app         text    not null,
  received_at integer not null,
  n           integer not null,
  primary key (carrier, app, received_at)
) strict, without rowid;

create table quota_day (
  day     integer not null,
  carrier text    not null,
  app     text    not null,
  what    text    not null,
  n       integer not null,
  primary key (day, carrier, app, what)
) strict, without rowid;

create table meta (
  name  text primary key,
  value text not null
) strict, without rowid;

create table token (
  name       text    primary key,
  hash       text    not null unique,
  roles      text    not null,
  apps       text    not null,
  created_at integer not null,
  expires_at integer
) strict, without rowid;

create table signin_code (
  hash       text    primary key,
  name       text    not null,
  roles      text    not null,
  apps       text    not null,
  expires_at integer not null
) strict, without rowid;

create table session (
  hash         text    primary key,
  name         text    not null,
  roles        text    not null,
  apps         text    not null,
  created_at   integer not null,
  last_seen_at integer not null
) strict, without rowid;

create table app (
  carrier    text    not null,
  name       text    not null,
  callers    text    not null,
  created_at integer not null,
  primary key (carrier, name)
) strict, without rowid;

create table app_key (
  id         integer primary key autoincrement,
  carrier    text    not null,
  name       text    not null,
  hash       text    not null,
  created_at integer not null,
  foreign key (carrier, name) references app on delete cascade
) strict;

create table pin (
  id         integer primary key autoincrement,
  carrier    text    not null,
  kind       text    not null,
  issuer     text,
  subject    text,
  san        text,
  sha256     text,
  until      integer,
  reason     text    not null,
  created_at integer not null
) strict;

create table block (
  id         integer primary key autoincrement,
  carrier    text,
  kind       text    not null,
  issuer     text,
  serial     text,
  sha256     text,
  reason     text    not null,
  created_at integer not null
) strict;

create table refusal (
  day     integer not null,
  carrier text    not null,
  reason  text    not null,
  n       integer not null,
  last_at integer not null,
  primary key (day, carrier, reason)
) strict, without rowid;

create table audit (
  id     integer primary key autoincrement,
  at_us  integer not null,
  actor  text    not null,
  action text    not null,
  detail text    not null
) strict;
"""

_DERIVED_1: Final = """
create table progress (
  id               integer primary key check (id = 1),
  cursor           integer not null,
  version          integer not null,
  last_received_us integer,
  floor            integer not null,
  rules            text    not null
) strict;
insert into progress values (1, 0, 0, null, 0, '');

-- What calls are summed over. Null stands for everything; a caller of '' for calls whose caller is unknown.
create table scope (
  id      integer primary key,
  carrier text not null,
  app     text,
  kind    text,
  caller  text
) strict;
-- Null is never equal to null in an index; no text of ours is a NUL.
create unique index scope_key on scope (
  carrier, coalesce(app, char(0)), coalesce(kind, char(0)), coalesce(caller, char(0))
);

-- One row per call, in order of first arrival. `key` is a hash of carrier, application and call id; `scope_id` names
-- carrier, application, kind and caller. From `is_keypressed` on: what the call adds to its buckets.
create table call (
  id                integer primary key,
  key               integer not null,
  call_id           text    not null,
  scope_id          integer not null references scope,
  event_at          integer not null,
  outcome           integer not null,
  event_time_source text    not null,
  result            integer,
  failure_code      integer,
  failure_reason    text,
  callee            text,
  callee_hash       blob,
  nationcode        text,
  started_at        integer,
  answered_at       integer,
  ended_at          integer,
  billed_minutes    integer,
  digits            text,
  first_received_us integer not null,
  last_received_us  integer not null,
  conflicts         text,
  anomalies         text,
  deliveries        integer not null,
  duplicates        integer not null,
  is_keypressed     integer not null,
  is_short          integer not null,
  is_conflicting    integer not null,
  is_contradictory  integer not null,
  seconds_to_answer integer,
  talk_seconds      integer
) strict;

create index call_key on call (key);
-- Everything the ragged ends of a span are asked for.
create index call_event on call (
  event_at, scope_id, outcome, billed_minutes, is_keypressed, is_short, is_conflicting, is_contradictory,
  seconds_to_answer, talk_seconds
);

-- 15 is the code of `pending`.
create index call_pending on call (event_at) where outcome = 15;

-- Which deliveries make a call. `is_counted`: this call's row stands for the delivery as a whole, and byte-equal ones
-- beyond the earliest are duplicates.
create table call_delivery (
  call_id     integer not null,
  digest      integer not null,
  received_us integer not null,
  seq         integer not null,
  is_counted  integer not null,
  primary key (call_id, digest, received_us, seq)
) strict, without rowid;

create table fold_error (
  seq    integer primary key,
  reason text not null
) strict;

create table rollup (
  scope_id          integer not null,
  level             integer not null,
  bucket            integer not null,
  outcome           integer not null,
  calls             integer not null check (calls >= 0),
  billed_minutes    integer not null check (billed_minutes >= 0),
  keypressed        integer not null check (keypressed >= 0),
  short             integer not null check (short >= 0),
  conflicts         integer not null check (conflicts >= 0),
  contradictions    integer not null check (contradictions >= 0),
  timed_to_answer   integer not null check (timed_to_answer >= 0),
  seconds_to_answer integer not null check (seconds_to_answer >= 0),
  timed_talk        integer not null check (timed_talk >= 0),
  talk_seconds      integer not null check (talk_seconds >= 0),
  primary key (scope_id, level, bucket, outcome)
) strict, without rowid;

create table histogram (
  scope_id integer not null,
  level    integer not null,
  what     integer not null,
  bucket   integer not null,
  second   integer not null,
  n        integer not null check (n >= 0),
  primary key (scope_id, level, what, bucket, second)
) strict, without rowid;

create table arrival (
  scope_id     integer not null,
  level        integer not null,
  bucket       integer not null,
  deliveries   integer not null check (deliveries >= 0),
  duplicates   integer not null check (duplicates >= 0),
  held         integer not null check (held >= 0),
  unknown_kind integer not null check (unknown_kind >= 0),
  primary key (scope_id, level, bucket)
) strict, without rowid;
"""


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one file: what marks the file as ours, and the scripts that lead from each version to the next."""

    application_id: int
    migrations: Sequence[str]

    @property
    def version(self) -> int:
        """The version that this program reads and writes."""
        return len(self.migrations)


JOURNAL: Final = Schema(0x5643524A, (_JOURNAL_1,))
DERIVED: Final = Schema(0x56435244, (_DERIVED_1,))


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


def migrate(connection: sqlite3.Connection, schema: Schema, *, name: str) -> None:
    """Bring an open file to the present version, in one transaction.

    Raises:
        StoreError: as `version_of`.
    """
    version = version_of(connection, schema, name=name)
    if version == schema.version:
        return
    scripts = "".join(schema.migrations[version:])
    marks = f"pragma application_id = {schema.application_id}; pragma user_version = {schema.version};"
    try:
        connection.executescript(f"begin immediate; {scripts} {marks} commit;")
    except sqlite3.Error:
        connection.rollback()
        raise
