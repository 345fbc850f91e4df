-- What an operator does to a running log: pause, seek, redrive, partitions, topics that go.

-- A paused subscription is claimed and kept, and nothing of it is fetched.
alter table log.subscription add paused_at timestamptz;

drop view log.group_lag;
drop function log.assignment;
-- The newest progress of every partition of these subscriptions, with where the partition
-- starts and ends.
create function log.assignment(subscriptions int[])
returns table (subscription int, partition int, seq bigint, member int, generation int, committed bigint,
               start bigint, upto bigint, paused boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
    return query
    select s.id, p.partition, coalesce(l.seq, -1), l.member, coalesce(l.generation, 0),
           coalesce(l.committed, 0),
           log.partition_start(s.topic, p.partition), log.partition_end(s.topic, p.partition),
           s.paused_at is not null
      from unnest(subscriptions) wanted(id)
      join log.subscription s on s.id = wanted.id
      join log.topic t on t.id = s.topic
     cross join lateral generate_series(0, t.partitions - 1) p(partition)
      left join lateral (
        select r.seq, r.member, r.generation, r.committed from log.progress r
         where r.subscription = s.id and r.partition = p.partition
         order by r.seq desc limit 1) l on true;
end $$;

-- As in 0004. A group that is new to a topic begins at the log start of each partition; where
-- it has no row it begins at 0, the log start of any partition that is added later.
create or replace function log.subscribe(consumer_group text, topic text, start text,
                                         out subscription int, out topic_id int, out partitions int)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    g log.consumer_group;
begin
    topic_id := log.topic_id(topic);
    if not log.may(topic_id, 'consume') then
        raise exception 'role "%" may not consume topic "%"', session_user, topic
            using errcode = '42501', hint = 'select log.grant_topic(topic, ''consume'', role)';
    end if;
    if start not in ('earliest', 'latest') then
        raise exception 'a group starts at earliest or latest, not at "%"', start using errcode = '22023';
    end if;
    select t.partitions into partitions from log.topic t where t.id = topic_id;

    insert into log.consumer_group (name) values (subscribe.consumer_group) on conflict (name) do nothing;
    select * into g from log.consumer_group c where c.name = subscribe.consumer_group;
    if not log.acts_as(g.owner) then
        raise exception 'consumer group "%" belongs to role "%"', g.name, g.owner using errcode = '42501';
    end if;

    insert into log.subscription (consumer_group, topic) values (g.id, topic_id)
        on conflict do nothing returning id into subscription;
    if subscription is not null then
        insert into log.progress (subscription, partition, seq, member, generation, committed)
        select subscribe.subscription, b.partition, 0, null, 0, b.at
          from generate_series(0, partitions - 1) p(partition)
         cross join lateral (
            select p.partition, case start when 'latest' then log.partition_end(topic_id, p.partition)
                                           else log.partition_start(topic_id, p.partition) end as at) b
         where b.at > 0;
    else
        select s.id into subscription from log.subscription s
         where s.consumer_group = g.id and s.topic = topic_id;
    end if;

    -- Where this group's records go that its handler cannot take.
    perform log.ensure_dead_letter_topic(topic, g.name);
end $$;

-- The one subscription of a group to a topic.
create function log.subscription_id(consumer_group text, topic text) returns int
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    topic_id constant int := log.topic_id(topic);
    found_id int;
begin
    select s.id into found_id
      from log.subscription s join log.consumer_group g on g.id = s.consumer_group
     where g.name = subscription_id.consumer_group and s.topic = topic_id;
    if found_id is null then
        raise exception 'consumer group "%" has never read topic "%"', consumer_group, topic
            using errcode = 'LG405', hint = 'select * from log.group_lag shows who reads what';
    end if;
    perform log.may_operate(array[found_id]);
    return found_id;
end $$;

-- Nothing of the topic is handed out to this group any more; what its members have in hand is
-- finished.
create function log.pause(consumer_group text, topic text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    sub constant int := log.subscription_id(consumer_group, topic);
begin
    update log.subscription s set paused_at = coalesce(s.paused_at, now()) where s.id = sub;
    perform pg_notify('log_tick', '');
end $$;

create function log.resume(consumer_group text, topic text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    sub constant int := log.subscription_id(consumer_group, topic);
begin
    update log.subscription s set paused_at = null where s.id = sub;
    perform pg_notify('log_tick', '');
end $$;

-- The first offset whose record was published at this time or later; the end where none was.
-- A halving of the blocks: `last_at` never goes back.
create function log.offset_at(topic int, partition int, since timestamptz) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
#variable_conflict use_variable
declare
    low bigint := 0;
    high bigint := log.partition_end(topic, partition);
    middle bigint;
    b log.block;
    found_offset bigint;
begin
    -- The first block that reaches `since` begins in [low, high].
    while low < high loop
        middle := (low + high) / 2;
        select * into b from log.block k
         where k.topic = topic and k.partition = partition and k.base <= middle
         order by k.base desc limit 1;
        if b.base is null or b.last_at < since then
            low := least(coalesce(b.base + b.n, middle + 1), high);
            low := greatest(low, middle + 1);
        else
            high := b.base;
        end if;
    end loop;
    select * into b from log.block k where k.topic = topic and k.partition = partition and k.base = low;
    if b.base is not null then
        select low + u.before into found_offset
          from (select e.id, e.ord, sum(e.n) over (order by e.ord) - e.n as before
                  from unnest(b.ids, b.counts) with ordinality e(id, n, ord)) u
          join log.record_batch r on r.id = u.id and ((r.id >> 40) % 8) = ((u.id >> 40) % 8)
         where r.at >= since
         order by u.ord limit 1;
        low := coalesce(found_offset, b.base);
    end if;
    return greatest(low, log.partition_start(topic, partition));
end $$;

-- What a seek says: `earliest`, `latest`, an offset, or `@` and a time.
create function log.position(topic int, partition int, wanted text) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    first_kept constant bigint := log.partition_start(topic, partition);
    upto constant bigint := log.partition_end(topic, partition);
    at bigint;
begin
    if wanted in ('earliest', 'start') then
        return first_kept;
    elsif wanted in ('latest', 'end') then
        return upto;
    elsif wanted like '@%' then
        return log.offset_at(topic, partition, substr(wanted, 2)::timestamptz);
    elsif wanted ~ '^[0-9]{1,18}$' then
        at := wanted::bigint;
        if at < first_kept or at > upto then
            raise exception 'partition % keeps offsets % to %, so % is none to seek to', partition, first_kept, upto, at
                using errcode = 'LG416', hint = 'earliest and latest are its bounds';
        end if;
        return at;
    end if;
    raise exception '"%" is no position: earliest, latest, an offset, or @ and a time', wanted using errcode = '22023';
end $$;

-- Where a seek would take a group: changes nothing.
create function log.seek_plan(consumer_group text, topic text, part int, wanted text)
returns table (partition int, committed bigint, target bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    sub constant int := log.subscription_id(consumer_group, topic);
    topic_id constant int := log.topic_id(topic);
begin
    if part is not null and not exists (
        select from log.topic t where t.id = topic_id and part between 0 and t.partitions - 1) then
        raise exception 'topic "%" has no partition %', topic, part using errcode = 'LG416';
    end if;
    return query
    select a.partition, a.committed, log.position(topic_id, a.partition, wanted)
      from log.assignment(array[sub]) a
     where part is null or a.partition = part
     order by a.partition;
end $$;

-- Moves a group, running or not: the row frees the partition, so that whoever has it is fenced
-- with what it has in hand, and the next claim begins at the target. Going back means that
-- the group handles records again, with all their effects.
create function log.seek(consumer_group text, topic text, part int, wanted text)
returns table (partition int, committed bigint, target bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    sub constant int := log.subscription_id(consumer_group, topic);
    plan record;
    newest record;
begin
    for plan in select * from log.seek_plan(consumer_group, topic, part, wanted) loop
        loop
            select a.seq, a.generation, a.committed into newest
              from log.assignment(array[sub]) a where a.partition = plan.partition;
            insert into log.progress (subscription, partition, seq, member, generation, committed)
            values (sub, plan.partition, newest.seq + 1, null, newest.generation, plan.target)
            on conflict on constraint progress_pkey do nothing;
            exit when found;
        end loop;
        partition := plan.partition; committed := newest.committed; target := plan.target;
        return next;
    end loop;
    perform pg_notify('log_tick', '');
end $$;

-- More partitions for a topic that is in use. A key's new records may go to another partition
-- than its old ones, so its order holds within each only.
create function log.add_partitions(topic text, partitions int) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    topic_id constant int := log.topic_id(topic);
    now_has int;
begin
    select t.partitions into now_has from log.topic t where t.id = topic_id for update;
    if add_partitions.partitions < now_has then
        raise exception 'topic "%" has % partitions; partitions cannot be taken away', topic, now_has
            using errcode = 'LG409';
    end if;
    update log.topic t set partitions = add_partitions.partitions where t.id = topic_id;
    perform pg_notify('log_topic', ''), pg_notify('log_tick', '');
end $$;
revoke execute on function log.add_partitions from public;

-- Removes a topic with its records, rights and groups' progress; its batches' bytes go with
-- their segments.
create function log.delete_topic(topic text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    topic_id constant int := log.topic_id(topic);
begin
    delete from log.progress p using log.subscription s where s.topic = topic_id and p.subscription = s.id;
    delete from log.subscription s where s.topic = topic_id;
    delete from log.block b where b.topic = topic_id;
    delete from log.log_start l where l.topic = topic_id;
    delete from log.redriven r where r.topic = topic_id;
    delete from log.topic t where t.id = topic_id;
    perform pg_notify('log_topic', ''), pg_notify('log_tick', '');
end $$;
revoke execute on function log.delete_topic from public;

-- Forgets a group that has no member left.
create function log.delete_group(consumer_group text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    subs int[];
    members int;
begin
    select array_agg(s.id) into subs
      from log.subscription s join log.consumer_group g on g.id = s.consumer_group
     where g.name = delete_group.consumer_group;
    if subs is null then
        raise exception 'consumer group "%" does not exist', consumer_group using errcode = 'LG405';
    end if;
    perform log.may_commit(subs);
    select count(distinct m.member) into members from log.members(subs) m;
    if members > 0 then
        raise exception 'consumer group "%" has % members: stop them first', consumer_group, members
            using errcode = 'LG409';
    end if;
    delete from log.progress p where p.subscription = any (subs);
    delete from log.subscription s where s.id = any (subs);
    delete from log.consumer_group g where g.name = delete_group.consumer_group;
end $$;

-- Dead letters that were sent through their group again.
create table log.redriven (
    topic int not null,
    partition int not null,
    "offset" bigint not null,
    at timestamptz not null default now(),
    primary key (topic, partition, "offset")
);

-- Notes that a dead letter is on its way again; false where it already was.
create function log.mark_redriven(topic text, part int, at_offset bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    topic_id constant int := log.topic_id(topic);
begin
    if not log.may(topic_id, 'consume') then
        raise exception 'role "%" may not consume topic "%"', session_user, topic using errcode = '42501';
    end if;
    insert into log.redriven (topic, partition, "offset") values (topic_id, part, at_offset) on conflict do nothing;
    return found;
end $$;

create function log.redriven_of(topic text) returns table (partition int, "offset" bigint, at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select r.partition, r."offset", r.at from log.redriven r
     where r.topic = log.topic_id($1) and log.may(r.topic, 'consume')
$$;

-- Beside the dead letters: where redriven ones go, for this group alone.
create or replace function log.ensure_dead_letter_topic(topic text, consumer_group text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    made int;
    suffix text;
begin
    if topic ~ '\.(dlq|redrive)$' then
        return;
    end if;
    foreach suffix in array array['dlq', 'redrive'] loop
        made := log.create_topic(topic || '.' || consumer_group || '.' || suffix, 1);
        insert into log.topic_grant (topic, privilege, grantee)
        select made, p, session_user from unnest(array['publish', 'consume']) p
        on conflict do nothing;
    end loop;
    perform log.grant_redrive(made);
end $$;
revoke execute on function log.ensure_dead_letter_topic from public;

-- When the record at this offset was published; null where there is none.
create function log.published_at(topic int, partition int, at_offset bigint) returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
    select r.at
      from (select * from log.block b
             where b.topic = $1 and b.partition = $2 and b.base <= $3
             order by b.base desc limit 1) k
     cross join lateral (
        select e.id from (select u.id, k.base + sum(u.n) over (order by u.ord) as upto
                            from unnest(k.ids, k.counts) with ordinality u(id, n, ord)) e
         where e.upto > $3 order by e.upto limit 1) w
      join log.record_batch r on r.id = w.id and ((r.id >> 40) % 8) = ((w.id >> 40) % 8)
$$;

-- Where each group is: committed, end, and lag in records and in the age of the oldest of them.
-- A redrive topic shows once it was used.
create view log.group_lag as
select g.name as consumer_group, t.name as topic, a.partition, a.member, a.generation, a.committed,
       a.start as log_start, a.upto as "end", a.upto - a.committed as lag,
       case when a.upto > a.committed
            then extract(epoch from clock_timestamp() - log.published_at(t.id, a.partition, a.committed)) end as lag_seconds,
       a.paused
  from log.subscription s
  join log.consumer_group g on g.id = s.consumer_group
  join log.topic t on t.id = s.topic
 cross join lateral log.assignment(array[s.id]) a
 where a.upto > 0 or t.name not like '%.redrive';

-- How fast a group reads and a partition grows: records a second over the last minute.
create function log.pace(consumer_group text)
returns table (topic text, partition int, consumed double precision, produced double precision)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
    subs int[];
begin
    select array_agg(s.id) into subs
      from log.subscription s join log.consumer_group g on g.id = s.consumer_group
     where g.name = pace.consumer_group;
    perform log.may_operate(subs);
    return query
    select t.name, a.partition,
           coalesce((a.committed - r.committed) / extract(epoch from clock_timestamp() - r.at), 0)::double precision,
           ((a.upto - log.offset_at(t.id, a.partition, clock_timestamp() - interval '1 minute')) / 60.0)::double precision
      from log.assignment(subs) a
      join log.subscription s on s.id = a.subscription
      join log.topic t on t.id = s.topic
      left join lateral (
        select p.committed, p.at from (
            select q.committed, q.at from log.progress q
             where q.subscription = a.subscription and q.partition = a.partition
             order by q.seq desc limit 10000) p
         where p.at > clock_timestamp() - interval '1 minute' and p.committed <= a.committed
         order by p.at limit 1) r on true;
end $$;

-- What is wrong with the log itself, a line each; no line when all is well.
create function log.findings() returns setof text
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
       and (b.id is null or (b.topic, b.partition, b.n) <> (r.topic, r.partition, r.n));
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
revoke execute on function log.findings from public;
