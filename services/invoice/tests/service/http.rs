//! What the service answers.

use chassis::Service;
use reqwest::{Response, StatusCode, header};
use serde_json::{Value, json};
use test_support::eventually;
use uuid::Uuid;

use crate::world::{World, cancelled, order};

async fn get(service: &Service, path: &str) -> Response {
    reqwest::get(format!("http://{}{path}", service.http_addr())).await.unwrap()
}

async fn assert_problem(response: Response, status: StatusCode, says: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
}

#[actix_rt::test]
async fn documents_are_answered_as_json_and_pdf() {
    let world = World::new().await;
    let service = world.start().await;
    let order = order();
    let path = format!("/invoices/{}", order.order_id);
    world.publish(std::slice::from_ref(&order)).await;
    world.wait_for("invoice", 1).await;
    let [number] = &world.numbers("invoice").await[..] else { panic!("one invoice") };

    let answer: Value = get(&service, &path).await.json().await.unwrap();
    assert_eq!(answer["order_id"], json!(order.order_id));
    let invoice = &answer["invoice"];
    assert_eq!(invoice["number"], json!(number));
    assert_eq!(invoice["currency"], "EUR");
    assert_eq!(invoice["lines"], json!(order.lines));
    assert_eq!(invoice["taxes"], json!(order.taxes));
    assert_eq!(invoice["total"], json!({"net": 8470, "tax": 1312, "gross": 9782}));
    assert_eq!(invoice["rendered"], true);
    assert_eq!(invoice["pdf"], json!(format!("{path}/pdf")));
    assert_eq!(answer.get("credit_note"), None);

    let response = get(&service, &format!("{path}/pdf")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers().clone();
    assert_eq!(headers[header::CONTENT_TYPE], "application/pdf");
    assert_eq!(headers[header::CONTENT_DISPOSITION], format!("inline; filename=\"{number}.pdf\""));
    let tag = headers[header::ETAG].to_str().unwrap().to_owned();
    assert!(tag.starts_with('"'), "{tag} is not strong");
    let stored: Vec<u8> = sqlx::query_scalar("select pdf from invoice.document")
        .fetch_one(&world.db.pool)
        .await
        .unwrap();
    assert!(response.bytes().await.unwrap() == stored);

    let url = format!("http://{}{path}/pdf", service.http_addr());
    for (tags, status) in [
        (format!("\"other\", {tag}"), StatusCode::NOT_MODIFIED),
        (format!("W/{tag}"), StatusCode::NOT_MODIFIED),
        ("*".into(), StatusCode::NOT_MODIFIED),
        ("\"other\"".into(), StatusCode::OK),
        ("nonsense".into(), StatusCode::OK),
    ] {
        let request = reqwest::Client::new().get(&url).header(header::ACCEPT_ENCODING, "gzip");
        let response = request.header(header::IF_NONE_MATCH, &tags).send().await.unwrap();
        assert_eq!(response.status(), status, "{tags}");
        assert_eq!(response.headers()[header::ETAG], tag);
        let body = response.bytes().await.unwrap();
        assert!(body == if status == StatusCode::OK { &stored[..] } else { b"" }, "{tags}");
    }

    let credit_path = format!("{path}/credit-note/pdf");
    assert_problem(get(&service, &credit_path).await, StatusCode::NOT_FOUND, "no credit note")
        .await;
    world.publish(&[cancelled(&order)]).await;
    world.wait_for("credit_note", 1).await;
    let answer: Value = get(&service, &path).await.json().await.unwrap();
    let credit_note = &answer["credit_note"];
    assert_eq!(credit_note["corrects"], json!(number));
    assert_eq!(credit_note["total"], json!({"net": -8470, "tax": -1312, "gross": -9782}));
    assert_eq!(credit_note["lines"][0]["net"], -2480);
    assert_eq!(credit_note["pdf"], json!(credit_path));
    let response = get(&service, &credit_path).await;
    let file = format!("inline; filename=\"{}.pdf\"", credit_note["number"].as_str().unwrap());
    assert_eq!(response.headers()[header::CONTENT_DISPOSITION], file);
    assert!(response.bytes().await.unwrap().starts_with(b"%PDF"));
    world.end([service]).await;
}

#[actix_rt::test]
async fn what_is_not_there_is_a_problem() {
    let world = World::new().await;
    let service = world.start().await;
    let nobody = Uuid::now_v7();
    for path in ["", "/pdf", "/credit-note/pdf"] {
        let response = get(&service, &format!("/invoices/{nobody}{path}")).await;
        assert_problem(response, StatusCode::NOT_FOUND, &format!("order {nobody} has no")).await;
        let response = get(&service, &format!("/invoices/42{path}")).await;
        assert_problem(response, StatusCode::NOT_FOUND, "the address is not valid here").await;
    }
    let api: Value = get(&service, "/openapi.json").await.json().await.unwrap();
    for path in ["", "/pdf", "/credit-note/pdf"] {
        assert!(api["paths"].get(format!("/invoices/{{order_id}}{path}")).is_some(), "{api}");
    }
    world.end([service]).await;
}

#[actix_rt::test]
async fn a_document_that_cannot_be_rendered_says_why_and_holds_up_none() {
    let world = World::new().await;
    let broken = order();
    world.publish(std::slice::from_ref(&broken)).await;
    let service = world.start().await;
    world.wait_for("invoice", 1).await;
    // As a row that another version of the program wrote.
    world
        .execute("update invoice.document set pdf = null, rendered_at = null, customer = '{}'")
        .await;
    let path = format!("/invoices/{}", broken.order_id);
    let invoice = eventually("the rendering to fail", async || {
        let answer: Value = get(&service, &path).await.json().await.unwrap();
        let invoice = answer["invoice"].clone();
        invoice.get("error").is_some().then_some(invoice)
    })
    .await;
    assert_eq!(invoice["rendered"], false);
    let error = invoice["error"].as_str().unwrap();
    assert!(error.contains("the row cannot be read: missing field `name`"), "{error}");
    let response = get(&service, &format!("{path}/pdf")).await;
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    assert_problem(response, StatusCode::SERVICE_UNAVAILABLE, "is not rendered yet").await;

    world.publish(&[order(), order()]).await;
    world.wait_for("invoice", 2).await;

    // Mended, it is rendered at the next try.
    world
        .execute("update invoice.document d set customer = o.customer from invoice.document o where d.pdf is null and o.pdf is not null")
        .await;
    world.wait_for("invoice", 3).await;
    let answer: Value = get(&service, &path).await.json().await.unwrap();
    assert_eq!(answer["invoice"].get("error"), None);
    assert_eq!(get(&service, &format!("{path}/pdf")).await.status(), StatusCode::OK);
    world.end([service]).await;
}
