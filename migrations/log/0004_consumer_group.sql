create table log.consumer_group (
    id int generated always as identity primary key,
    name text not null unique
        constraint consumer_group_name_legal check (name ~ '^[a-zA-Z0-9._-]{1,249}$'),
    -- The role that used the name first; nobody else commits for this group.
    owner name not null default session_user
);

create table log.subscription (
    id int generated always as identity primary key,
    consumer_group int not null references log.consumer_group,
    topic int not null references log.topic,
    unique (consumer_group, topic)
);

-- A group's progress: appended, never updated, trimmed. The newest row of a partition says
-- who owns it and where that group is. A claim, a commit and a release are each the row
-- `seq + 1`, so the key's conflict fences whoever lost the partition.
create table log.progress (
    subscription int not null references log.subscription,
    partition int not null,
    seq bigint not null,
    -- Null: free.
    member int,
    generation int not null,
    -- The next offset this group will read.
    committed bigint not null,
    at timestamptz not null default now(),
    primary key (subscription, partition, seq)
);

-- A member is alive while its session holds the advisory lock
-- (1280263936 + subscription, member); the addend, 'LOG' in ASCII, keeps clear of other users
-- of such locks. No
-- row is written for a heartbeat: a dead process's lock is gone at once, and a stuck one
-- loses its session, and so the lock, to the server's `idle_session_timeout`.
create sequence log.member as int;

create function log.new_member() returns int
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select nextval('log.member')::int
$$;

-- Enters a group's subscription to a topic, made on first use. `start` says where a group
-- that is new to this topic begins: earliest or latest.
create function log.subscribe(consumer_group text, topic text, start text,
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
    if not pg_has_role(session_user, g.owner, 'usage') then
        raise exception 'consumer group "%" belongs to role "%"', g.name, g.owner using errcode = '42501';
    end if;

    insert into log.subscription (consumer_group, topic) values (g.id, topic_id)
        on conflict do nothing returning id into subscription;
    if subscription is not null and start = 'latest' then
        insert into log.progress (subscription, partition, seq, member, generation, committed)
        select subscribe.subscription, p, 0, null, 0, log.partition_end(topic_id, p)
          from generate_series(0, partitions - 1) p;
    end if;
    if subscription is null then
        select s.id into subscription from log.subscription s
         where s.consumer_group = g.id and s.topic = topic_id;
    end if;

    -- Where this group's records go that its handler cannot take.
    perform log.ensure_dead_letter_topic(topic, g.name);
end $$;

create function log.ensure_dead_letter_topic(topic text, consumer_group text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    dead int;
begin
    if topic like '%.dlq' then
        return;
    end if;
    dead := log.create_topic(topic || '.' || consumer_group || '.dlq', 1);
    insert into log.topic_grant (topic, privilege, grantee)
    select dead, p, session_user from unnest(array['publish', 'consume']) p
    on conflict do nothing;
end $$;
revoke execute on function log.ensure_dead_letter_topic from public;

create function log.may_commit(subscriptions int[]) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    foreign_group text;
begin
    select g.name into foreign_group
      from log.subscription s join log.consumer_group g on g.id = s.consumer_group
     where s.id = any (subscriptions) and not pg_has_role(session_user, g.owner, 'usage')
     limit 1;
    if foreign_group is not null then
        raise exception 'consumer group "%" belongs to another role', foreign_group using errcode = '42501';
    end if;
end $$;

-- The newest progress of every partition of these subscriptions, with the partition's end.
create function log.assignment(subscriptions int[])
returns table (subscription int, partition int, seq bigint, member int, generation int, committed bigint, upto bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
    return query
    select s.id, p.partition, coalesce(l.seq, -1), l.member, coalesce(l.generation, 0), coalesce(l.committed, 0),
           log.partition_end(s.topic, p.partition)
      from unnest(subscriptions) wanted(id)
      join log.subscription s on s.id = wanted.id
      join log.topic t on t.id = s.topic
     cross join lateral generate_series(0, t.partitions - 1) p(partition)
      left join lateral (
        select r.seq, r.member, r.generation, r.committed from log.progress r
         where r.subscription = s.id and r.partition = p.partition
         order by r.seq desc limit 1) l on true;
end $$;

-- The members alive. Read after the assignment: an owner that is missing here is dead, and
-- not merely newer than the list.
create function log.members(subscriptions int[])
returns table (subscription int, member int, pid int)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select (l.classid::bigint - 1280263936)::int, l.objid::bigint::int, l.pid
      from pg_locks l
     where l.locktype = 'advisory' and l.granted and l.objsubid = 2
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
       and l.classid::bigint - 1280263936 = any (subscriptions)
$$;

-- Takes partitions whose newest row is still `seq`. Returns those that were got: whoever
-- lost the race gets no row.
create function log.claim(claimant int, subscriptions int[], parts int[], seqs bigint[])
returns table (subscription int, partition int, seq bigint, generation int, committed bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
    perform log.may_commit(subscriptions);
    return query
    insert into log.progress as p (subscription, partition, seq, member, generation, committed)
    select w.subscription, w.partition, w.seq + 1, claimant, coalesce(l.generation, 0) + 1, coalesce(l.committed, 0)
      from unnest(subscriptions, parts, seqs) w(subscription, partition, seq)
      left join lateral (
        select r.seq, r.generation, r.committed from log.progress r
         where r.subscription = w.subscription and r.partition = w.partition
         order by r.seq desc limit 1) l on true
     where coalesce(l.seq, -1) = w.seq
    on conflict on constraint progress_pkey do nothing
    returning p.subscription, p.partition, p.seq, p.generation, p.committed;
end $$;

-- Appends the row after `after`, which must be the newest and the caller's own; else, when
-- somebody else appended meanwhile, it fails: on `progress_pkey` or with LG001. Neither check
-- replaces the other. The key catches a row that this statement's snapshot does not show; the
-- look catches one that is trimmed by now, and claims that a crash of the server took back.
create function log.append_progress(sub int, part int, after bigint, me int, gen int, next_offset bigint, next_member int)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
begin
    perform log.may_commit(array[sub]);
    insert into log.progress (subscription, partition, seq, member, generation, committed)
    select sub, part, newest.seq + 1, next_member, gen, coalesce(next_offset, newest.committed)
      from (select r.seq, r.member, r.generation, r.committed from log.progress r
             where r.subscription = sub and r.partition = part
             order by r.seq desc limit 1) newest
     where newest.seq = after and newest.member = me and newest.generation = gen
       -- Forward only: what is committed is not committed again.
       and newest.committed < coalesce(next_offset, newest.committed + 1);
    if not found then
        raise exception 'partition % of subscription % was taken over after seq %', part, sub, after
            using errcode = 'LG001';
    end if;
end $$;
revoke execute on function log.append_progress from public;

-- The group's next offset, in the transaction that handled what lies before it.
create function log.commit_progress(sub int, part int, after bigint, me int, gen int, next_offset bigint) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select log.append_progress(sub, part, after, me, gen, next_offset, me)
$$;

-- Gives the partition back.
create function log.release(sub int, part int, after bigint, me int, gen int) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select log.append_progress(sub, part, after, me, gen, null, null)
$$;

-- Old progress; what a straggler could still collide with stays.
create function log.trim_progress(subscriptions int[]) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    gone bigint;
begin
    perform log.may_commit(subscriptions);
    delete from log.progress p
     using unnest(subscriptions) w(id)
     where p.subscription = w.id and p.at < now() - interval '10 minutes'
       and p.seq < (select r.seq from log.progress r
                     where r.subscription = p.subscription and r.partition = p.partition
                     order by r.seq desc limit 1) - 100;
    get diagnostics gone = row_count;
    return gone;
end $$;
