-- Who may look after the log as a whole: see the lag of every group, pause, resume and seek it,
-- read every topic, and send dead letters through their group again. Not: publish otherwise,
-- commit for a group, delete anything, or reach another schema.
create table log.operator (grantee name primary key);
grant select on log.operator to public;

create function log.is_operator() returns boolean
language sql stable parallel safe
begin atomic
    select exists (select from log.operator o where log.acts_as(o.grantee));
end;

-- As in 0006; an operator may consume every topic.
create or replace function log.may(topic int, privilege text) returns boolean
language sql stable parallel safe
begin atomic
    select exists (
        select from log.topic_grant g
         where g.topic = may.topic and g.privilege = may.privilege and log.acts_as(g.grantee))
        or pg_has_role(session_user, (select t.relowner from pg_class t where t.oid = 'log.topic'::regclass), 'usage')
        or (may.privilege = 'consume' and log.is_operator());
end;

-- Beside `may_commit`: to look at a group and to move it, not to be one of its members.
create function log.may_operate(subscriptions int[]) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not log.is_operator() then
        perform log.may_commit(subscriptions);
    end if;
end $$;

-- As in 0007, but for `may_operate`: pause, resume, seek and seek_plan ask this one.
create or replace function log.subscription_id(consumer_group text, topic text) returns int
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

-- As in 0007, but for `may_operate`.
create or replace function log.pace(consumer_group text)
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

-- As in 0008; an operator sees all groups.
create or replace function log.lag(consumer_group text default null)
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

-- A redrive is a publish to the group's own redrive topic: a right as every other.
create function log.grant_redrive(topic int) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into log.topic_grant (topic, privilege, grantee)
    select $1, 'publish', o.grantee from log.operator o
    on conflict do nothing
$$;
revoke execute on function log.grant_redrive from public;

-- As in 0007; operators may redrive.
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

-- Makes a role an operator, of the groups that exist already too.
create function log.grant_operator(grantee name) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into log.operator (grantee) values (grant_operator.grantee) on conflict do nothing;
    perform log.grant_redrive(t.id)
       from log.subscription s
       join log.consumer_group g on g.id = s.consumer_group
       join log.topic of_group on of_group.id = s.topic
       join log.topic t on t.name = of_group.name || '.' || g.name || '.redrive';
end $$;
revoke execute on function log.grant_operator from public;
