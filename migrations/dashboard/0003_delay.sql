-- How long after its order each effect came, as histograms: they take a bounded number of rows
-- whatever happened, and add up over partitions and minutes.
--
-- Bucket b counts times above ratio^(b-1) and up to ratio^b milliseconds, with ratio 21/19; told as
-- 2 * ratio^b / (ratio + 1), a time is off by 5 % of itself at most, and so is a quantile. Bucket 0
-- counts what came within a millisecond, also by clocks that disagree; the last, what took more
-- than two years.
create function dashboard.delay_bucket(ordered timestamptz, happened timestamptz) returns smallint
language sql immutable parallel safe
begin atomic
    select least(ceil(ln(greatest(extract(epoch from happened - ordered)::float8 * 1000, 1)) / ln(21.0::float8 / 19)), 250)::smallint;
end;

create function dashboard.bucket_ms(bucket smallint) returns float8
language sql immutable parallel safe
begin atomic
    select case bucket when 0 then 0.5 else 2 * (21.0::float8 / 19) ^ bucket / (21.0::float8 / 19 + 1) end;
end;

create table dashboard.delay (
    -- In which the effect happened.
    minute timestamptz not null,
    -- The event's kind; of a mail, with what it is about.
    effect text not null,
    -- The effect's, so that partitions do not wait for each other; -1 for those that had to wait
    -- for their order.
    partition int not null,
    bucket smallint not null,
    n bigint not null,
    primary key (minute, effect, partition, bucket)
);

-- Effects whose order was not heard of yet: another partition's records tell of it.
create table dashboard.waiting_effect (
    topic text not null,
    partition int not null,
    record_offset bigint not null,
    subject_id uuid not null,
    effect text not null,
    at timestamptz not null,
    primary key (topic, partition, record_offset)
);

insert into dashboard.delay (minute, effect, partition, bucket, n)
select date_trunc('minute', e.at), e.effect, e.partition, dashboard.delay_bucket(o.at, e.at), count(*)
  from (select *, kind || coalesce(' ' || (details->>'kind'), '') as effect from dashboard.step) e
 cross join lateral (
    select min(p.at) as at from dashboard.step p
     where p.subject_id = e.subject_id and p.kind = 'OrderPlaced') o
 where o.at is not null
   and e.effect in ('ShipmentScheduled', 'ShipmentDispatched', 'ShipmentDelivered', 'InvoiceIssued',
                    'MailSent confirmation', 'MailSent dispatched', 'MailSent delivered', 'MailSent invoice')
 group by 1, 2, 3, 4;

-- How many records each group had committed, at the last look in each minute.
create table dashboard.group_minute (
    minute timestamptz not null,
    consumer_group text not null,
    -- Of all its partitions together.
    committed bigint not null,
    primary key (minute, consumer_group)
);

grant select, insert, update on dashboard.delay, dashboard.group_minute to waybill_dashboard;
grant select, insert, update, delete on dashboard.waiting_effect to waybill_dashboard;
