-- After a dump was restored into another cluster, the transaction ids in it mean nothing: what
-- had no offset yet would never get one, and new ids could hide what is new. Sequencers refuse
-- to start until this was run; it gives every batch its offset and the log a new id.
--
-- A copied or promoted cluster keeps its identity and its transaction ids, and needs nothing.
-- Two copies of one cluster share their identity, so that a dump of one may meet the other:
-- where that one's ids are ahead the log just goes on, and where they are behind, the last tick
-- lies in the future.
create function log.is_at_home() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select i.cluster_id = c.system_identifier
           and pg_snapshot_xmax((select t.snapshot from log.tick t order by t.n desc limit 1))
               <= pg_snapshot_xmax(pg_current_snapshot())
      from log.identity i, pg_control_system() c
$$;

-- Returns how many batches got an offset; null where there was nothing to do.
create function log.adopt() returns bigint
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
        select b.id, b.topic, b.partition, b.n, b.size, b.at from log.record_batch b
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
revoke execute on function log.adopt from public;
