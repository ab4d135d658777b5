"""The tables of the journal's file: the journal itself, and the state that is never rebuilt. One script per version."""

from collections.abc import Sequence
from typing import Final

_VERSION_1: Final = """
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

MIGRATIONS: Final[Sequence[str]] = (_VERSION_1,)
"""From each version to the next; what stands here never changes, a new version is a new script."""
