create table orders.customer_order (
    order_id uuid primary key,
    placed_at timestamptz not null,
    status text not null default 'placed'
        check (status in ('placed', 'scheduled', 'dispatched', 'delivered', 'cancelled')),
    -- Null: nobody asked to cancel.
    cancellation text check (cancellation in ('requested', 'accepted', 'refused')),
    customer jsonb not null,
    ship_to jsonb not null,
    currency text not null,
    net bigint not null,
    tax bigint not null,
    gross bigint not null,
    tracking_code text,
    invoice_number text,
    credit_note_number text,
    constraint customer_order_adds_up check (net + tax = gross)
);

create table orders.order_line (
    order_id uuid not null references orders.customer_order,
    position int not null,
    sku text not null,
    -- Name and price of that moment: the catalogue may change.
    name text not null,
    quantity int not null check (quantity between 1 and 1000),
    unit_price bigint not null,
    tax_rate int not null,
    net bigint not null check (net = quantity * unit_price),
    primary key (order_id, position)
);

-- What was answered to each Idempotency-Key, kept for a day.
create table orders.idempotency (
    key text primary key,
    -- SHA-256 of the request: the same key with another body is the client's mistake.
    fingerprint bytea not null,
    order_id uuid not null,
    answer text not null,
    created_at timestamptz not null default now()
);
create index idempotency_age on orders.idempotency (created_at);

-- An order's story, as its clients follow it.
create table orders.order_event (
    order_id uuid not null references orders.customer_order,
    -- From 1, without gaps: what a client names as Last-Event-ID.
    seq int not null,
    type text not null,
    at timestamptz not null,
    data jsonb not null,
    -- The record that told it.
    topic text not null,
    partition int not null,
    record_offset bigint not null,
    primary key (order_id, seq)
);

grant select, insert, update on orders.customer_order to waybill_order;
grant select, insert on orders.order_line, orders.order_event to waybill_order;
grant select, insert, delete on orders.idempotency to waybill_order;
