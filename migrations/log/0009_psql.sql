-- The wire contract for people at psql and for other languages. Errors have SQLSTATEs of their
-- own: LG001 a partition was taken over, LG404 no such topic, LG405 no such group, LG409 not
-- now, LG416 no such partition or offset; 42501 a right is missing, 22023 an argument makes no
-- sense.

-- murmur2 as Kafka's clients compute it.
create function log.murmur2(data bytea) returns bigint
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    m constant bigint := x'5bd1e995'::bigint;
    mask constant bigint := x'ffffffff'::bigint;
    len constant int := octet_length(data);
    tail constant int := len / 4 * 4;
    h bigint := x'9747b28c'::bigint # len;
    k bigint;
begin
    for i in 0 .. len / 4 - 1 loop
        k := get_byte(data, 4 * i)::bigint | (get_byte(data, 4 * i + 1) << 8)
            | (get_byte(data, 4 * i + 2) << 16) | (get_byte(data, 4 * i + 3)::bigint << 24);
        k := log.times32(k, m);
        k := log.times32(k # (k >> 24), m);
        h := log.times32(h, m) # k;
    end loop;
    if len - tail >= 3 then
        h := h # (get_byte(data, tail + 2)::bigint << 16);
    end if;
    if len - tail >= 2 then
        h := h # (get_byte(data, tail + 1)::bigint << 8);
    end if;
    if len - tail >= 1 then
        h := log.times32(h # get_byte(data, tail)::bigint, m);
    end if;
    h := log.times32(h # (h >> 13), m);
    return (h # (h >> 15)) & mask;
end $$;

-- A product's low 32 bits, without its overflow.
create function log.times32(a bigint, b bigint) returns bigint
language sql immutable strict parallel safe
begin atomic
    select ((a & 65535) * b + ((((a >> 16) * b) & 65535) << 16)) & 4294967295;
end;

-- Publishes a record with the caller's transaction; as with every publish, it has its offset
-- once the sequencer saw it committed. Values are bytes: give text as convert_to(text, 'UTF8'),
-- or use the form below.
create function log.publish(topic text, value bytea, key bytea default null, part int default null,
                            headers jsonb default '{}')
returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    topic_id constant int := log.topic_id(topic);
    partitions int;
    target int;
    header record;
    headers_body bytea := '';
    name bytea;
    content bytea;
    body bytea;
begin
    select t.partitions into partitions from log.topic t where t.id = topic_id;
    if part is not null and part not between 0 and partitions - 1 then
        raise exception 'topic "%" has partitions 0 to %, not %', topic, partitions - 1, part using errcode = 'LG416';
    end if;
    target := case when part is not null then part
                   when key is not null then ((log.murmur2(key) & 2147483647) % partitions)::int
                   else (random() * 2147483647)::int % partitions end;
    for header in select * from jsonb_each_text(coalesce(headers, '{}')) loop
        name := convert_to(header.key, 'UTF8');
        content := convert_to(coalesce(header.value, ''), 'UTF8');
        if octet_length(name) not between 1 and 255 or octet_length(content) > 65535 then
            raise exception 'header "%": a name has 1 to 255 bytes and a value at most 65,535', left(header.key, 64)
                using errcode = '22023';
        end if;
        headers_body := headers_body || substring(int4send(octet_length(name)) from 4) || name
            || substring(int4send(octet_length(content)) from 3) || content;
    end loop;
    if octet_length(key) > 65534 or octet_length(headers_body) > 65535 then
        raise exception 'a record''s key has at most 65,534 bytes and its headers together 65,535' using errcode = '22023';
    end if;
    body := substring(int4send(coalesce(octet_length(key) + 1, 0)) from 3)
        || substring(int4send(octet_length(headers_body)) from 3)
        || coalesce(key, '') || headers_body || value;
    if octet_length(body) > 1048576 then
        raise exception 'the record has % bytes, more than 1048576: store the value and publish a reference',
            octet_length(body) using errcode = '22023';
    end if;
    insert into log.record_batch (topic, partition, lens, body)
    values (topic_id, target, int4send(octet_length(body)), body);
end $$;

create function log.publish(topic text, value text, key text default null, part int default null,
                            headers jsonb default '{}')
returns void
language sql set search_path = pg_catalog, pg_temp as $$
    select log.publish($1, convert_to($2, 'UTF8'), convert_to($3, 'UTF8'), $4, $5)
$$;

-- Records of one partition from an offset on, at most `max_records`. Below the log start it
-- fails and says where that is.
create function log.fetch(topic text, part int, from_offset bigint, max_records int default 100)
returns table ("offset" bigint, at timestamptz, key text, headers jsonb, value bytea)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    topic_id constant int := log.topic_id(topic);
    first_kept constant bigint := log.partition_start(topic_id, part);
begin
    if not exists (select from log.topic t where t.id = topic_id and part between 0 and t.partitions - 1) then
        raise exception 'topic "%" has no partition %', topic, part using errcode = 'LG416';
    end if;
    if from_offset < first_kept then
        raise exception 'partition % of topic "%" starts at offset %, so % is not kept any more',
            part, topic, first_kept, from_offset using errcode = 'LG416';
    end if;
    return query
    select f.base + r.i, f.at, r.key, r.headers, r.value
      from log.fetch(array[topic_id], array[part], array[from_offset], max_records, 4194304) f
     cross join lateral log.unpack(f.lens, f.body) r
     where f.base + r.i >= from_offset and f.base + r.i < from_offset + max_records
     order by 1;
end $$;

-- A group's place in each of its partitions; null means all groups that the caller may see: its own, and
-- an operator all.
create function log.lag(consumer_group text default null)
returns table (consumer_group text, topic text, partition int, member int, generation int, committed bigint,
               log_start bigint, "end" bigint, lag bigint, lag_seconds numeric, paused boolean)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select v.* from log.group_lag v
      join log.consumer_group g on g.name = v.consumer_group
     where (lag.consumer_group is null or v.consumer_group = lag.consumer_group)
       and (log.acts_as(g.owner)
            or pg_has_role(session_user, (select t.relowner from pg_class t where t.oid = 'log.topic'::regclass), 'usage')
            or log.is_operator())
     order by 1, 2, 3
$$;
