//! The rows of schema `invoice`.

use std::collections::HashSet;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use contracts::Total;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::{Corrected, Draft, Issued, Kind, number};

/// What one turn of the renderer takes at most: it holds their rows meanwhile.
const RENDERED_AT_ONCE: i64 = 20;

/// Issues documents for those orders that have none of this kind, in the order of `drafts`.
pub async fn issue(
    conn: &mut PgConnection,
    kind: Kind,
    mut drafts: Vec<Draft>,
) -> sqlx::Result<()> {
    let issued = sqlx::query_scalar!(
        "select order_id from invoice.document where kind = $1 and order_id = any ($2)",
        kind.as_str(),
        &drafts.iter().map(|draft| draft.order_id).collect::<Vec<_>>(),
    );
    let mut seen: HashSet<Uuid> = issued.fetch_all(&mut *conn).await?.into_iter().collect();
    drafts.retain(|draft| seen.insert(draft.order_id));
    if drafts.is_empty() {
        return Ok(());
    }
    // Whoever else issues one for an order that is new here, as another partition could after
    // a topic got more of them, makes the INSERT fail, and the next attempt finds it.
    let numbers = take_numbers(conn, kind, drafts.len() as i64).await?;
    insert(conn, kind, &numbers, &drafts).await
}

/// Consecutive numbers of one series, and the date that goes with them.
struct Numbers {
    series: String,
    seqs: Vec<i64>,
    issued_on: NaiveDate,
}

/// Takes numbers; until the transaction ends, nobody else takes any.
async fn take_numbers(conn: &mut PgConnection, kind: Kind, count: i64) -> sqlx::Result<Numbers> {
    let (invoices, credit_notes) = match kind {
        Kind::Invoice => (count, 0),
        Kind::CreditNote => (0, count),
    };
    // By the database's clock, which all instances share; a transaction that waited past
    // midnight for its turn must not date its documents before those that are issued.
    let row = sqlx::query!(
        r#"update invoice.counter c
              set issued_on = greatest(c.issued_on, clock.today),
                  invoices = $1 + case when date_part('year', clock.today) > date_part('year', c.issued_on) then 0 else c.invoices end,
                  credit_notes = $2 + case when date_part('year', clock.today) > date_part('year', c.issued_on) then 0 else c.credit_notes end
             from (select (now() at time zone 'UTC')::date as today) clock
           returning c.issued_on, c.invoices, c.credit_notes"#,
        invoices,
        credit_notes,
    )
    .fetch_one(conn)
    .await?;
    let last = match kind {
        Kind::Invoice => row.invoices,
        Kind::CreditNote => row.credit_notes,
    };
    Ok(Numbers {
        series: kind.series(row.issued_on.year()),
        seqs: (last - count + 1..=last).collect(),
        issued_on: row.issued_on,
    })
}

async fn insert(
    conn: &mut PgConnection,
    kind: Kind,
    numbers: &Numbers,
    drafts: &[Draft],
) -> sqlx::Result<()> {
    let Numbers { series, seqs, issued_on } = numbers;
    let corrects = |draft: &Draft| draft.corrects.as_ref().map(|invoice| invoice.number.clone());
    sqlx::query!(
        r#"insert into invoice.document
            (kind, series, issued_on, seq, number, order_id, corrects, supplied_on, customer, ship_to,
             currency, lines, taxes, net, tax, gross, trace)
           select $1, $2, $3, d.*
             from unnest($4::bigint[], $5::text[], $6::uuid[], $7::text[], $8::date[], $9::jsonb[], $10::jsonb[],
                         $11::text[], $12::jsonb[], $13::jsonb[], $14::bigint[], $15::bigint[], $16::bigint[], $17::text[])
               as d(seq, number, order_id, corrects, supplied_on, customer, ship_to,
                    currency, lines, taxes, net, tax, gross, trace)
            order by seq"#,
        kind.as_str(),
        series,
        issued_on,
        seqs,
        &seqs.iter().map(|seq| number(series, *seq)).collect::<Vec<_>>(),
        &drafts.iter().map(|draft| draft.order_id).collect::<Vec<_>>(),
        &drafts.iter().map(corrects).collect::<Vec<_>>() as _,
        &drafts.iter().map(|draft| draft.supplied_on).collect::<Vec<_>>(),
        &drafts.iter().map(|draft| Json(&draft.customer)).collect::<Vec<_>>() as _,
        &drafts.iter().map(|draft| Json(&draft.ship_to)).collect::<Vec<_>>() as _,
        &drafts.iter().map(|draft| draft.currency.clone()).collect::<Vec<_>>(),
        &drafts.iter().map(|draft| Json(&draft.lines)).collect::<Vec<_>>() as _,
        &drafts.iter().map(|draft| Json(&draft.taxes)).collect::<Vec<_>>() as _,
        &drafts.iter().map(|draft| draft.total.net).collect::<Vec<_>>(),
        &drafts.iter().map(|draft| draft.total.tax).collect::<Vec<_>>(),
        &drafts.iter().map(|draft| draft.total.gross).collect::<Vec<_>>(),
        &drafts.iter().map(|draft| draft.trace.clone()).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A document's row as it is read. What is in its JSON is looked at later, so that one row
/// that an older or newer program wrote does not spoil a whole answer.
pub struct Row {
    pub id: i64,
    pub number: String,
    pub failures: i32,
    issued_on: NaiveDate,
    order_id: Uuid,
    corrects: Option<String>,
    corrects_issued_on: Option<NaiveDate>,
    supplied_on: NaiveDate,
    customer: Value,
    ship_to: Value,
    currency: String,
    lines: Value,
    taxes: Value,
    net: i64,
    tax: i64,
    gross: i64,
    trace: String,
}

impl TryFrom<Row> for Issued {
    type Error = serde_json::Error;

    fn try_from(row: Row) -> Result<Issued, serde_json::Error> {
        let corrects = row.corrects.zip(row.corrects_issued_on);
        let draft = Draft {
            order_id: row.order_id,
            corrects: corrects.map(|(number, issued_on)| Corrected { number, issued_on }),
            supplied_on: row.supplied_on,
            customer: serde_json::from_value(row.customer)?,
            ship_to: serde_json::from_value(row.ship_to)?,
            currency: row.currency,
            lines: serde_json::from_value(row.lines)?,
            taxes: serde_json::from_value(row.taxes)?,
            total: Total { net: row.net, tax: row.tax, gross: row.gross },
            trace: row.trace,
        };
        Ok(Issued { number: row.number, issued_on: row.issued_on, draft })
    }
}

/// The invoices of orders, for what is to correct them.
pub async fn invoices(conn: &mut PgConnection, order_ids: &[Uuid]) -> sqlx::Result<Vec<Issued>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, number, failures, issued_on, order_id, corrects, null::date as corrects_issued_on,
                  supplied_on, customer, ship_to, currency, lines, taxes, net, tax, gross, trace
             from invoice.document where kind = 'invoice' and order_id = any ($1)"#,
        order_ids
    )
    .fetch_all(conn)
    .await?;
    let invoices = rows.into_iter().map(Issued::try_from).collect::<Result<_, _>>();
    invoices.map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Takes documents that wait to be rendered and that nobody else has taken, oldest first.
/// A credit note waits for its invoice, so that their events come in this order.
pub async fn take_unrendered(conn: &mut PgConnection) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"select d.id, d.number, d.failures, d.issued_on, d.order_id, d.corrects, i.issued_on as "corrects_issued_on?",
                  d.supplied_on, d.customer, d.ship_to, d.currency, d.lines, d.taxes, d.net, d.tax, d.gross, d.trace
             from invoice.document d
             left join invoice.document i on i.number = d.corrects
            where d.pdf is null and d.render_after <= now()
              and (d.corrects is null or i.pdf is not null)
            order by d.id limit $1
            -- No key is updated: a credit note may refer to its invoice meanwhile.
              for no key update of d skip locked"#,
        RENDERED_AT_ONCE
    )
    .fetch_all(conn)
    .await
}

/// Stores PDFs by their documents' ids.
pub async fn keep_pdfs(
    conn: &mut PgConnection,
    pdfs: Vec<(i64, Vec<u8>)>,
    rendered_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (ids, pdfs): (Vec<_>, Vec<_>) = pdfs.into_iter().unzip();
    sqlx::query!(
        r#"update invoice.document d set pdf = r.pdf, rendered_at = $3, error = null
             from unnest($1::bigint[], $2::bytea[]) r(id, pdf) where d.id = r.id"#,
        &ids,
        &pdfs,
        rendered_at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes why documents could not be rendered; they are due again after a second, then two,
/// then four, at last every ten minutes.
pub async fn put_off(conn: &mut PgConnection, failed: Vec<(i64, String)>) -> sqlx::Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    let (ids, errors): (Vec<_>, Vec<_>) = failed.into_iter().unzip();
    sqlx::query!(
        r#"update invoice.document d
              set failures = d.failures + 1, error = f.error,
                  render_after = now() + least(600, power(2, least(d.failures, 10))) * interval '1 second'
             from unnest($1::bigint[], $2::text[]) f(id, error) where d.id = f.id"#,
        &ids,
        &errors
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A document without its PDF.
pub struct Found {
    pub number: String,
    pub issued_on: NaiveDate,
    pub corrects: Option<String>,
    pub currency: String,
    pub lines: Value,
    pub taxes: Value,
    pub net: i64,
    pub tax: i64,
    pub gross: i64,
    pub rendered: bool,
    pub error: Option<String>,
}

/// An order's documents, the invoice first.
pub async fn find(pool: &PgPool, order_id: Uuid) -> sqlx::Result<Vec<Found>> {
    sqlx::query_as!(
        Found,
        r#"select number, issued_on, corrects, currency, lines, taxes, net, tax, gross,
                  pdf is not null as "rendered!", error
             from invoice.document where order_id = $1 order by id"#,
        order_id
    )
    .fetch_all(pool)
    .await
}

/// A document's PDF, if and when it is rendered.
pub struct Rendered {
    pub number: String,
    pub pdf: Option<Vec<u8>>,
}

pub async fn find_pdf(pool: &PgPool, order_id: Uuid, kind: Kind) -> sqlx::Result<Option<Rendered>> {
    sqlx::query_as!(
        Rendered,
        "select number, pdf from invoice.document where order_id = $1 and kind = $2",
        order_id,
        kind.as_str()
    )
    .fetch_optional(pool)
    .await
}
