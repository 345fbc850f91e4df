//! Analytics: what the group's own tables count, and how fast groups go.

use std::collections::BTreeSet;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chassis::Problem;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::http::State;
use crate::pages::groups::{Group, grouped};
use crate::pages::plot::{BASE, Bars, HEIGHT, WIDTH};
use crate::store::{self, Delay, Minute};
use crate::view::{self, Layout, refused};

const MINUTES: i64 = 30;

#[derive(Template)]
#[template(path = "analytics.html")]
struct AnalyticsPage {
    layout: Layout,
    plots: Vec<Bars>,
    width: f64,
    height: f64,
    base: f64,
    delays: Vec<Delay>,
    groups: Vec<Group>,
    minutes: i64,
}

pub async fn show(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let now = Utc::now();
    let this_minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
    let since = this_minute - TimeDelta::minutes(MINUTES - 1);
    let minutes = store::minutes(&state.pool, since).await?;
    let mut plots =
        vec![plot("Orders a minute", since, &minutes, |minute| minute.n, |n| format!("{n:.0}"))];
    let currencies: BTreeSet<&str> =
        minutes.iter().map(|minute| minute.currency.as_str()).collect();
    for currency in currencies {
        let of: Vec<Minute> =
            minutes.iter().filter(|minute| minute.currency == currency).cloned().collect();
        let title = format!("Revenue a minute, {currency}");
        let write = |minor: f64| view::money(currency, minor as i64);
        plots.push(plot(&title, since, &of, |minute| minute.amount, write));
    }
    let places = state.places.now().await.map_err(refused)?;
    view::page(&AnalyticsPage {
        layout: Layout::new("analytics", &state, &request),
        plots,
        width: WIDTH,
        height: HEIGHT,
        base: BASE,
        delays: store::delays(&state.pool, since).await?,
        groups: grouped(&places),
        minutes: MINUTES,
    })
}

/// A bar a minute, those without orders too.
fn plot(
    title: &str,
    since: DateTime<Utc>,
    minutes: &[Minute],
    value: impl Fn(&Minute) -> i64,
    write: impl Fn(f64) -> String,
) -> Bars {
    let values: Vec<(String, f64)> = (0..MINUTES)
        .map(|n| {
            let at = since + TimeDelta::minutes(n);
            let sum: i64 = minutes.iter().filter(|minute| minute.minute == at).map(&value).sum();
            (at.format("%H:%M").to_string(), sum as f64)
        })
        .collect();
    Bars::new(title, &values, write)
}
