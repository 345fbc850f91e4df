-- What was said of each order, without names and addresses: those stay in the log.
create table dashboard.step (
    -- The record's place. A group that was seeked back finds its rows and adds none.
    topic text not null,
    partition int not null,
    record_offset bigint not null,
    -- The order; of a promotion, the promotion.
    subject_id uuid not null,
    -- The event's type without system and version, as OrderPlaced.
    kind text not null,
    -- When it happened, as the event says.
    at timestamptz not null,
    published_at timestamptz not null,
    details jsonb not null,
    primary key (topic, partition, record_offset)
);
create index step_subject on dashboard.step (subject_id);
create index step_kind_at on dashboard.step (kind, at);

-- How many of each kind happened in each minute. A row a partition, so that partitions, which
-- are counted side by side, do not wait for each other.
create table dashboard.minute (
    minute timestamptz not null,
    kind text not null,
    topic text not null,
    partition int not null,
    -- ISO 4217; empty where the event is about no money.
    currency text not null,
    n bigint not null,
    -- In minor units.
    amount bigint not null,
    primary key (minute, kind, topic, partition, currency)
);

-- Answers to orders that were placed from the page.
create table dashboard.answer (
    order_id uuid primary key,
    status int not null,
    -- From the request's last byte to the answer's, as the dashboard saw it.
    micros bigint not null,
    answered_at timestamptz not null default now()
);

grant select, insert on dashboard.step, dashboard.answer to waybill_dashboard;
grant select, insert, update on dashboard.minute to waybill_dashboard;
