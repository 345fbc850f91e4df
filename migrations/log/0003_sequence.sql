-- Every tick's snapshot, appended and never updated: an updated row slows down behind any
-- transaction left open. The key is the fence between sequencers.
create table log.tick (
    n bigint primary key,
    snapshot pg_snapshot not null
);

-- One row a tick, partition and thousand batches: `n` offsets from `base` on belong to the
-- batches `ids`, in this order.
create table log.block (
    topic int not null,
    partition int not null,
    base bigint not null,
    n bigint not null,
    tick bigint not null,
    -- Oldest and newest `at` of its batches.
    first_at timestamptz not null,
    last_at timestamptz not null,
    ids bigint[] not null,
    counts int[] not null,
    sizes int[] not null,
    primary key (topic, partition, base)
);

insert into log.tick values (0, pg_current_snapshot());

-- Gives offsets to what was committed since the last tick.
--
-- One statement, so that the snapshot it stores is the snapshot it scanned with: read
-- before or after the scan, batches are doubled or lost. It must be alone in its
-- transaction: its own writes would be invisible to its snapshot and yet below the next.
-- `forced` appends a tick although nothing is fresh, where a transaction opened since the
-- last tick is still open: its rows then lie below the next tick's range and are not
-- scanned again and again.
--
-- Returns the new tick's number (null: nothing to do) and where partitions now end, as
-- `topic:partition:end` joined by commas; the same text goes out on channel `log_tick`,
-- empty where it would be too long for a notification.
create function log.tick(forced boolean, out ticked bigint, out ends text)
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
        insert into log.block (topic, partition, base, n, tick, first_at, last_at, ids, counts, sizes)
        select g.topic, g.partition,
               coalesce((select b.base + b.n from log.block b
                          where b.topic = g.topic and b.partition = g.partition
                          order by b.base desc limit 1), 0)
                 + coalesce(sum(g.n) over (partition by g.topic, g.partition order by g.part
                                           rows between unbounded preceding and 1 preceding), 0),
               g.n, appended.n, g.first_at, g.last_at, g.ids, g.counts, g.sizes
          from grouped g, appended
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

-- Ticks that no sequencer can still collide with.
create function log.trim_ticks() returns bigint
language sql security definer set search_path = pg_catalog, pg_temp as $$
    with gone as (
        delete from log.tick where n < (select max(n) from log.tick) - 100000 returning 1)
    select count(*) from gone
$$;

create function log.partition_end(topic int, partition int) returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce((select b.base + b.n from log.block b
                      where b.topic = $1 and b.partition = $2
                      order by b.base desc limit 1), 0)
$$;
