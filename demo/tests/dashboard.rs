//! The dashboard of the whole system: an order placed from its page, and its passport.
#![allow(clippy::unwrap_used)]

mod common;

use common::{PATIENCE, Place};
use reqwest::Response;
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use std::time::{Duration, Instant};

/// Everything that a passport tells of an order that went all the way.
const STEPS: [&str; 11] = [
    "<h3>OrderPlaced</h3>",
    "<h3>ShipmentScheduled</h3>",
    "<h3>ShipmentDispatched</h3>",
    "<h3>ShipmentDelivered</h3>",
    "<h3>InvoiceIssued</h3>",
    "/pdf\">Open the PDF</a>",
    "confirmation, Message-ID",
    "invoice, Message-ID",
    "dispatched, Message-ID",
    "delivered, Message-ID",
    "/groups/email\">email</a>: past it",
];

/// The page, once it tells all of this.
async fn page_with(http: &reqwest::Client, url: &str, told: &[&str]) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = http.get(url).send().await.unwrap().text().await.unwrap();
        if told.iter().all(|told| page.contains(told)) {
            return page;
        }
        assert!(Instant::now() < deadline, "waited in vain for {told:?}: {page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn header(answer: &Response, name: reqwest::header::HeaderName) -> String {
    answer.headers()[name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_order_from_the_page_has_a_passport_with_all_that_happened() {
    let place = Place::new();
    let mut up = place.up(&[]);
    let story = up.wait_for("accepted")["order_id"].as_str().unwrap().to_owned();
    up.wait_for("complete");
    let log_in = up.ready["dashboard"].as_str().unwrap().to_owned();
    let dashboard = up.ready["urls"]["dashboard"].as_str().unwrap().to_owned();
    assert!(log_in.starts_with(&format!("{dashboard}/login?token=")), "{log_in}");
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let http = http.build().unwrap();
    let answered = "<h3>201 Created</h3>";
    let told: Vec<&str> = [answered].into_iter().chain(STEPS).collect();
    let passport = page_with(&http, &format!("{dashboard}/orders/{story}"), &told).await;
    // Nine records, and the answer to whoever placed it.
    assert_eq!(passport.matches("<h3>").count(), 10, "{passport}");

    // One that anybody placed, who did not trust the first answer.
    let place_order = async || {
        let request = http.post(format!("{}/orders", place.order_url()));
        let order = serde_json::json!({
            "customer": {"name": "Ada", "email": "ada@example.org"},
            "ship_to": {"street": "1 High St", "postal_code": "SW1Y", "city": "London", "country": "GB"},
            "lines": [{"sku": "TEA-SENCHA", "quantity": 1}],
        });
        let answer = request.header("idempotency-key", "mine-1").json(&order).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        header(&answer, LOCATION)
    };
    let placed = place_order().await;
    assert_eq!(place_order().await, placed);
    let told = [answered, "The order service answered after ", "<h3>201 Created, replayed</h3>"];
    page_with(&http, &format!("{dashboard}{placed}"), &told).await;

    let answer = http.get(log_in).send().await.unwrap();
    let cookie = header(&answer, SET_COOKIE).split(';').next().unwrap().to_owned();
    let page = http.get(&dashboard).header(COOKIE, &cookie).send().await.unwrap();
    let page = page.text().await.unwrap();
    let field = |name: &str| {
        let value = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap().1;
        value.split_once('"').unwrap().0.to_owned()
    };
    let form = [
        ("form_token", &*field("form_token")),
        ("key", &*field("key")),
        ("name", "Ada"),
        ("email", "ada@example.org"),
        ("sku", "TEA-SENCHA"),
        ("quantity", "2"),
    ];
    let post = || {
        let request = http.post(format!("{dashboard}/orders")).form(&form);
        request.header(COOKIE, &cookie).header(ORIGIN, &dashboard).send()
    };
    let answer = post().await.unwrap();
    assert_eq!(answer.status(), 303);
    let passport = format!("{dashboard}{}", header(&answer, LOCATION));
    let told: Vec<&str> = [answered, "2 × TEA-SENCHA"].into_iter().chain(STEPS).collect();
    let page = page_with(&http, &passport, &told).await;
    // Sent twice it is one order.
    assert_eq!(header(&post().await.unwrap(), LOCATION), header(&answer, LOCATION));

    // Its links lead to the invoice and to the mail.
    let pdf = page.split('"').find(|text| text.ends_with("/pdf")).unwrap();
    let pdf = http.get(pdf).send().await.unwrap().bytes().await.unwrap();
    assert!(pdf.starts_with(b"%PDF"));
    let mail = page.split('"').find(|text| text.contains("/view/latest?query=message-id")).unwrap();
    let mail = header(&http.get(mail).send().await.unwrap(), LOCATION);
    assert!(mail.starts_with("/view/"), "{mail}");
    let verify = place.run("verify", &[]);
    assert!(verify.status.success(), "{}", common::text(&verify));

    // What no group can take each gives up, and each says so in topic `log`.
    let broker = broker::Broker::connect(&place.database_url()).await.unwrap();
    let poison = broker::NewRecord::new("order", "{").key("poison");
    broker.publish([poison.header("ce_type", "waybill.OrderPlaced.v1")]).await.unwrap();
    broker.shutdown().await;
    let database = place.database().await;
    let heard = "select count(distinct consumer_group) from dashboard.attempt
                  where topic = 'order' and told like 'gave a record up%'";
    let deadline = Instant::now() + PATIENCE;
    while sqlx::query_scalar::<_, i64>(heard).fetch_one(&database).await.unwrap() < 4 {
        assert!(Instant::now() < deadline, "waited in vain for attempts");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
