-- Record batches in eight segments, used in turn: the log grows in one, and the oldest is
-- emptied whole when retention says so. A TRUNCATE gives the disk back at once and leaves
-- nothing for vacuum; no table is made or dropped while the log runs, which would wait for
-- every open transaction and have all publishers wait behind it.
--
-- An id says where its batch is: segment `id >> 40`, in table `(id >> 40) % 8`. The next
-- segment begins by moving the sequence ahead.

drop view log.record;
revoke insert (topic, partition, lens, body) on log.record_batch from public;
drop policy publish on log.record_batch;
alter table log.record_batch disable row level security;
alter table log.record_batch alter column id drop identity;
alter table log.record_batch rename to record_batch_0;
alter index log.record_batch_pkey rename to record_batch_0_pkey;
alter index log.record_batch_xid rename to record_batch_0_xid;

create table log.record_batch (
    -- cache 1: within one tick, offsets follow this id.
    id bigint generated always as identity (sequence name log.record_batch_id cache 1),
    topic int not null,
    partition int not null constraint record_batch_partition_range check (partition between 0 and 1023),
    n int not null generated always as (octet_length(lens) / 4) stored,
    size int not null generated always as (octet_length(body)) stored,
    xid xid8 not null default pg_current_xact_id(),
    at timestamptz not null default clock_timestamp(),
    lens bytea not null
        constraint record_batch_count_range check (octet_length(lens) between 4 and 40000 and octet_length(lens) % 4 = 0),
    body bytea not null
        constraint record_batch_size_range check (octet_length(body) <= 4194304)
) partition by list (((id >> 40) % 8));

alter table log.record_batch attach partition log.record_batch_0 for values in (0);
do $$
begin
    for slot in 1 .. 7 loop
        execute format('create table log.record_batch_%s partition of log.record_batch for values in (%s)', slot, slot);
        execute format('alter table log.record_batch_%s add primary key (id)', slot);
    end loop;
    perform setval('log.record_batch_id', greatest((select max(id) from log.record_batch_0), 1));
end $$;
create index record_batch_xid on log.record_batch (xid);

-- Half the cost of the default where the server was built with it.
do $$
begin
    for slot in 0 .. 7 loop
        execute format('alter table log.record_batch_%s alter column body set compression lz4', slot);
    end loop;
    alter table log.record_batch alter column body set compression lz4;
exception when feature_not_supported then
    null;
end $$;

alter table log.record_batch enable row level security;
create policy publish on log.record_batch for insert to public
    with check (exists (
        select from log.topic_grant g
         where g.topic = record_batch.topic and g.privilege = 'publish' and log.acts_as(g.grantee)));
grant insert (topic, partition, lens, body) on log.record_batch to public;

-- The lowest and the highest of a block's ids: which segments it refers to.
alter table log.block add first_id bigint, add last_id bigint;
update log.block set first_id = ids[1], last_id = ids[cardinality(ids)];
alter table log.block alter first_id set not null, alter last_id set not null;
-- From here on `last_at` is the newest `at` of the partition up to this block, so that it never
-- goes back and a time can be searched for.
update log.block b set last_at = m.last_at
  from (select topic, partition, base, max(last_at) over (partition by topic, partition order by base) as last_at
          from log.block) m
 where (m.topic, m.partition, m.base) = (b.topic, b.partition, b.base) and m.last_at <> b.last_at;

-- The first offset that is kept, of partitions where that is not 0.
create table log.log_start (
    topic int not null,
    partition int not null,
    start bigint not null,
    primary key (topic, partition)
);

create function log.partition_start(topic int, partition int) returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce((select s.start from log.log_start s where s.topic = $1 and s.partition = $2), 0)
$$;

-- Segments that are or were in use.
create table log.segment (
    number bigint primary key,
    opened_at timestamptz not null default clock_timestamp(),
    -- When the log went on to the next.
    closed_at timestamptz
);
insert into log.segment (number) values (0);

-- What is kept. Null is no limit; without any, nothing is ever deleted.
create table log.retention (
    only_row boolean primary key default true check (only_row),
    -- Segments whose newest record is older are emptied once every group has read them.
    keep_for interval check (keep_for >= interval '1 second'),
    -- So are the oldest, while all take more bytes.
    keep_bytes bigint check (keep_bytes > 0),
    -- Beyond these, segments are emptied whoever has not read them: a group that died must
    -- not fill the disk.
    force_after interval check (force_after >= keep_for),
    force_bytes bigint check (force_bytes >= keep_bytes)
);
insert into log.retention default values;
grant select on log.retention to public;

create function log.set_retention(keep_for interval, keep_bytes bigint, force_after interval, force_bytes bigint)
returns void
language sql set search_path = pg_catalog, pg_temp as $$
    update log.retention set keep_for = $1, keep_bytes = $2, force_after = $3, force_bytes = $4
$$;
revoke execute on function log.set_retention from public;

-- As in 0003, with the columns above.
create or replace function log.tick(forced boolean, out ticked bigint, out ends text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    if pg_current_xact_id_if_assigned() is not null
       or current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'log.tick must be alone in a read committed transaction' using errcode = 'LG409';
    end if;

    with prev as materialized (
        select t.n, t.snapshot from log.tick t order by t.n desc limit 1
    ), cur as materialized (
        select pg_current_snapshot() as snapshot
    ), fresh as materialized (
        -- All segments, whichever are in use: the snapshot decides what is fresh, and a
        -- segment that began a moment ago must not be missed.
        select b.id, b.topic, b.partition, b.n, b.size, b.at from log.record_batch b
         where b.xid = any (array(select pg_snapshot_xip(snapshot) from prev
                                  except select pg_snapshot_xip(snapshot) from cur))
        union all
        select b.id, b.topic, b.partition, b.n, b.size, b.at from log.record_batch b
         where b.xid >= (select pg_snapshot_xmax(snapshot) from prev)
           and b.xid < (select pg_snapshot_xmax(snapshot) from cur)
    ), numbered as (
        -- Long blocks are split: a fetch reads a block's arrays whole.
        select f.*, (row_number() over (partition by f.topic, f.partition order by f.id) - 1) / 1000 as part
          from fresh f
    ), grouped as (
        select f.topic, f.partition, f.part, sum(f.n) as n, min(f.at) as first_at, max(f.at) as last_at,
               min(f.id) as first_id, max(f.id) as last_id,
               array_agg(f.id order by f.id) as ids, array_agg(f.n order by f.id) as counts,
               array_agg(f.size order by f.id) as sizes
          from numbered f group by f.topic, f.partition, f.part
    ), appended as (
        insert into log.tick as t (n, snapshot)
        select prev.n + 1, cur.snapshot from prev, cur
         where exists (select from fresh)
            or forced and (
                exists (select from pg_snapshot_xip(cur.snapshot) open(xid)
                         where open.xid >= pg_snapshot_xmax(prev.snapshot))
                or pg_snapshot_xmax(cur.snapshot)::text::numeric
                    - pg_snapshot_xmax(prev.snapshot)::text::numeric > 1000)
        returning t.n
    ), blocked as (
        insert into log.block (topic, partition, base, n, tick, first_at, last_at, first_id, last_id, ids, counts, sizes)
        select g.topic, g.partition,
               coalesce(e.upto, 0)
                 + coalesce(sum(g.n) over (partition by g.topic, g.partition order by g.part
                                           rows between unbounded preceding and 1 preceding), 0),
               g.n, appended.n, g.first_at,
               greatest(e.last_at, max(g.last_at) over (partition by g.topic, g.partition order by g.part)),
               g.first_id, g.last_id, g.ids, g.counts, g.sizes
          from grouped g
         cross join appended
          left join lateral (
            select b.base + b.n as upto, b.last_at from log.block b
             where b.topic = g.topic and b.partition = g.partition
             order by b.base desc limit 1) e on true
        returning block.topic, block.partition, block.base + block.n as upto
    )
    select (select appended.n from appended),
           (select string_agg(concat(e.topic, ':', e.partition, ':', e.upto), ',')
              from (select b.topic, b.partition, max(b.upto) as upto from blocked b group by 1, 2) e)
      into tick.ticked, tick.ends;

    if tick.ends is not null then
        perform pg_notify('log_tick', case when octet_length(tick.ends) < 7900 then tick.ends else '' end);
    end if;
end $$;

-- As in 0005; a batch's segment follows from its id. A partition's records come without a gap
-- or not at all: below its log start there is nothing.
create or replace function log.fetch(topics int[], parts int[], froms bigint[], max_records int, max_bytes bigint)
returns table (topic int, partition int, base bigint, at timestamptz, lens bytea, body bytea)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
    refused int;
begin
    select w.id into refused from unnest(topics) w(id)
     where not exists (select from log.topic_grant g
                        where g.topic = w.id and g.privilege = 'consume' and log.acts_as(g.grantee))
     limit 1;
    if refused is not null and not log.may(refused, 'consume') then
        raise exception 'role "%" may not consume topic "%"', session_user,
            coalesce((select t.name from log.topic t where t.id = refused), refused::text)
            using errcode = '42501', hint = 'select log.grant_topic(topic, ''consume'', role)';
    end if;

    return query
    select w.topic, w.partition, u.base, r.at, r.lens, r.body
      from unnest(topics, parts, froms) w(topic, partition, start)
     cross join lateral (
        select s.id, s.base, s.n, s.ord,
               sum(s.size) over (order by s.base rows between unbounded preceding and 1 preceding) as before
          from (
            select e.id, e.n, e.size, e.ord,
                   b.base + sum(e.n) over (partition by b.base order by e.ord) - e.n as base
              from log.block b, unnest(b.ids, b.counts, b.sizes) with ordinality e(id, n, size, ord)
             where b.topic = w.topic and b.partition = w.partition
               and b.base >= coalesce((select a.base from log.block a
                                        where a.topic = w.topic and a.partition = w.partition and a.base <= w.start
                                        order by a.base desc limit 1), 0)
               and b.base < w.start + max_records
          ) s
         where s.base + s.n > w.start and s.base < w.start + max_records
     ) u
     cross join lateral (
        select t.at, t.lens, t.body from log.record_batch t
         where t.id = u.id and ((t.id >> 40) % 8) = ((u.id >> 40) % 8) limit 1
     ) r
     where coalesce(u.before, 0) < max_bytes
       and not exists (select from log.log_start l
                        where l.topic = w.topic and l.partition = w.partition and l.start > w.start)
     order by w.topic, w.partition, u.base;
end $$;

-- Plain records, for people and for verification; not for consuming.
create view log.record as
select t.name as topic, b.partition, b.base + e.before + r.i as "offset", rb.at, r.key, r.headers, r.value
  from log.block b
  join log.topic t on t.id = b.topic
 cross join lateral (
    select u.id, u.ord, coalesce(sum(u.n) over (order by u.ord rows between unbounded preceding and 1 preceding), 0) as before
      from unnest(b.ids, b.counts) with ordinality u(id, n, ord)) e
  join log.record_batch rb on rb.id = e.id and ((rb.id >> 40) % 8) = ((e.id >> 40) % 8)
 cross join lateral log.unpack(rb.lens, rb.body) r(i, key, headers, value)
 where b.base + b.n > log.partition_start(b.topic, b.partition);

-- Where each partition would start without a segment: behind the last block that refers to it.
create function log.starts_without(segment bigint) returns table (topic int, partition int, start bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
    select b.topic, b.partition, max(b.base + b.n)
      from log.block b
     where b.first_id >> 40 <= segment
       and case when b.first_id >> 40 = b.last_id >> 40
                then (b.first_id >> 40) % 8 = segment % 8
                else exists (select from unnest(b.ids) u(id)
                              where u.id >> 40 <= segment and (u.id >> 40) % 8 = segment % 8) end
     group by b.topic, b.partition
$$;
revoke execute on function log.starts_without from public;

-- Empties a segment and moves log starts behind it. Fails with 55P03 where a transaction that
-- wrote or reads it is still open, and with LG409 where not all of it has offsets yet.
create function log.empty_segment(segment bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
    unsettled boolean;
begin
    execute format('lock table log.record_batch_%s in access exclusive mode', segment % 8);
    execute format(
        'select exists (select from log.record_batch_%s b, (select snapshot from log.tick order by n desc limit 1) last
                         where b.xid >= pg_snapshot_xmax(last.snapshot))
             or exists (select from log.record_batch_%1$s b
                         where b.xid = any (array(select pg_snapshot_xip(snapshot)
                                                    from (select snapshot from log.tick order by n desc limit 1) last)))',
        segment % 8) into unsettled;
    if unsettled then
        raise exception 'segment % holds records without an offset', segment using errcode = 'LG409';
    end if;

    insert into log.log_start as l (topic, partition, start)
    select w.topic, w.partition, w.start from log.starts_without(segment) w
    on conflict on constraint log_start_pkey do update set start = greatest(l.start, excluded.start);
    execute format('truncate log.record_batch_%s', segment % 8);
    -- Never a partition's last block: bases would start at 0 again.
    delete from log.block b
     using log.log_start l
     where l.topic = b.topic and l.partition = b.partition and b.base + b.n <= l.start
       and b.base < (select max(e.base) from log.block e where e.topic = b.topic and e.partition = b.partition);
    delete from log.segment s where s.number = segment;
end $$;
revoke execute on function log.empty_segment from public;

-- Does what retention asks for: goes on to the next segment when the newest holds its share,
-- and empties the oldest. Waits for nothing: what cannot be done now is said and tried again
-- by the next call. Any process may call it; one at a time does anything.
create function log.keep() returns table (action text, segment bigint, detail text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- Of the eight, one is being filled and one is free to go on with.
    share constant int := 6;
    r log.retention;
    newest log.segment;
    old log.segment;
    all_bytes bigint;
    last_number bigint;
    behind text;
begin
    select * into r from log.retention;
    if r.keep_for is null and r.keep_bytes is null and r.force_after is null and r.force_bytes is null then
        return;
    end if;
    -- 'LOG' in ASCII and a one.
    if not pg_try_advisory_xact_lock(1280263937) then
        return;
    end if;

    select last_value >> 40 into last_number from log.record_batch_id;
    insert into log.segment (number) values (last_number) on conflict do nothing;
    select * into newest from log.segment s where s.number = last_number;
    if (newest.opened_at < clock_timestamp() - coalesce(r.keep_for, r.force_after) / share
        or log.segment_bytes(last_number) > coalesce(r.keep_bytes, r.force_bytes) / share)
       and log.segment_holds_any(last_number) then
        if log.segment_holds_any(last_number + 1) then
            action := 'full'; segment := last_number;
            detail := 'no segment is free, so the newest goes on growing'; return next;
        else
            perform setval('log.record_batch_id', (last_number + 1) << 40, false);
            update log.segment s set closed_at = clock_timestamp() where s.number = last_number;
            insert into log.segment (number) values (last_number + 1);
            action := 'opened'; segment := last_number + 1; detail := null; return next;
        end if;
    end if;

    for old in select * from log.segment s where s.closed_at is not null order by s.number loop
        select sum(log.segment_bytes(s.number)) into all_bytes from log.segment s;
        segment := old.number;
        exit when not coalesce(
            old.closed_at < clock_timestamp() - least(r.keep_for, r.force_after)
            or all_bytes > least(r.keep_bytes, r.force_bytes), false);
        select string_agg(format('%s on %s/%s at %s', g.name, t.name, w.partition, coalesce(p.committed, 0)), ', ')
          into behind
          from log.starts_without(old.number) w
          join log.topic t on t.id = w.topic
          join log.subscription s on s.topic = w.topic
          join log.consumer_group g on g.id = s.consumer_group
          left join lateral (select q.committed from log.progress q
                              where q.subscription = s.id and q.partition = w.partition
                              order by q.seq desc limit 1) p on true
         where coalesce(p.committed, 0) < w.start;
        if behind is not null and not coalesce(
            old.closed_at < clock_timestamp() - r.force_after or all_bytes > r.force_bytes, false) then
            action := 'held'; detail := left('not yet read by ' || behind, 500); return next;
            exit;
        end if;
        begin
            perform log.empty_segment(old.number);
            action := 'emptied'; detail := left('unread by ' || behind, 500); return next;
        exception when lock_not_available or sqlstate 'LG409' then
            action := 'busy'; detail := sqlerrm; return next;
            exit;
        end;
    end loop;
end $$;

create function log.segment_bytes(segment bigint) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
    select pg_total_relation_size(format('log.record_batch_%s', segment % 8)::regclass)
$$;
revoke execute on function log.segment_bytes from public;

create function log.segment_holds_any(segment bigint) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    any_row boolean;
begin
    execute format('select exists (select from log.record_batch_%s)', segment % 8) into any_row;
    return any_row;
end $$;
revoke execute on function log.segment_holds_any from public;
