-- As in 0011, with one query of batches for as many blocks as lie in one segment, instead of one a
-- block, and in memory as long as the answer is of a usual size: half the time for batches of one
-- record.
create or replace function log.fetch(topics int[], parts int[], froms bigint[], max_records int, max_bytes bigint)
returns table (topic int, partition int, base bigint, at timestamptz, lens bytea, body bytea)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan set work_mem = '32MB' as $$
declare
    refused int;
    run record;
    found_batches int;
    emptied bigint;
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

    -- Runs of batches of one segment, by id, since offsets need not follow ids from one block to the
    -- next. Where a segment begins, its batches may alternate with those of the last one: there a
    -- run is of one block, in which offsets follow ids.
    for run in
        select w.wish, w.topic, w.partition, r.segment, r.ids, r.bases, r.base
          from unnest(topics, parts, froms) with ordinality w(topic, partition, start, wish)
         cross join lateral (
            select k.id >> 40 as segment, min(k.base) as base,
                   array_agg(k.id order by k.id) as ids, array_agg(k.base order by k.id) as bases
              from (
                select f.id, f.base, f.block, f.size_before - min(f.size_before) over () as ahead
                  from (
                    -- Summed over all blocks at once: that is less than block by block.
                    select e.id, e.n, e.block,
                           e.base - e.before_block + coalesce(sum(e.n) over before, 0) as base,
                           coalesce(sum(e.size) over before, 0) as size_before
                      from (
                        select b.base, b.before_block, case when not b.one_segment then b.base end as block,
                               unnest(b.ids) as id, unnest(b.counts) as n, unnest(b.sizes) as size
                          from (
                            select s.base, s.ids, s.counts, s.sizes,
                                   coalesce(sum(s.n) over (order by s.base rows between unbounded preceding
                                                           and 1 preceding), 0)::bigint as before_block,
                                   min(s.first_id) over () >> 40 = max(s.last_id) over () >> 40 as one_segment
                              from log.block s
                             where s.topic = w.topic and s.partition = w.partition
                               and s.base >= coalesce((select a.base from log.block a
                                                        where a.topic = w.topic and a.partition = w.partition
                                                          and a.base <= w.start
                                                        order by a.base desc limit 1), 0)
                               and s.base < w.start + max_records) b) e
                    window before as (order by e.base, e.id rows between unbounded preceding and 1 preceding)) f
                 where f.base + f.n > w.start and f.base < w.start + max_records) k
             where k.ahead < max_bytes
             group by k.block, k.id >> 40) r
         where not exists (select from log.log_start l
                            where l.topic = w.topic and l.partition = w.partition and l.start > w.start)
         order by w.topic, w.partition, w.wish, r.base
    loop
        -- What follows on a run that is gone would be a gap.
        continue when run.wish = emptied;
        return query
        select run.topic, run.partition, run.bases[width_bucket(t.id, run.ids)], t.at, t.lens::bytea, t.body::bytea
          from log.record_batch t
         where t.id = any (run.ids) and ((t.id >> 40) % 8) = (run.segment % 8)
         order by 3;
        get diagnostics found_batches = row_count;
        if found_batches = 0 then
            -- Retention emptied the segment since: readers look the log start up.
            emptied := run.wish;
        elsif found_batches < cardinality(run.ids) then
            raise exception 'topic "%", partition %: % of the % batches from offset % on are missing in log.record_batch',
                (select t.name from log.topic t where t.id = run.topic), run.partition,
                cardinality(run.ids) - found_batches, cardinality(run.ids), run.base
                using errcode = 'LG500', hint = 'somebody deleted them: restore them, or seek the group past them';
        end if;
    end loop;
end $$;
