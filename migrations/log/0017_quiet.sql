-- What is called all the time, in plpgsql, which keeps the plan: a function in SQL that cannot be
-- inlined is planned anew by each statement that calls it: half of a fetch by the log's owner.

-- As in 0006.
create or replace function log.may(topic int, privilege text) returns boolean
language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return exists (
            select from log.topic_grant g
             where g.topic = may.topic and g.privilege = may.privilege and log.acts_as(g.grantee))
        or pg_has_role(session_user, (select t.relowner from pg_class t where t.oid = 'log.topic'::regclass), 'usage')
        or (may.privilege = 'consume' and exists (select from log.operator o where log.acts_as(o.grantee)));
end $$;

-- As in 0004.
create or replace function log.commit_progress(sub int, part int, after bigint, me int, gen int, next_offset bigint) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform log.append_progress(sub, part, after, me, gen, next_offset, me);
end $$;

create or replace function log.release(sub int, part int, after bigint, me int, gen int) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform log.append_progress(sub, part, after, me, gen, null, null);
end $$;

-- A tick that brings what it gave offsets to: while the log is quiet, a process whose own groups
-- consume what it publishes needs no fetch, which is a round trip to another session that has to
-- wake. Of each of `topics` that the session may consume the one batch that is fresh in a partition,
-- where it is small; everything else is left to log.fetch.
--
-- Returns a row with the tick's number and ends as log.tick gives them, then a row a batch. As
-- log.tick it must be alone in its transaction, whose commit does not wait for the disk: a tick that
-- a crash loses was seen by nobody who committed anything.
create function log.tick_and_read(forced boolean, topics int[])
returns table (ticked bigint, ends text, topic int, partition int, base bigint, at timestamptz, lens bytea, body bytea)
language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off set plan_cache_mode = force_generic_plan
as $$
declare
    fresh record;
begin
    perform set_config('synchronous_commit', 'off', true);
    select t.ticked, t.ends into tick_and_read.ticked, tick_and_read.ends from log.tick(forced) t;
    return next;
    if topics = '{}' then
        return;
    end if;
    for fresh in
        select k.topic, k.partition, k.base, k.ids[1] as id
          from string_to_table(tick_and_read.ends, ',') e(grown)
         cross join lateral (
            select b.topic, b.partition, b.base, b.ids, b.sizes
              from log.block b
             where b.topic = split_part(e.grown, ':', 1)::int and b.partition = split_part(e.grown, ':', 2)::int
             order by b.base desc limit 1) k
         where k.topic = any (topics) and cardinality(k.ids) = 1 and k.sizes[1] <= 16384
         limit 4
    loop
        return query
        select null::bigint, null::text, fresh.topic, fresh.partition, fresh.base, t.at, t.lens::bytea, t.body::bytea
          from log.record_batch t
         where t.id = fresh.id and ((t.id >> 40) % 8) = ((fresh.id >> 40) % 8)
           and log.may(fresh.topic, 'consume');
    end loop;
end $$;
