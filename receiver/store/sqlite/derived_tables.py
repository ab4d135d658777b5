"""The derived tables. They are never migrated, but computed anew from the journal."""

from typing import Final

VERSION: Final = 1
"""To be raised when the tables change, and whenever the same journal gives other ones: by a decoder, the fold or a
contribution. Tables of another version are thrown away and computed anew.
"""

TABLES: Final = """
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
