//! A dashboard on a log of its own, and how long its pages take.

use std::time::{Duration, Instant};

use broker::Broker;
use chassis::Service;
use test_support::database;

pub struct World {
    pub broker: Broker,
    service: Service,
    url: String,
    http: reqwest::Client,
}

impl World {
    pub async fn new() -> World {
        let database = database(&[dashboard::DESCRIPTOR]).await;
        let nowhere = || "http://127.0.0.1:1".parse().unwrap();
        let settings = dashboard::Settings {
            common: chassis::Settings {
                database_url: database.url_of(&dashboard::DESCRIPTOR),
                database_password_file: None,
                broker_url: None,
                http_addr: Some(([127, 0, 0, 1], 0).into()),
            },
            dashboard_token: None,
            dashboard_token_file: None,
            dashboard_url: nowhere(),
            order_url: nowhere(),
            invoice_url: nowhere(),
            mailbox_url: nowhere(),
            dashboard_keep_days: 7,
            dashboard_keep_rows: 100_000_000,
            demo_control_url: None,
            demo_control_token: None,
        };
        let service = dashboard::start(settings).await.unwrap();
        let broker = Broker::connect(&database.url).await.unwrap();
        let url = format!("http://{}", service.http_addr());
        World { broker, service, url, http: reqwest::Client::new() }
    }

    /// Waits until the dashboard's group has handled everything.
    pub async fn settled(&self) {
        loop {
            let places = self.broker.places(Some(dashboard::GROUP)).await.unwrap();
            let lag: i64 = places.iter().map(|place| place.lag).sum();
            if lag == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// How long a page takes.
    pub async fn get(&self, path: &str) -> Duration {
        let asked = Instant::now();
        let request = self.http.get(format!("{}{path}", self.url)).header("accept", "text/html");
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let page = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {page}");
        asked.elapsed()
    }

    pub async fn places(&self) -> Duration {
        let asked = Instant::now();
        self.broker.places(None).await.unwrap();
        asked.elapsed()
    }

    pub async fn stop(self) {
        self.service.stop().await;
        self.broker.shutdown().await;
    }
}
