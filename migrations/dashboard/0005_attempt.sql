-- Attempts of groups at a record that failed, from what the broker in each process says of them in
-- topic `log`. Those that succeeded are the groups' progress, which the log keeps.
create table dashboard.attempt (
    topic text not null,
    partition int not null,
    record_offset bigint not null,
    consumer_group text not null,
    at timestamptz not null,
    -- What became of it, and why.
    told text not null,
    -- A line that is read again adds nothing.
    primary key (topic, partition, record_offset, consumer_group, at)
);
create index attempt_at on dashboard.attempt (at);

grant select, insert, delete on dashboard.attempt to waybill_dashboard;
select log.grant_topic('log', 'consume', 'waybill_dashboard');
