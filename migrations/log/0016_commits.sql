-- The commits of groups, for whoever keeps them for longer than the log keeps progress.

-- Of each subscription to these topics and each of its partitions, what was committed after a given
-- row of progress, or since the first that is kept: the offsets that a commit handled, from `start` to
-- before `upto`, when its transaction began, which that was, and in which generation. `seq` is the row
-- to go on from; of very many commits the first are told. Groups that the caller may not see are left
-- out.
create function log.commits(topics text[], subscriptions int[], parts int[], seqs bigint[])
returns table (subscription int, partition int, seq bigint, consumer_group text, topic text, start bigint, upto bigint,
               at timestamptz, generation int, transaction bigint)
language sql volatile security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
    select s.id, p.partition, r.seq, g.name, t.name, r.before, r.committed, r.at, r.generation,
           -- A row's `xmin` has lost its upper half.
           x.upto - ((x.upto - r.xid) & 4294967295)
      from log.topic t
      join log.subscription s on s.topic = t.id
      join log.consumer_group g on g.id = s.consumer_group
     cross join generate_series(0, t.partitions - 1) p(partition)
     cross join (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint) x(upto)
      left join unnest($2, $3, $4) known(subscription, partition, seq)
             on known.subscription = s.id and known.partition = p.partition
     cross join lateral (
        select n.*, lag(n.committed) over (order by n.seq) as before
          -- With the row before, from which the first of them went on.
          from (select q.seq, q.committed, q.at, q.generation, q.xmin::text::bigint as xid
                  from log.progress q
                 where q.subscription = s.id and q.partition = p.partition and q.seq >= coalesce(known.seq, 0)
                 order by q.seq limit 5000) n) r
     -- Claims and seeks are rows, too.
     where r.committed > r.before
       and t.name = any ($1) and log.may(t.id, 'consume')
       and (log.is_operator() or log.acts_as(g.owner)
            or log.acts_as((select pg_get_userbyid(c.relowner) from pg_class c where c.oid = 'log.topic'::regclass)))
     order by s.id, p.partition, r.seq
$$;
