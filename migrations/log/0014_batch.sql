-- A batch's columns check themselves by their types, and its count and size are taken where they are
-- needed, by the tick. CHECK constraints and generated columns are parsed anew by every INSERT that
-- runs: they were half of its time.

create domain log.partition_number as int;
create domain log.batch_lens as bytea;
create domain log.batch_body as bytea;

drop view log.record;
-- Still without their checks, the types change nothing that is stored: no table is rewritten.
alter table log.record_batch
    drop column n,
    drop column size,
    drop constraint record_batch_partition_range,
    drop constraint record_batch_count_range,
    drop constraint record_batch_size_range,
    alter column partition type log.partition_number,
    alter column lens type log.batch_lens,
    alter column body type log.batch_body;
alter domain log.partition_number
    add constraint record_batch_partition_range check (value between 0 and 1023);
-- Four bytes a record.
alter domain log.batch_lens
    add constraint record_batch_count_range check (octet_length(value) between 4 and 40000 and octet_length(value) % 4 = 0);
alter domain log.batch_body
    add constraint record_batch_size_range check (octet_length(value) <= 4194304);

-- As in 0007.
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

-- As in 0007: the count of a batch follows from its lengths and is not the producer's to say, or
-- offsets would corrupt.
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
        select b.id, b.topic, b.partition, octet_length(b.lens) / 4 as n, octet_length(b.body) as size, b.at
          from log.record_batch b
         where b.xid = any (array(select pg_snapshot_xip(snapshot) from prev
                                  except select pg_snapshot_xip(snapshot) from cur))
        union all
        select b.id, b.topic, b.partition, octet_length(b.lens) / 4 as n, octet_length(b.body) as size, b.at
          from log.record_batch b
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

-- As in 0010.
create or replace function log.adopt() returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    next_tick bigint;
    found_batches bigint;
begin
    if log.is_at_home() then
        return null;
    end if;
    -- No publisher in between.
    lock table log.record_batch in share row exclusive mode;
    if log.is_at_home() then
        return null;
    end if;
    -- 3 is below every transaction id that a cluster gives.
    update log.record_batch set xid = '3' where xid <> '3';
    select max(n) + 1 into next_tick from log.tick;
    insert into log.tick (n, snapshot) values (next_tick, pg_current_snapshot());

    with lost as (
        select b.id, b.topic, b.partition, octet_length(b.lens) / 4 as n, octet_length(b.body) as size, b.at
          from log.record_batch b
         where not exists (select from log.block k, unnest(k.ids) held(id) where held.id = b.id)
           and exists (select from log.topic t where t.id = b.topic)
    ), numbered as (
        select l.*, (row_number() over (partition by l.topic, l.partition order by l.id) - 1) / 1000 as part from lost l
    ), grouped as (
        select g.topic, g.partition, g.part, sum(g.n) as n, min(g.at) as first_at, max(g.at) as last_at,
               min(g.id) as first_id, max(g.id) as last_id,
               array_agg(g.id order by g.id) as ids, array_agg(g.n order by g.id) as counts,
               array_agg(g.size order by g.id) as sizes
          from numbered g group by g.topic, g.partition, g.part
    ), blocked as (
        insert into log.block (topic, partition, base, n, tick, first_at, last_at, first_id, last_id, ids, counts, sizes)
        select g.topic, g.partition,
               coalesce(e.upto, 0)
                 + coalesce(sum(g.n) over (partition by g.topic, g.partition order by g.part
                                           rows between unbounded preceding and 1 preceding), 0),
               g.n, next_tick, g.first_at,
               greatest(e.last_at, max(g.last_at) over (partition by g.topic, g.partition order by g.part)),
               g.first_id, g.last_id, g.ids, g.counts, g.sizes
          from grouped g
          left join lateral (
            select b.base + b.n as upto, b.last_at from log.block b
             where b.topic = g.topic and b.partition = g.partition
             order by b.base desc limit 1) e on true
        returning cardinality(block.ids) as batches
    )
    select coalesce(sum(batches), 0) into found_batches from blocked;

    update log.identity set log_id = gen_random_uuid(),
        cluster_id = (select c.system_identifier from pg_control_system() c);
    return found_batches;
end $$;

-- As in 0008.
create or replace function log.findings() returns setof text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    return query
    select format('%s/%s: the block at offset %s does not follow on the one before it, which ends at %s',
                  t.name, b.partition, b.base, b.before)
      from (select k.topic, k.partition, k.base,
                   lag(k.base + k.n) over (partition by k.topic, k.partition order by k.base) as before
              from log.block k) b
      join log.topic t on t.id = b.topic
     where b.before <> b.base;
    return query
    select format('%s/%s: the block at offset %s has %s records, its batches %s', t.name, b.partition, b.base, b.n, c.n)
      from log.block b join log.topic t on t.id = b.topic
     cross join lateral (select sum(u.n) as n from unnest(b.counts) u(n)) c
     where c.n <> b.n;
    return query
    with referred as (
        select b.topic, b.partition, b.base + sum(u.n) over (partition by b.topic, b.partition, b.base order by u.ord) as upto,
               u.id, u.n
          from log.block b cross join unnest(b.ids, b.counts) with ordinality u(id, n, ord))
    select format('%s/%s: the batch before offset %s is missing or not what its block says', t.name, r.partition, r.upto)
      from referred r
      join log.topic t on t.id = r.topic
      left join log.record_batch b on b.id = r.id and ((b.id >> 40) % 8) = ((r.id >> 40) % 8)
     where r.upto > log.partition_start(r.topic, r.partition)
       and (b.id is null or (b.topic, b.partition, octet_length(b.lens) / 4) <> (r.topic, r.partition, r.n));
    return query
    select format('batch %s has %s offsets instead of one', r.id, count(*))
      from (select u.id from log.block b cross join unnest(b.ids) u(id)) r group by r.id having count(*) > 1;
    return query
    select format('%s/%s: batch %s, from before the last tick, has no offset', t.name, b.partition, b.id)
      from log.record_batch b
      join log.topic t on t.id = b.topic
      left join (select u.id from log.block k cross join unnest(k.ids) u(id)) held on held.id = b.id
     where held.id is null
       and pg_visible_in_snapshot(b.xid, (select k.snapshot from log.tick k order by k.n desc limit 1));
    return query
    select format('group %s is at offset %s of %s/%s, which ends at %s', g.name, a.committed, t.name, a.partition, a.upto)
      from log.subscription s
      join log.consumer_group g on g.id = s.consumer_group
      join log.topic t on t.id = s.topic
     cross join lateral log.assignment(array[s.id]) a
     where a.committed > a.upto;
end $$;
