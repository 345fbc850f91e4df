create table invoice.document (
    -- In the order of issue.
    id bigint generated always as identity primary key,
    order_id uuid not null,
    kind text not null check (kind in ('invoice', 'credit_note')),
    -- As INV-2026; in each, seq goes from 1 without gaps.
    series text not null,
    seq bigint not null check (seq > 0),
    -- Both, as it is printed: INV-2026-000001.
    number text not null unique,
    -- In UTC, like the year of the series.
    issued_on date not null,
    numbered_at timestamptz not null default now(),
    -- A credit note's invoice.
    corrects text references invoice.document (number),
    supplied_on date not null,
    -- All that follows is as the order had it, a credit note's amounts negative.
    customer jsonb not null,
    ship_to jsonb not null,
    currency text not null,
    lines jsonb not null,
    taxes jsonb not null,
    net bigint not null,
    tax bigint not null,
    gross bigint not null,
    -- The trace of what caused it, for what the renderer publishes.
    trace text not null,
    -- Null: not rendered yet, and nobody was told.
    pdf bytea,
    rendered_at timestamptz,
    -- Renderings that failed, why the last one did, and when the next is due.
    failures int not null default 0,
    error text,
    render_after timestamptz not null default now(),
    -- An order has one of each, however often it is told about.
    constraint document_once_an_order unique (order_id, kind),
    constraint document_number_once unique (series, seq),
    constraint document_adds_up check (net + tax = gross),
    constraint document_corrects check ((kind = 'credit_note') = (corrects is not null)),
    constraint document_rendered check ((pdf is null) = (rendered_at is null))
);
-- A PDF is compressed already.
alter table invoice.document alter column pdf set storage external;
create index document_to_render on invoice.document (id) where pdf is null;

grant select, insert, update on invoice.document to waybill_invoice;
