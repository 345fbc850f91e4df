-- What became of single records, for whoever looks at them; not for consuming.

-- For each record, by its place in the arrays: the transaction that it was published with, and for
-- each group that is past it the commit by which it got there: when its transaction began, which
-- that was, with how many records. Null where the progress is trimmed by now, or where the log was
-- moved to another cluster since. Groups that the caller may not see are left out.
create function log.trail(topics text[], parts int[], offsets bigint[])
returns table (nth int, published_in bigint, consumer_group text, committed_at timestamptz, committed_in bigint,
               generation int, records bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
    -- A row's `xmin` has lost its upper half.
    upto constant bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    wanted record;
    sub record;
    low bigint;
    high bigint;
    middle bigint;
    found record;
    newest record;
begin
    for wanted in
        select w.ord::int as ord, t.id as topic, w.part, w.at_offset
          from unnest(topics, parts, offsets) with ordinality w(topic, part, at_offset, ord)
          join log.topic t on t.name = w.topic
         where log.may(t.id, 'consume')
    loop
        nth := wanted.ord;
        published_in := (
            select nullif(r.xid::text::bigint, 3)
              from (select * from log.block b
                     where b.topic = wanted.topic and b.partition = wanted.part and b.base <= wanted.at_offset
                     order by b.base desc limit 1) k
             cross join lateral (
                select e.id from (select u.id, k.base + sum(u.n) over (order by u.ord) as upto
                                    from unnest(k.ids, k.counts) with ordinality u(id, n, ord)) e
                 where e.upto > wanted.at_offset order by e.upto limit 1) i
              join log.record_batch r on r.id = i.id and ((r.id >> 40) % 8) = ((i.id >> 40) % 8));
        consumer_group := null; committed_at := null; committed_in := null; generation := null; records := null;
        return next;

        for sub in
            select s.id, g.name
              from log.subscription s join log.consumer_group g on g.id = s.consumer_group
             where s.topic = wanted.topic
               and (log.is_operator() or log.acts_as(g.owner)
                    or log.acts_as((select pg_get_userbyid(c.relowner) from pg_class c where c.oid = 'log.topic'::regclass)))
             order by g.name
        loop
            select p.seq, p.committed into newest from log.progress p
             where p.subscription = sub.id and p.partition = wanted.part order by p.seq desc limit 1;
            continue when not coalesce(newest.committed > wanted.at_offset, false);
            consumer_group := sub.name; committed_at := null; committed_in := null; generation := null; records := null;
            -- The row that gets past the record lies in (low, high]: commits go forward. After a
            -- seek there are several, of which this finds one.
            select p.seq, p.committed into found from log.progress p
             where p.subscription = sub.id and p.partition = wanted.part order by p.seq limit 1;
            if found.committed <= wanted.at_offset then
                low := found.seq;
                high := newest.seq;
                while low + 1 < high loop
                    middle := (low + high) / 2;
                    select p.seq, p.committed into found from log.progress p
                     where p.subscription = sub.id and p.partition = wanted.part and p.seq <= middle
                     order by p.seq desc limit 1;
                    if found.committed > wanted.at_offset then
                        high := found.seq;
                    else
                        low := middle;
                    end if;
                end loop;
                select p.at, p.generation, p.committed - b.committed,
                       upto - ((upto - p.xmin::text::bigint) & 4294967295)
                  into committed_at, generation, records, committed_in
                  from log.progress p
                 cross join lateral (
                    select q.committed from log.progress q
                     where q.subscription = p.subscription and q.partition = p.partition and q.seq < p.seq
                     order by q.seq desc limit 1) b
                 where p.subscription = sub.id and p.partition = wanted.part and p.seq = high;
            end if;
            return next;
        end loop;
    end loop;
end $$;
