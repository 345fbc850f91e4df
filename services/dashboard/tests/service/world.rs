//! A dashboard with a log of its own.

use std::net::SocketAddr;

use broker::{Broker, NewRecord};
use chassis::{EventTransaction, Service, Trace};
use chrono::Utc;
use contracts::{
    Event, InvoiceIssued, MailKind, MailSent, Pdf, ShipmentDelivered, ShipmentScheduled, Total,
};
use reqwest::header::HeaderMap;
use test_support::{Database, database, eventually};
use uuid::Uuid;

use crate::orders::{customer, placed};

pub const TOKEN: &str = "a token of the tests";
pub const SUPERVISORS_TOKEN: &str = "another token of the tests";

pub struct World {
    pub database: Database,
    pub service: Service,
    settings: dashboard::Settings,
    pub broker: Broker,
    pub url: String,
    http: reqwest::Client,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn title(&self) -> &str {
        let title = self.body.split_once("<title>").unwrap().1;
        title.split_once("</title>").unwrap().0
    }
}

impl World {
    pub async fn new() -> World {
        World::with(([127, 0, 0, 1], 1).into(), Some(TOKEN)).await
    }

    pub async fn with(order: SocketAddr, token: Option<&str>) -> World {
        World::start(order, token, None).await
    }

    /// Beside a supervisor, as in the demo.
    pub async fn in_the_demo(supervisor: SocketAddr) -> World {
        World::start(([127, 0, 0, 1], 1).into(), Some(TOKEN), Some(supervisor)).await
    }

    async fn start(order: SocketAddr, token: Option<&str>, demo: Option<SocketAddr>) -> World {
        let database = database(&[dashboard::DESCRIPTOR]).await;
        let settings = dashboard::Settings {
            common: chassis::Settings {
                database_url: database.url_of(&dashboard::DESCRIPTOR),
                database_password_file: None,
                broker_url: None,
                http_addr: Some(([127, 0, 0, 1], 0).into()),
            },
            dashboard_token: token.map(str::to_owned),
            dashboard_token_file: None,
            dashboard_url: "http://dashboard.example".parse().unwrap(),
            order_url: format!("http://{order}").parse().unwrap(),
            invoice_url: "http://invoice.example".parse().unwrap(),
            mailbox_url: "http://mailbox.example".parse().unwrap(),
            dashboard_keep_days: 7,
            dashboard_keep_rows: 1_000_000,
            demo_control_url: demo.map(|demo| format!("http://{demo}").parse().unwrap()),
            demo_control_token: demo.map(|_| SUPERVISORS_TOKEN.to_owned()),
        };
        let service = dashboard::start(settings.clone()).await.unwrap();
        let broker = Broker::connect(&database.url).await.unwrap();
        let url = format!("http://{}", service.http_addr());
        let http = reqwest::Client::builder();
        let http = http.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        World { database, service, settings, broker, url, http }
    }

    /// Another process of the service, with other settings, in place of this one.
    pub async fn restart(self, change: impl FnOnce(&mut dashboard::Settings)) -> World {
        self.service.stop().await;
        let mut settings = self.settings;
        change(&mut settings);
        let service = dashboard::start(settings.clone()).await.unwrap();
        let url = format!("http://{}", service.http_addr());
        World { service, settings, url, ..self }
    }

    pub fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.url)).header("accept", "text/html")
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, body: answer.text().await.unwrap() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(path)).await
    }

    /// The cookie of whoever knows the token.
    pub async fn log_in(&self) -> String {
        let answer = self.get(&format!("/login?token={}", TOKEN.replace(' ', "%20"))).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{}", answer.body);
        let cookie = answer.header("set-cookie");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    /// The form token of a page.
    pub async fn form_token(&self, cookie: &str, path: &str) -> String {
        let page = self.send(self.request(path).header("cookie", cookie)).await;
        let token = page.body.split_once("name=\"form_token\" value=\"").unwrap().1;
        token.split_once('"').unwrap().0.to_owned()
    }

    /// A form as its page sends it.
    pub async fn post(&self, path: &str, cookie: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url)).header("accept", "text/html");
        let request = request.header("origin", &self.url).header("cookie", cookie);
        self.send(request.form(form)).await
    }

    pub async fn publish<E: Event>(&self, events: &[E]) {
        let mut tx = self.broker.begin().await.unwrap();
        for event in events {
            tx.publish_event(event, &Trace::from_header(None)).unwrap();
        }
        tx.commit().await.unwrap();
    }

    pub async fn publish_raw(&self, record: NewRecord) {
        self.broker.publish([record]).await.unwrap();
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database.pool).await.unwrap()
    }

    /// Waits until the dashboard has so many steps of all orders together.
    pub async fn steps(&self, count: i64) {
        eventually("the steps", || async {
            (self.count("select count(*) from dashboard.step").await == count).then_some(())
        })
        .await;
    }

    pub async fn stop(self) {
        self.service.stop().await;
        self.broker.shutdown().await;
    }
}

/// All that happens to an order in the end, a topic each.
pub async fn whole_story(world: &World, order_id: Uuid) {
    let at = Utc::now();
    world.publish(&[placed(order_id, at)]).await;
    let shipment_id = Uuid::now_v7();
    world
        .publish(&[ShipmentScheduled {
            order_id,
            shipment_id,
            scheduled_at: at,
            dispatch_at: at,
            deliver_at: at,
        }])
        .await;
    world
        .publish(&[ShipmentDelivered {
            order_id,
            shipment_id,
            delivered_at: at,
            customer: customer(),
        }])
        .await;
    world
        .publish(&[InvoiceIssued {
            order_id,
            number: "INV-2026-000001".into(),
            issued_on: at.date_naive(),
            issued_at: at,
            customer: customer(),
            currency: "EUR".into(),
            total: Total { net: 100, tax: 7, gross: 107 },
            pdf: Pdf(vec![0; 3000]),
        }])
        .await;
    world
        .publish(&[MailSent {
            subject_id: order_id,
            mail_id: Uuid::now_v7(),
            kind: MailKind::Invoice,
            message_id: "<1@waybill.example>".into(),
            to: "ada@example.org".parse().unwrap(),
            sent_at: at,
        }])
        .await;
}
