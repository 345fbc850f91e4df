create table delivery.shipment (
    -- An order has one shipment, however often it is told about.
    order_id uuid primary key,
    shipment_id uuid not null unique,
    status text not null check (status in ('scheduled', 'dispatched', 'delivered', 'cancelled')),
    customer jsonb not null,
    ship_to jsonb not null,
    tracking_code text not null unique,
    scheduled_at timestamptz not null default now(),
    dispatch_at timestamptz not null,
    deliver_at timestamptz not null,
    dispatched_at timestamptz,
    delivered_at timestamptz,
    cancelled_at timestamptz,
    -- When the clock has to act next; null: never again.
    due_at timestamptz,
    -- The trace of the order, for what the clock publishes.
    trace text not null
);
create index shipment_due on delivery.shipment (due_at) where due_at is not null;

grant select, insert, update on delivery.shipment to waybill_delivery;
