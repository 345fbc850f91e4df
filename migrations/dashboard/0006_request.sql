-- Requests for orders, as the order service tells in topic `log` how it answered them: the one that
-- placed the order, and those that came again with its Idempotency-Key. Those in `answer` are what
-- the dashboard saw of the ones that it sent itself.
create table dashboard.request (
    order_id uuid not null,
    answered_at timestamptz not null,
    status int not null,
    -- From the request, read, to the answer, ready to be sent.
    micros bigint not null,
    replayed boolean not null,
    -- What is read again adds nothing.
    primary key (order_id, answered_at)
);
create index request_answered_at on dashboard.request (answered_at);

grant select, insert, delete on dashboard.request to waybill_dashboard;
