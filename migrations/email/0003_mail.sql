-- What is advertised. Its mails hold no text of their own: a million of them would hold the
-- same one.
create table email.promotion (
    promotion_id uuid primary key,
    subject text not null,
    paragraphs jsonb not null,
    announced_at timestamptz not null
);

-- The queue: mail that is owed, and what became of it.
create table email.mail (
    id uuid primary key,
    -- In the order of writing.
    seq bigint generated always as identity,
    -- The same in every attempt, so that a mail that came twice is known as one.
    message_id text not null unique,
    -- The order; for a promotion, the promotion.
    subject_id uuid not null,
    kind text not null check (kind in
        ('confirmation', 'dispatched', 'delivered', 'cancellation', 'invoice', 'credit_note', 'promotion')),
    to_name text not null,
    to_address text not null,
    subject text not null,
    -- Null for a promotion, and once the mail is sent: then the customer has it, and the disk
    -- need not keep it for ever.
    text text,
    html text,
    attachment_name text,
    attachment bytea,
    -- For a promotion: whose it is.
    recipient_token text references email.recipient (token),
    -- 0 is important, 1 promotional: nobody waits for a receipt behind a million offers.
    priority smallint not null check (priority in (0, 1)),
    status text not null default 'queued' check (status in ('queued', 'sent', 'bounced')),
    -- How often it was taken to be sent. Whoever took it last is the one who may give it back.
    attempts int not null default 0,
    -- Not before. Taking a mail puts this off by a lease: a sender that dies with it in hand
    -- gives it back by doing nothing.
    next_attempt_at timestamptz not null default now(),
    last_error text,
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    -- The trace of what caused it, for what is published about it.
    trace text not null,
    -- A customer gets each kind at most once an order, however often it is told about.
    constraint mail_once unique (subject_id, kind, to_address),
    check (status <> 'queued' or kind = 'promotion' or (text is not null and html is not null)),
    check ((kind = 'promotion') = (recipient_token is not null))
);
-- First in, first out, important before promotional.
create index mail_queue on email.mail (priority, next_attempt_at, seq) where status = 'queued';
-- What is still to come for one who unsubscribes.
create index mail_of_recipient on email.mail (recipient_token)
    where status = 'queued' and recipient_token is not null;

grant select, insert on email.promotion to waybill_email;
grant select, insert, update, delete on email.mail to waybill_email;
