//! The web page and Mailpit's API.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod common;

use common::start;
use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox as Address, MultiPart};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::{AsyncTransport, Message, Tokio1Executor};
use mailbox::Mailbox;
use reqwest::{Client, Response, StatusCode};

const PDF: &[u8] = b"%PDF-1.7\nnot much of one\n\0\xff";
const HOSTILE: &str = "<script>alert(1)</script>\"'&";

async fn start_http() -> Mailbox {
    start(|options| options.http = Some(([127, 0, 0, 1], 0).into())).await
}

async fn send(mailbox: &Mailbox, subject: &str) {
    let alternative = MultiPart::alternative_plain_html(
        "Your invoice, Jürgen.\n.\n".to_owned(),
        format!("<h1>Invoice</h1><script>alert(2)</script><p>{subject}"),
    );
    let pdf = Attachment::new("rechnung ü.pdf".to_owned())
        .body(PDF.to_vec(), ContentType::parse("application/pdf").unwrap());
    let page = Attachment::new("page.html".to_owned())
        .body("<script>alert(3)</script>".to_owned(), ContentType::TEXT_HTML);
    let parts = MultiPart::mixed().multipart(alternative).singlepart(pdf).singlepart(page);
    let message = Message::builder()
        .from(Address::new(Some("Shop".into()), "shop@shop.example".parse().unwrap()))
        .to("Ann <ann@a.example>".parse().unwrap())
        .bcc("hidden@b.example".parse().unwrap())
        .message_id(Some(format!("<{}@shop.example>", subject.len())))
        .subject(subject)
        .multipart(parts)
        .unwrap();
    let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&mailbox.smtp_url()).unwrap();
    transport.build().send(message).await.unwrap();
}

async fn get(mailbox: &Mailbox, path: &str) -> Response {
    Client::new()
        .get(format!("http://{}{path}", mailbox.http_addr().unwrap()))
        .send()
        .await
        .unwrap()
}

async fn json(mailbox: &Mailbox, path: &str) -> serde_json::Value {
    let response = get(mailbox, path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn the_list_has_mailpits_shape_and_pages() {
    let mailbox = start_http().await;
    for subject in ["1", "22", "333"] {
        send(&mailbox, subject).await;
    }
    let list = json(&mailbox, "/api/v1/messages").await;
    for (field, value) in
        [("total", 3), ("unread", 3), ("count", 3), ("messages_count", 3), ("start", 0)]
    {
        assert_eq!(list[field], value, "{field}");
    }
    assert_eq!(list["tags"], serde_json::json!([]));
    let newest = &list["messages"][0];
    assert_eq!(newest["Subject"], "333");
    assert_eq!(newest["MessageID"], "3@shop.example");
    assert_eq!(newest["Read"], false);
    assert_eq!(newest["From"], serde_json::json!({"Name": "Shop", "Address": "shop@shop.example"}));
    assert_eq!(newest["To"][0]["Address"], "ann@a.example");
    assert_eq!(newest["Bcc"][0]["Address"], "hidden@b.example");
    assert_eq!(newest["Cc"], serde_json::json!([]));
    assert_eq!(newest["ReplyTo"], serde_json::json!([]));
    assert_eq!(newest["Attachments"], 2);
    assert!(newest["Created"].as_str().unwrap().ends_with('Z'));
    assert!(newest["Snippet"].as_str().unwrap().starts_with("Your invoice"));
    assert!(newest["Size"].as_u64().unwrap() > 100);

    let page = json(&mailbox, "/api/v1/messages?start=1&limit=1").await;
    assert_eq!(
        (&page["count"], &page["messages_count"], &page["start"]),
        (&1.into(), &3.into(), &1.into())
    );
    assert_eq!(page["messages"][0]["Subject"], "22");
    assert_eq!(json(&mailbox, "/api/v1/messages?start=-1&limit=x").await["count"], 3);
}

#[tokio::test]
async fn a_message_has_mailpits_shape_and_parts() {
    let mailbox = start_http().await;
    send(&mailbox, "22").await;
    let message = json(&mailbox, "/api/v1/message/latest").await;
    let id = message["ID"].as_str().unwrap();
    assert_eq!(message["Text"], "Your invoice, Jürgen.\r\n.\r\n");
    assert!(message["HTML"].as_str().unwrap().contains("<h1>Invoice</h1>"));
    assert_eq!(message["ReturnPath"], "shop@shop.example");
    assert_eq!(message["ListUnsubscribe"]["Links"], serde_json::json!([]));
    assert_eq!(message["Inline"], serde_json::json!([]));
    let pdf = &message["Attachments"][0];
    assert_eq!(
        *pdf,
        serde_json::json!({"PartID": "2", "FileName": "rechnung ü.pdf",
            "ContentType": "application/pdf", "ContentID": "", "Size": PDF.len()})
    );
    assert_eq!(json(&mailbox, "/api/v1/messages").await["unread"], 0);

    let part = get(&mailbox, &format!("/api/v1/message/{id}/part/2")).await;
    assert_eq!(header(&part, "content-type"), "application/pdf");
    assert!(header(&part, "content-disposition").ends_with("rechnung%20%C3%BC.pdf"));
    assert_eq!(part.bytes().await.unwrap(), PDF);
    let page = get(&mailbox, &format!("/api/v1/message/{id}/part/3")).await;
    assert!(header(&page, "content-disposition").starts_with("attachment"));
    assert!(header(&page, "content-security-policy").starts_with("sandbox"));

    let headers = json(&mailbox, &format!("/api/v1/message/{id}/headers")).await;
    assert_eq!(headers["Message-Id"], serde_json::json!(["<2@shop.example>"]));
    assert_eq!(headers["X-Envelope-To"].as_array().unwrap().len(), 2);
    let raw = get(&mailbox, &format!("/api/v1/message/{id}/raw")).await;
    assert_eq!(header(&raw, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(*raw.bytes().await.unwrap(), *mailbox.messages()[0].raw().unwrap());

    for path in ["", "/raw", "/headers", "/part/2"] {
        let none = get(&mailbox, &format!("/api/v1/message/20261124T090000000042Z{path}")).await;
        assert_eq!(none.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let no_part = get(&mailbox, &format!("/api/v1/message/{id}/part/9")).await;
    assert_eq!(no_part.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn search_finds_and_delete_deletes() {
    let mailbox = start_http().await;
    for subject in ["apple pie", "banana", "apple"] {
        send(&mailbox, subject).await;
    }
    for (query, found) in [
        ("to:ann@a.example", 3),
        ("to:hidden@", 3),
        ("to:nobody", 0),
        ("subject:apple", 2),
        ("subject:%22apple%20pie%22", 1),
        ("message-id:6@shop.example", 1),
        ("message-id:%3C6@shop.example%3E", 1),
        ("j%C3%BCrgen", 3),
        ("J%C3%9CRGEN%20banana", 1),
        ("-subject:banana", 2),
        ("has:attachment", 3),
    ] {
        let answer = json(&mailbox, &format!("/api/v1/search?query={query}")).await;
        assert_eq!(answer["messages_count"], found, "{query}");
        assert_eq!(answer["total"], 3);
    }
    assert_eq!(get(&mailbox, "/api/v1/search").await.status(), StatusCode::BAD_REQUEST);

    let url = format!("http://{}/api/v1/messages", mailbox.http_addr().unwrap());
    let delete = async |body: String| {
        let response = Client::new().delete(&url).body(body).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    };
    assert_eq!(delete("{".into()).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(mailbox.messages().len(), 3);
    let ids = serde_json::json!({"IDs": [mailbox.messages()[0].id]});
    assert_eq!(delete(ids.to_string()).await, (StatusCode::OK, "ok".to_owned()));
    assert_eq!(mailbox.messages().len(), 2);
    assert_eq!(delete(String::new()).await, (StatusCode::OK, "ok".to_owned()));
    assert_eq!(mailbox.messages().len(), 0);
}

#[tokio::test]
async fn pages_escape_what_mails_say() {
    let mailbox = start_http().await;
    let empty = get(&mailbox, "/").await.text().await.unwrap();
    assert!(empty.contains("No mail yet"));
    send(&mailbox, HOSTILE).await;
    let id = mailbox.messages()[0].id.clone();
    let query = "/?query=%22%3E%3Cscript%3E&start=7";
    for path in ["/", &format!("/view/{id}"), query, "/?query=subject:script"] {
        let response = get(&mailbox, path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let policy = header(&response, "content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"));
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        let html = response.text().await.unwrap();
        assert!(!html.contains("<script"), "{path}: {html}");
    }
    let view = get(&mailbox, &format!("/view/{id}")).await.text().await.unwrap();
    assert!(view.contains("sandbox=\"\""));
    assert!(view.contains("Your invoice, Jürgen."));
    assert!(view.contains(&format!("/api/v1/message/{id}/part/2")));

    let frame = get(&mailbox, &format!("/view/{id}.html")).await;
    assert!(header(&frame, "content-security-policy").starts_with("sandbox; default-src 'none'"));
    assert!(frame.text().await.unwrap().contains("<h1>Invoice</h1>"));
    let text = get(&mailbox, &format!("/view/{id}.txt")).await;
    assert!(text.text().await.unwrap().starts_with("Your invoice"));
    for path in ["/view/none", "/view/none.html", "/view/..%2F..%2Fetc%2Fpasswd", "/nothing"] {
        assert_eq!(get(&mailbox, path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn headers_and_links_for_unsubscribing_are_read() {
    let mailbox = start_http().await;
    let mut client = common::Client::connect_for_data(&mailbox).await;
    client
        .send(
            "List-Unsubscribe: <https://shop.example/u?t=1>,\r\n <mailto:u@shop.example>\r\n\
             List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
             Content-Type: text/html\r\n\r\n<p>Hi</p>\r\n.\r\n",
        )
        .await;
    client.expect("250").await;
    let message = json(&mailbox, "/api/v1/message/latest").await;
    let links = serde_json::json!(["https://shop.example/u?t=1", "mailto:u@shop.example"]);
    assert_eq!(message["ListUnsubscribe"]["Links"], links);
    assert_eq!(message["ListUnsubscribe"]["Errors"], "");
    assert_eq!(message["ListUnsubscribe"]["HeaderPost"], "List-Unsubscribe=One-Click");
    assert_eq!(message["Text"].as_str().unwrap().trim(), "Hi");
    assert_eq!(message["From"], serde_json::json!({"Name": "", "Address": ""}));
}

#[tokio::test]
async fn a_link_by_message_id_leads_to_the_mail_as_in_mailpit() {
    let mailbox = start_http().await;
    for subject in ["1", "22", "333"] {
        send(&mailbox, subject).await;
    }
    let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let leads = async |query: &str| {
        let url = format!("http://{}/view/latest{query}", mailbox.http_addr().unwrap());
        let answer = http.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND, "{query}");
        header(&answer, "location").to_owned()
    };
    let list = json(&mailbox, "/api/v1/messages").await;
    let view = |n: usize| format!("/view/{}", list["messages"][n]["ID"].as_str().unwrap());
    assert_eq!(leads("?query=message-id%3A2%40shop.example").await, view(1));
    assert_eq!(leads("").await, view(0));
    assert_eq!(leads("?query=message-id%3Anobody%40shop.example").await, "/");
}
