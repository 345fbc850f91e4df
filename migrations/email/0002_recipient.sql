-- Who wants promotional mail, and who did once.
create table email.recipient (
    -- 256 random bits: whoever has a link with it may unsubscribe this address, and nobody
    -- can guess one.
    token text primary key,
    name text not null,
    address text not null,
    -- When the customer last asked for it; an older order, replayed, is no new wish.
    subscribed_at timestamptz not null,
    unsubscribed_at timestamptz
);
-- One entry an address, however its letters are written.
create unique index recipient_address on email.recipient (lower(address));

grant select, insert, update on email.recipient to waybill_email;
