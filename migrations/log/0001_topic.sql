-- The schema is made by the migrator, which keeps its own table in it.
-- Everything in `log` belongs to the role that migrates. Other roles reach it through
-- column grants, one row policy and `security definer` functions that check for themselves.
grant usage on schema log to public;

-- A cluster's transaction ids mean nothing in another cluster; the log id says to readers
-- outside this database whether offsets still continue the log that they know.
create table log.identity (
    only_row boolean primary key default true check (only_row),
    log_id uuid not null default gen_random_uuid(),
    -- `system_identifier` of the cluster in which every `record_batch.xid` was given.
    cluster_id bigint not null
);
insert into log.identity (cluster_id) select system_identifier from pg_control_system();

create table log.topic (
    id int generated always as identity primary key,
    -- Kafka's legal topic names.
    name text not null unique
        constraint topic_name_legal check (name ~ '^[a-zA-Z0-9._-]{1,249}$' and name not in ('.', '..')),
    partitions int not null constraint topic_partitions_range check (partitions between 1 and 1024),
    created_at timestamptz not null default now()
);
grant select on log.topic to public;

-- Who may publish to a topic and who may consume it: one row a right, so that rights are
-- dumped, restored and read like any other data of this database.
create table log.topic_grant (
    topic int not null references log.topic on delete cascade,
    grantee name not null,
    privilege text not null check (privilege in ('publish', 'consume')),
    primary key (topic, privilege, grantee)
);
grant select on log.topic_grant to public;

-- `session_user`, because inside a `security definer` function `current_user` is the owner.
-- A body of standard SQL is resolved now, so that a caller's search_path cannot change it.
create function log.may(topic int, privilege text) returns boolean
language sql stable parallel safe
begin atomic
    select exists (
        select from log.topic_grant g
         where g.topic = may.topic and g.privilege = may.privilege
           and pg_has_role(session_user, g.grantee, 'usage'))
        or pg_has_role(session_user, (select t.relowner from pg_class t where t.oid = 'log.topic'::regclass), 'usage');
end;

create function log.topic_id(topic text) returns int
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    found_id int;
begin
    select t.id into found_id from log.topic t where t.name = topic_id.topic;
    if found_id is null then
        raise exception 'topic "%" does not exist', topic
            using errcode = 'LG404', hint = 'create it first: select log.create_topic(''name'', partitions)';
    end if;
    return found_id;
end $$;

-- Makes a topic where there is none; an existing one keeps its partitions.
create function log.create_topic(topic text, partitions int) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    made int;
begin
    insert into log.topic (name, partitions) values (create_topic.topic, create_topic.partitions)
        on conflict (name) do nothing
        returning id into made;
    return coalesce(made, log.topic_id(create_topic.topic));
end $$;
revoke execute on function log.create_topic from public;

create function log.grant_topic(topic text, privilege text, grantee name) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into log.topic_grant (topic, privilege, grantee)
    values (log.topic_id(grant_topic.topic), grant_topic.privilege, grant_topic.grantee)
    on conflict do nothing;
end $$;
revoke execute on function log.grant_topic from public;
