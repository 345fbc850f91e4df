//! The questions. Each query's rows are what is wrong, a sentence each.

use sqlx::{Postgres, Transaction};

/// Unpacks the log once, for all questions.
pub async fn prepare(tx: &mut Transaction<'_, Postgres>) -> sqlx::Result<()> {
    for statement in [
        // What was said of each order, by the log.
        "create temp table fact on commit drop as
         select topic, partition, \"offset\", key, headers->>'ce_id' as id,
                split_part(headers->>'ce_type', '.', 2) as type, headers
           from log.record",
        "create index on fact (key, type)",
        "analyze fact",
        // How often each kind of thing was said of an order.
        "create temp table said on commit drop as
         select o.order_id, o.status,
                count(*) filter (where f.type = 'OrderPlaced') as placed,
                count(*) filter (where f.type = 'OrderCancelled') as cancelled,
                count(*) filter (where f.type = 'ShipmentScheduled') as scheduled,
                count(*) filter (where f.type = 'ShipmentDispatched') as dispatched,
                count(*) filter (where f.type = 'ShipmentDelivered') as delivered,
                count(*) filter (where f.type = 'ShipmentCancelled') as stopped,
                count(*) filter (where f.type = 'InvoiceIssued') as invoiced,
                count(*) filter (where f.type = 'CreditNoteIssued') as credited
           from orders.customer_order o
           left join fact f on f.key = o.order_id::text and f.topic !~ '\\.(dlq|redrive)$'
          group by 1, 2",
        // The mails that an order is owed.
        "create temp table owed on commit drop as
         select o.order_id, k.kind
           from orders.customer_order o,
                unnest(array['confirmation', 'invoice']
                    || case o.status when 'delivered' then array['dispatched', 'delivered']
                                     when 'cancelled' then array['cancellation', 'credit_note']
                                     else '{}' end) as k(kind)",
        "create unique index on owed (order_id, kind)",
    ] {
        sqlx::query(statement).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Question and query.
pub const QUESTIONS: [(&str, &str); 18] = [
    (
        // Stricter than the log's own findings: by now nothing may wait for its offset, but lines of
        // topic `log`, which services write to the very last.
        "every batch that was committed has offsets, once",
        "select format('batch %s of topic %s partition %s has offsets %s times', b.id, b.topic, b.partition, count(e.id))
           from log.record_batch b
           left join (select unnest(ids) as id from log.block) e on e.id = b.id
          where b.topic <> (select log.topic_id('log'))
          group by b.id, b.topic, b.partition having count(e.id) <> 1",
    ),
    ("the log finds nothing wrong with itself", "select * from log.findings()"),
    (
        "a group's progress goes forward, one step at a time",
        "select format('subscription %s partition %s: seq %s goes from %s to %s', subscription, partition, seq, before, committed)
           from (select *, lag(committed) over w as before, lag(seq) over w as before_seq
                   from log.progress window w as (partition by subscription, partition order by seq)) p
          where committed < before or seq <> before_seq + 1",
    ),
    (
        "every event was published once",
        "select format('event %s of type %s stands %s times in topic %s', id, type, count(*), min(topic))
           from fact where topic !~ '\\.(dlq|redrive)$' and id is not null group by id, type having count(*) > 1",
    ),
    (
        "every accepted order was published, and nothing else",
        "select format('order %s was published %s times', order_id, placed) from said where placed <> 1
         union all
         select format('OrderPlaced at %s/%s@%s is of order %s, which does not exist', topic, partition, \"offset\", key)
           from fact where type = 'OrderPlaced' and topic = 'order'
            and not exists (select from orders.customer_order o where o.order_id::text = fact.key)
            -- A forged or poisoned record that was given up says so itself.
            and not exists (select from fact dead where dead.topic like '%.dlq'
                               and dead.headers->>'dlq.topic' = fact.topic
                               and (dead.headers->>'dlq.partition')::int = fact.partition
                               and (dead.headers->>'dlq.offset')::bigint = fact.\"offset\")",
    ),
    (
        "every order is delivered or cancelled",
        "select format('order %s is %s', order_id, status) from said where status not in ('delivered', 'cancelled')",
    ),
    (
        "every order has the events of its fate, each once",
        "select format('order %s is %s, but was scheduled %s, dispatched %s, delivered %s, stopped %s, cancelled %s times',
                       order_id, status, scheduled, dispatched, delivered, stopped, cancelled)
           from said
          where (status = 'delivered' and (scheduled, dispatched, delivered, stopped, cancelled) <> (1, 1, 1, 0, 0))
             or (status = 'cancelled' and (scheduled, dispatched, delivered, stopped, cancelled) <> (1, 0, 0, 1, 1))",
    ),
    (
        "every order was invoiced once, and credited if it was cancelled",
        "select format('order %s is %s, but has %s InvoiceIssued and %s CreditNoteIssued', order_id, status, invoiced, credited)
           from said where invoiced <> 1 or credited <> case status when 'cancelled' then 1 else 0 end",
    ),
    (
        "a parcel is scheduled, dispatched and delivered in this order",
        "select format('order %s: %s at offset %s comes after %s', key, type, \"offset\", before)
           from (select key, type, \"offset\", lag(type) over (partition by key order by \"offset\") as before
                   from fact where topic = 'shipment') s
          where (coalesce(before, ''), type) not in (
                ('', 'ShipmentScheduled'), ('ShipmentScheduled', 'ShipmentDispatched'),
                ('ShipmentScheduled', 'ShipmentCancelled'), ('ShipmentDispatched', 'ShipmentDelivered'))",
    ),
    (
        "every order has a shipment of the same fate",
        "select format('order %s is %s, its shipment is %s', o.order_id, o.status, coalesce(s.status, 'missing'))
           from orders.customer_order o left join delivery.shipment s on s.order_id = o.order_id
          where o.status is distinct from s.status",
    ),
    (
        "every order has an invoice of the same amount, and a credit note if it was cancelled",
        "select format('order %s over %s has an invoice over %s', o.order_id, o.gross, coalesce(i.gross::text, 'nothing: it is missing'))
           from orders.customer_order o
           left join invoice.document i on i.order_id = o.order_id and i.kind = 'invoice'
          where o.gross is distinct from i.gross
         union all
         select format('order %s is %s, its credit note is %s', o.order_id, o.status, coalesce(c.number, 'missing'))
           from orders.customer_order o
           left join invoice.document c on c.order_id = o.order_id and c.kind = 'credit_note'
          where (o.status = 'cancelled') <> (c.order_id is not null)",
    ),
    (
        "invoices are numbered without a gap",
        "select format('series %s has %s documents and goes up to %s', series, count(*), max(seq))
           from invoice.document group by series having count(*) <> max(seq)",
    ),
    (
        "every order has its mails, each once",
        "select format('order %s has no mail of kind %s', w.order_id, w.kind)
           from owed w left join email.mail m on m.subject_id = w.order_id and m.kind = w.kind
          where m.id is null
         union all
         select format('order %s has %s mails of kind %s', subject_id, count(*), kind)
           from email.mail where kind <> 'promotion' group by subject_id, kind having count(*) > 1",
    ),
    (
        "every mail was told of: sent or bounced",
        "select format('mail %s of kind %s for %s is %s and was told of %s times', m.id, m.kind, m.subject_id, m.status, count(f.key))
           from email.mail m
           left join fact f on f.topic = 'mail' and f.key = m.subject_id::text
                and f.type = case m.status when 'sent' then 'MailSent' else 'MailBounced' end
                and f.id is not null
          where m.kind <> 'promotion'
          group by m.id
         having count(f.key) <> (select count(*) from email.mail s where s.subject_id = m.subject_id and s.status = m.status)",
    ),
    (
        "no shipment, document or mail is of an order that does not exist",
        "select format('%s %s is of no order', what, order_id) from (
            select 'shipment of' as what, order_id from delivery.shipment
            union all select kind, order_id from invoice.document
            union all select kind, subject_id from email.mail where kind <> 'promotion') x
          where not exists (select from orders.customer_order o where o.order_id = x.order_id)
            and not exists (select from fact f where f.topic like '%.dlq' and f.key = x.order_id::text)",
    ),
    (
        "an order's story tells all of its events, in their topics' order",
        "select format('order %s: the story has %s steps up to number %s, the log %s events', o.order_id, s.steps, s.top, f.facts)
           from orders.customer_order o
          cross join lateral (select count(*) as steps, coalesce(max(seq), 0) as top
                                from orders.order_event e where e.order_id = o.order_id) s
          cross join lateral (select count(*) as facts from fact f
                               where f.key = o.order_id::text and f.topic in ('order', 'shipment', 'invoice', 'mail')) f
          where s.steps <> s.top or s.steps <> f.facts
         union all
         select format('order %s: step %s of topic %s goes back from offset %s to %s', order_id, seq, topic, before, record_offset)
           from (select order_id, seq, topic, record_offset,
                        lag(record_offset) over (partition by order_id, topic order by seq) as before
                   from orders.order_event) e
          where record_offset <= before",
    ),
    (
        "the dashboard's timelines tell every event, and it counts each once",
        "select format('%s at %s/%s@%s is in no timeline', f.type, f.topic, f.partition, f.\"offset\")
           from fact f
          where f.topic in ('order', 'shipment', 'invoice', 'mail', 'promotion') and f.id is not null
            and not exists (select from dashboard.step s
                             where (s.topic, s.partition, s.record_offset) = (f.topic, f.partition, f.\"offset\"))
            and not exists (select from dashboard.forgotten g
                             where (g.topic, g.partition) = (f.topic, f.partition) and f.\"offset\" < g.below)
            and not exists (select from fact dead
                             where dead.topic = f.topic || '.analytics.dlq'
                               and (dead.headers->>'dlq.partition')::int = f.partition
                               and (dead.headers->>'dlq.offset')::bigint = f.\"offset\")
         union all
         select format('%s of %s/%s: %s steps, %s counted', kind, topic, partition, coalesce(s.n, 0), coalesce(m.n, 0))
           from (select topic, partition, kind, count(*) as n from dashboard.step group by 1, 2, 3) s
           full join (select topic, partition, kind, sum(n)::bigint as n from dashboard.minute group by 1, 2, 3) m
                using (topic, partition, kind)
          where s.n is distinct from m.n
            and (topic, partition) not in (select g.topic, g.partition from dashboard.forgotten g)",
    ),
    (
        "every dead letter says where it is from and why",
        "select format('%s/%s@%s does not say', topic, partition, \"offset\") from fact f
          where topic like '%.dlq'
            and (headers->>'dlq.error' is null or not exists (
                select from fact source where source.topic = f.headers->>'dlq.topic'
                   and source.partition = (f.headers->>'dlq.partition')::int
                   and source.\"offset\" = (f.headers->>'dlq.offset')::bigint))",
    ),
];

/// Dead letters, explained: nothing is wrong with having them.
pub const DEAD_LETTERS: &str = "
    select format('dead letter %s@%s is from %s/%s@%s, given up after %s attempts: %s', topic, \"offset\",
                  headers->>'dlq.topic', headers->>'dlq.partition', headers->>'dlq.offset', headers->>'dlq.attempts', headers->>'dlq.error')
      from fact where topic like '%.dlq' and headers->>'dlq.error' is not null order by topic, \"offset\"";

/// Message-ID and description of what a mail server took.
pub const SENT_MAILS: &str = "
    select message_id, format('mail of kind %s for %s', kind, subject_id) from email.mail where status = 'sent'";

/// How much was recounted.
pub const COUNTS: &str = "
    select format('%s %s', n, what) from (
        select 1, count(*), 'orders' from orders.customer_order
        union all select 2, count(*), 'shipments' from delivery.shipment
        union all select 3, count(*), 'invoices and credit notes' from invoice.document
        union all select 4, count(*), 'mails' from email.mail
        union all select 5, count(*), 'records' from fact) c(i, n, what)
     order by i";
