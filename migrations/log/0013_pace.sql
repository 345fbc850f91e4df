-- The oldest row of a partition's progress that is younger than this; null where there is none.
-- Rows follow on each other in `seq` and, but for a clock that was set, in time: halved, not read.
create function log.progress_since(subscription int, part int, since timestamptz) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    low bigint;
    high bigint;
    middle bigint;
    at_middle timestamptz;
begin
    select p.seq, p.at into high, at_middle from log.progress p
     where p.subscription = $1 and p.partition = part order by p.seq desc limit 1;
    if not coalesce(at_middle > since, false) then
        return null;
    end if;
    select p.seq into low from log.progress p
     where p.subscription = $1 and p.partition = part order by p.seq limit 1;
    -- It lies in [low, high].
    while low < high loop
        middle := (low + high) / 2;
        select p.at into at_middle from log.progress p
         where p.subscription = $1 and p.partition = part and p.seq >= middle order by p.seq limit 1;
        if at_middle > since then
            high := middle;
        else
            low := middle + 1;
        end if;
    end loop;
    return low;
end $$;
revoke execute on function log.progress_since from public;

-- As in 0008, which read the newest ten thousand rows of each partition for one of them.
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
      -- Once a partition, and not once a row: the planner must not move it.
     cross join lateral (
        select log.progress_since(a.subscription, a.partition, clock_timestamp() - interval '1 minute') as seq offset 0) f
      left join lateral (
        select p.committed, p.at from log.progress p
         where p.subscription = a.subscription and p.partition = a.partition and p.seq >= f.seq
           and p.committed <= a.committed
         order by p.seq limit 1) r on true;
end $$;
