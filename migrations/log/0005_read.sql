-- Record batches from these offsets on: for each (topic, partition, from) whole batches
-- until `max_records` offsets or `max_bytes` bytes are passed, at least one where there is
-- one. `base` is the first record's offset, which may lie below `from`: the client slices.
create function log.fetch(topics int[], parts int[], froms bigint[], max_records int, max_bytes bigint)
returns table (topic int, partition int, base bigint, at timestamptz, lens bytea, body bytea)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan as $$
declare
    refused int;
begin
    select w.id into refused from unnest(topics) w(id)
     where not exists (select from log.topic_grant g
                        where g.topic = w.id and g.privilege = 'consume'
                          and pg_has_role(session_user, g.grantee, 'usage'))
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
        select t.at, t.lens, t.body from log.record_batch t where t.id = u.id limit 1
     ) r
     where coalesce(u.before, 0) < max_bytes
     order by w.topic, w.partition, u.base;
end $$;

-- The records of one batch, as people read them.
create function log.unpack(lens bytea, body bytea)
returns table (i int, key text, headers jsonb, value bytea)
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    pos int := 1;
    len int;
    key_len int;
    headers_len int;
    p int;
    stop int;
    name text;
begin
    for k in 0 .. octet_length(lens) / 4 - 1 loop
        i := k;
        len := ('x' || encode(substring(lens from k * 4 + 1 for 4), 'hex'))::bit(32)::int;
        key_len := get_byte(body, pos - 1) * 256 + get_byte(body, pos);
        headers_len := get_byte(body, pos + 1) * 256 + get_byte(body, pos + 2);
        p := pos + 4;
        key := case when key_len > 0 then convert_from(substring(body from p for key_len - 1), 'UTF8') end;
        p := p + greatest(key_len - 1, 0);
        stop := p + headers_len;
        headers := '{}';
        while p < stop loop
            name := convert_from(substring(body from p + 1 for get_byte(body, p - 1)), 'UTF8');
            p := p + 1 + get_byte(body, p - 1);
            headers := headers || jsonb_build_object(name, convert_from(
                substring(body from p + 2 for get_byte(body, p - 1) * 256 + get_byte(body, p)), 'UTF8'));
            p := p + 2 + get_byte(body, p - 1) * 256 + get_byte(body, p);
        end loop;
        value := substring(body from stop for pos + len - stop);
        return next;
        pos := pos + len;
    end loop;
end $$;

-- Plain records, for people and for verification; not for consuming.
create view log.record as
select t.name as topic, b.partition, b.base + e.before + r.i as "offset", rb.at, r.key, r.headers, r.value
  from log.block b
  join log.topic t on t.id = b.topic
 cross join lateral (
    select u.id, u.ord, coalesce(sum(u.n) over (order by u.ord rows between unbounded preceding and 1 preceding), 0) as before
      from unnest(b.ids, b.counts) with ordinality u(id, n, ord)) e
  join log.record_batch rb on rb.id = e.id
 cross join lateral log.unpack(rb.lens, rb.body) r(i, key, headers, value);

-- Where each group is: committed, end and lag of every partition.
create view log.group_lag as
select g.name as consumer_group, t.name as topic, a.partition, a.member, a.generation, a.committed,
       a.upto as "end", a.upto - a.committed as lag
  from log.subscription s
  join log.consumer_group g on g.id = s.consumer_group
  join log.topic t on t.id = s.topic
 cross join lateral log.assignment(array[s.id]) a;
