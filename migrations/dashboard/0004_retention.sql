-- What is old is deleted. Of each partition's steps the first go, and what went is neither told
-- nor counted again when the group is moved back behind it.
create table dashboard.forgotten (
    topic text not null,
    partition int not null,
    -- The first offset that may be there.
    below bigint not null,
    primary key (topic, partition)
);
create index answer_answered_at on dashboard.answer (answered_at);
create index waiting_effect_at on dashboard.waiting_effect (at);

grant select, insert, update on dashboard.forgotten to waybill_dashboard;
grant delete on dashboard.step, dashboard.answer, dashboard.minute, dashboard.delay, dashboard.group_minute
   to waybill_dashboard;
