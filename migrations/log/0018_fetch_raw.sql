-- As log.fetch, for a client that counts along; two fifths of its time where batches are of one
-- record. A row without `lens` says at which offset the next row of its partition starts; a row
-- without `base` follows on the one before it in its partition. Rows of a partition come in offset
-- order, those of several may alternate. Each partition may be asked for once, and there may be
-- more than was asked for: before `from`, and up to twice as many records or four batches.
--
-- What makes it quick: as long as offsets follow ids, which they do unless what began earlier
-- committed later, the ids alone have to be known, and the batches of all partitions are read by
-- one scan over the range of their ids. Everything else is left to log.fetch.
create function log.fetch_raw(topics int[], parts int[], froms bigint[], max_records int, max_bytes bigint)
returns table (topic int, partition int, base bigint, at timestamptz, lens bytea, body bytea)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan set work_mem = '32MB' as $$
declare
    span record;
    found_batches bigint;
begin
    -- log.fetch says what is wrong.
    if exists (select from unnest(topics) w(id) where not log.may(w.id, 'consume')) then
        return query select f.* from log.fetch(topics, parts, froms, max_records, max_bytes) f;
        return;
    end if;
    with block as materialized (
        select w.topic, w.partition, b.*
          from unnest(topics, parts, froms) w(topic, partition, start)
         cross join lateral (
            select s.base, s.n, s.first_id, s.last_id, s.ids, s.sizes,
                   s.first_id > lag(s.last_id, 1, 0::bigint) over (order by s.base) as in_order
              from log.block s
             where s.topic = w.topic and s.partition = w.partition
               and s.base >= coalesce((select a.base from log.block a
                                        where a.topic = w.topic and a.partition = w.partition and a.base <= w.start
                                        order by a.base desc limit 1), 0)
               and s.base + s.n > w.start
               and s.base < least(w.start, 9223372036854775807 - max_records) + max_records) b
         where not exists (select from log.log_start l
                            where l.topic = w.topic and l.partition = w.partition and l.start > w.start)
    ), per_partition as (
        select b.topic, b.partition, min(b.base) as base, sum(b.n) as n, min(b.first_id) as first_id,
               max(b.last_id) as last_id, bool_and(b.in_order) as in_order
          from block b group by b.topic, b.partition
    ), whole as (
        select array_agg(p.topic) as topics, array_agg(p.partition) as partitions, array_agg(p.base) as bases,
               max(p.n) as most, min(p.first_id) as first, max(p.last_id) as last, bool_and(p.in_order) as in_order
          from per_partition p
    )
    select whole.*, batch.* into span
      from whole
     cross join (select array_agg(u.id order by u.id) as ids, count(*) as n, coalesce(sum(u.size), 0) as bytes
                   from (select unnest(b.ids) as id, unnest(b.sizes) as size from block b) u) batch;
    if span.n = 0 then
        return;
    end if;
    if not span.in_order or span.first >> 40 <> span.last >> 40
       or (span.most > 2 * max_records::bigint and span.n > 4 * cardinality(span.topics))
       or span.bytes > max_bytes * cardinality(span.topics) then
        return query select f.* from log.fetch(topics, parts, froms, max_records, max_bytes) f;
        return;
    end if;

    return query
    select p.topic, p.partition, p.base, null::timestamptz, null::bytea, null::bytea
      from unnest(span.topics, span.partitions, span.bases) p(topic, partition, base);
    if span.last - span.first < 3 * span.n then
        return query
        select t.topic, t.partition::int, null::bigint, t.at, t.lens::bytea, t.body::bytea
          from log.record_batch t
         where t.id >= span.first and t.id <= span.last and ((t.id >> 40) % 8) = ((span.first >> 40) % 8)
           and span.ids[width_bucket(t.id, span.ids)] = t.id
         order by t.id;
    else
        return query
        select t.topic, t.partition::int, null::bigint, t.at, t.lens::bytea, t.body::bytea
          from log.record_batch t
         where t.id = any (span.ids) and ((t.id >> 40) % 8) = ((span.first >> 40) % 8)
         order by t.id;
    end if;
    get diagnostics found_batches = row_count;
    -- None: retention emptied the segment since, and readers look the log start up.
    if found_batches between 1 and span.n - 1 then
        raise exception '% of % batches are missing in log.record_batch', span.n - found_batches, span.n
            using errcode = 'LG500', hint = 'log.fetch says which, or reads what is asked for and not missing';
    end if;
end $$;
