-- What producers insert: a batch of records for one partition. Nothing is locked, counted
-- or notified here; offsets are given after commit, by the sequencer.
create table log.record_batch (
    -- cache 1: within one tick, offsets follow this id.
    id bigint generated always as identity (cache 1) primary key,
    topic int not null,
    partition int not null constraint record_batch_partition_range check (partition between 0 and 1023),
    -- A batch's count and size are not the producer's to say, or offsets would corrupt.
    n int not null generated always as (octet_length(lens) / 4) stored,
    size int not null generated always as (octet_length(body)) stored,
    xid xid8 not null default pg_current_xact_id(),
    at timestamptz not null default clock_timestamp(),
    -- The length of each record in `body`, four bytes big-endian each.
    lens bytea not null
        constraint record_batch_count_range check (octet_length(lens) between 4 and 40000 and octet_length(lens) % 4 = 0),
    -- The records one after the other. A record is: key length + 1 (0: no key) and headers
    -- length, two bytes big-endian each; key; headers; value. A header is: name length, one
    -- byte; name; value length, two bytes; value.
    body bytea not null
        constraint record_batch_size_range check (octet_length(body) <= 4194304)
);
create index record_batch_xid on log.record_batch (xid);

alter table log.record_batch enable row level security;
-- Written out instead of calling log.may: it is evaluated for every batch, and a function
-- with a sub-select is not inlined.
create policy publish on log.record_batch for insert to public
    with check (exists (
        select from log.topic_grant g
         where g.topic = record_batch.topic and g.privilege = 'publish'
           and pg_has_role(session_user, g.grantee, 'usage')));
grant insert (topic, partition, lens, body) on log.record_batch to public;
