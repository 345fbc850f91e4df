//! Orders go in; documents with numbers, PDFs and events come out.
#![allow(clippy::unwrap_used)]

mod http;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use broker::NewRecord;
use chassis::{EventTransaction, Trace};
use contracts::{CreditNoteIssued, Event, InvoiceIssued, OrderPlaced};
use serde_json::Value;
use test_support::eventually;
use uuid::Uuid;
use world::{World, assert_shows, cancelled, in_one_partition, invoices, order, orders, series};

#[actix_rt::test]
async fn numbers_have_no_gap_whoever_takes_them() {
    let world = World::new().await;
    let orders = orders(300);
    let (first, rest) = orders.split_at(120);
    for some in first.chunks(40) {
        world.publish(some).await;
    }
    let services = [world.start().await, world.start().await];
    for some in rest.chunks(20) {
        world.publish(some).await;
    }
    world.wait_for("invoice", 300).await;

    assert_eq!(world.numbers("invoice").await, series("INV", 300));
    let partitions: i64 = sqlx::query_scalar(
        "select count(distinct partition) from log.record where topic = 'order'",
    )
    .fetch_one(&world.db.pool)
    .await
    .unwrap();
    assert_eq!(partitions, 8);

    let stored: Vec<(String, Uuid, Vec<u8>)> =
        sqlx::query_as("select number, order_id, pdf from invoice.document")
            .fetch_all(&world.db.pool)
            .await
            .unwrap();
    let stored: BTreeMap<_, _> =
        stored.into_iter().map(|(number, order_id, pdf)| (number, (order_id, pdf))).collect();
    let events = invoices(world.events("invoice", 300).await);
    let told: BTreeMap<_, _> = events
        .iter()
        .map(|event| (event.number.clone(), (event.order_id, event.pdf.0.clone())))
        .collect();
    assert!(told == stored, "what was told is not what is stored");
    let ids: BTreeSet<_> = orders.iter().map(|order| order.order_id).collect();
    assert_eq!(ids, events.iter().map(|event| event.order_id).collect());

    let one = &events[0];
    let (order_id, date) = (one.order_id.to_string(), one.issued_on.to_string());
    let expected = ["Tea & Co", "20457 Hamburg", "DE123456789", "Ada Lovelace", "SW1Y 4LB London"];
    assert_shows(&one.pdf.0, &[&one.number, &order_id, &date]);
    assert_shows(&one.pdf.0, &expected);
    assert_shows(&one.pdf.0, &["Earl Grey", "84.70 EUR", "13.12 EUR", "97.82 EUR"]);
    assert_eq!(world.dead_letters().await, BTreeMap::new());
    world.end(services).await;
}

#[actix_rt::test]
async fn what_cannot_be_invoiced_leaves_no_gap() {
    let world = World::new().await;
    let good = orders(40);
    let mut off = order();
    off.total.gross += 1;
    let mut records: Vec<NewRecord> = good.iter().map(in_one_partition).collect();
    // Each rolls its batch back; by the cancellation's turn, the orders before it have their
    // numbers.
    let unknown = cancelled(&order());
    records.insert(10, in_one_partition(&off));
    records.insert(20, in_one_partition(&unknown));
    records
        .insert(30, NewRecord::new("order", "{").partition(0).header("ce_type", OrderPlaced::TYPE));
    world.broker.publish(records).await.unwrap();
    let service = world.start().await;
    world.wait_for("invoice", 40).await;

    assert_eq!(world.numbers("invoice").await, series("INV", 40));
    let dead = eventually("dead letters", async || {
        let dead = world.dead_letters().await;
        (dead.len() == 3).then_some(dead)
    })
    .await;
    assert_eq!(dead[&10], "total.gross is 9783, but should be 9782");
    assert!(dead[&20].contains(&format!("order {} has no invoice", unknown.order_id)), "{dead:?}");
    assert!(dead[&30].contains("value is no waybill.OrderPlaced.v1"), "{dead:?}");
    world.events("invoice", 40).await;
    world.end([service]).await;
}

#[actix_rt::test]
async fn a_cancelled_order_gets_a_credit_note() {
    let world = World::new().await;
    let orders = orders(60);
    // Of both kinds in each batch, and in two instances at once.
    let mut tx = world.broker.begin().await.unwrap();
    for some in orders.chunks(5) {
        let trace = Trace::from_header(None);
        some.iter().for_each(|order| tx.publish_event(order, &trace).unwrap());
        some.iter().for_each(|order| tx.publish_event(&cancelled(order), &trace).unwrap());
    }
    tx.commit().await.unwrap();
    let services = [world.start().await, world.start().await];
    world.wait_for("invoice", 60).await;
    world.wait_for("credit_note", 60).await;
    assert_eq!(world.numbers("invoice").await, series("INV", 60));
    assert_eq!(world.numbers("credit_note").await, series("CN", 60));

    let mut by_order: BTreeMap<Uuid, Vec<(String, Value)>> = BTreeMap::new();
    for (name, value) in world.events("invoice", 120).await {
        let order_id = value["order_id"].as_str().unwrap().parse().unwrap();
        by_order.entry(order_id).or_default().push((name, value));
    }
    assert_eq!(by_order.len(), 60);
    for events in by_order.into_values() {
        let [(first, invoice), (second, credit_note)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&**first, &**second), (InvoiceIssued::TYPE, CreditNoteIssued::TYPE));
        let invoice: InvoiceIssued = serde_json::from_value(invoice.clone()).unwrap();
        let credit: CreditNoteIssued = serde_json::from_value(credit_note.clone()).unwrap();
        assert_eq!(credit.corrects, invoice.number);
        assert_eq!((credit.total.net, credit.total.tax, credit.total.gross), (-8470, -1312, -9782));
        assert_eq!(credit.customer, invoice.customer);
        let numbers = [&*credit.number, &*invoice.number];
        assert_shows(&credit.pdf.0, &numbers);
        assert_shows(&credit.pdf.0, &["-84.70 EUR", "-97.82 EUR"]);
    }
    assert_eq!(world.dead_letters().await, BTreeMap::new());
    world.end(services).await;
}

#[actix_rt::test]
async fn a_credit_note_waits_for_its_invoice() {
    let world = World::new().await;
    let cancelled_order = order();
    world.publish(std::slice::from_ref(&cancelled_order)).await;
    let service = world.start().await;
    world.wait_for("invoice", 1).await;
    world
        .execute(
            "update invoice.document set pdf = null, rendered_at = null, render_after = 'infinity'",
        )
        .await;
    world.publish(&[cancelled(&cancelled_order)]).await;
    eventually("the credit note to be numbered", async || {
        (world.count("credit_note", false).await == 1).then_some(())
    })
    .await;
    // Whatever could be rendered before this one is.
    world.publish(&[order()]).await;
    world.wait_for("invoice", 1).await;
    assert_eq!(world.count("credit_note", false).await, 1);

    world.execute("update invoice.document set render_after = now() where pdf is null").await;
    world.wait_for("credit_note", 1).await;
    world.wait_for("invoice", 2).await;
    world.end([service]).await;
}

#[actix_rt::test]
async fn an_order_has_one_invoice_however_often_it_is_told_about() {
    let world = World::new().await;
    let (twice, once) = (order(), order());
    let records = [&twice, &twice, &once].map(in_one_partition);
    world.broker.publish(records).await.unwrap();
    let service = world.start().await;
    world.wait_for("invoice", 2).await;
    // Again, with a cancellation that comes twice, and from another partition.
    let last = order();
    let cancelled = cancelled(&twice);
    let records = [
        in_one_partition(&twice),
        in_one_partition(&cancelled),
        in_one_partition(&cancelled),
        in_one_partition(&last),
    ];
    world.broker.publish(records).await.unwrap();
    world.broker.publish([in_one_partition(&last).partition(1)]).await.unwrap();
    world.wait_for("credit_note", 1).await;
    world.wait_for("invoice", 3).await;

    let all = world.events("invoice", 4).await;
    assert_eq!(all.iter().filter(|(name, _)| name == InvoiceIssued::TYPE).count(), 3);
    assert_eq!(world.numbers("invoice").await, series("INV", 3));
    assert_eq!(world.numbers("credit_note").await, series("CN", 1));
    assert_eq!(world.dead_letters().await, BTreeMap::new());
    world.end([service]).await;
}

#[actix_rt::test]
async fn numbers_start_anew_with_the_year_and_dates_never_go_back() {
    let world = World::new().await;
    world
        .execute(
            "update invoice.counter set issued_on = '2025-12-31', invoices = 41, credit_notes = 7",
        )
        .await;
    let service = world.start().await;
    world.publish(&[order()]).await;
    world.wait_for("invoice", 1).await;
    assert_eq!(world.numbers("invoice").await, series("INV", 1));

    // As after a clock that was ahead.
    world.execute("update invoice.counter set issued_on = '2999-12-31', invoices = 41").await;
    world.publish(&[order()]).await;
    world.wait_for("invoice", 2).await;
    let newest: (String, String) = sqlx::query_as(
        "select number, issued_on::text from invoice.document order by id desc limit 1",
    )
    .fetch_one(&world.db.pool)
    .await
    .unwrap();
    assert_eq!(newest, ("INV-2999-000042".into(), "2999-12-31".into()));
    world.end([service]).await;
}
