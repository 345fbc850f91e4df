-- Commits of the groups that read what is told here: the log keeps progress for ten minutes or a
-- hundred commits. A row holds all that one look found of a partition, so that there are few however
-- many commits there were.
create table dashboard.group_commit (
    subscription int not null,
    partition int not null,
    -- The last commit's in the log's progress.
    seq bigint not null,
    consumer_group text not null,
    topic text not null,
    -- The greatest of `ends`.
    upto bigint not null,
    -- When the last was.
    last_at timestamptz not null,
    -- By commit, in order: the offsets that it handled, from `starts` to before `ends`, when its
    -- transaction began, in which generation, and which that was.
    starts bigint[] not null,
    ends bigint[] not null,
    at timestamptz[] not null,
    generations int[] not null,
    transactions bigint[] not null,
    primary key (subscription, partition, seq)
);
create index group_commit_upto on dashboard.group_commit (topic, partition, consumer_group, upto);
create index group_commit_last_at on dashboard.group_commit (last_at);

-- From where to go on, also when nothing is kept any more.
create table dashboard.group_commit_mark (
    subscription int not null,
    partition int not null,
    seq bigint not null,
    primary key (subscription, partition)
);

grant select, insert, delete on dashboard.group_commit to waybill_dashboard;
grant select, insert, update on dashboard.group_commit_mark to waybill_dashboard;
