-- Who may do what, beside the grants of 0001.

-- Whether the session may act as a role. A role that was dropped since is nobody: its grants
-- and groups must not break those of others, as `pg_has_role` by name would.
create function log.acts_as(role name) returns boolean
language sql stable parallel safe
begin atomic
    select coalesce(pg_has_role(session_user, to_regrole(quote_ident(role)), 'usage'), false);
end;

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

-- As in 0001; an operator may consume every topic.
create or replace function log.may(topic int, privilege text) returns boolean
language sql stable parallel safe
begin atomic
    select exists (
        select from log.topic_grant g
         where g.topic = may.topic and g.privilege = may.privilege and log.acts_as(g.grantee))
        or pg_has_role(session_user, (select t.relowner from pg_class t where t.oid = 'log.topic'::regclass), 'usage')
        or (may.privilege = 'consume' and log.is_operator());
end;

-- As in 0004, for roles that are gone.
create or replace function log.may_commit(subscriptions int[]) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    foreign_group text;
begin
    select g.name into foreign_group
      from log.subscription s join log.consumer_group g on g.id = s.consumer_group
     where s.id = any (subscriptions) and not log.acts_as(g.owner)
     limit 1;
    -- The log's owner may move every group: whose role was dropped is nobody's otherwise.
    if foreign_group is not null and not log.acts_as((select pg_get_userbyid(t.relowner) from pg_class t
                                                       where t.oid = 'log.topic'::regclass)) then
        raise exception 'consumer group "%" belongs to another role', foreign_group using errcode = '42501';
    end if;
end $$;

-- Beside `may_commit`: to look at a group and to move it, not to be one of its members.
create function log.may_operate(subscriptions int[]) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not log.is_operator() then
        perform log.may_commit(subscriptions);
    end if;
end $$;

create function log.revoke_topic(topic text, privilege text, grantee name) returns void
language sql set search_path = pg_catalog, pg_temp as $$
    delete from log.topic_grant g
     where g.topic = log.topic_id($1) and g.privilege = $2 and g.grantee = $3
$$;
revoke execute on function log.revoke_topic from public;

-- A redrive is a publish to the group's own redrive topic: a right as every other.
create function log.grant_redrive(topic int) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into log.topic_grant (topic, privilege, grantee)
    select $1, 'publish', o.grantee from log.operator o
    on conflict do nothing
$$;
revoke execute on function log.grant_redrive from public;

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
