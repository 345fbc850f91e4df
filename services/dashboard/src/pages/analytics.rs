//! Analytics: what the group's own tables count, and how fast groups go.

use std::collections::BTreeSet;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chassis::Problem;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::http::State;
use crate::pages::groups::{Group, grouped};
use crate::pages::plot::{HEIGHT, Plot, Series, WIDTH};
use crate::store::{self, Bucket, GroupMinute, Minute};
use crate::view::{self, Layout, refused};

const MINUTES: i64 = 30;
/// Groups that have a plot; the table names all.
const MAX_GROUPS: usize = 16;

#[derive(Template)]
#[template(path = "analytics.html")]
struct AnalyticsPage {
    layout: Layout,
    orders: Vec<Plot>,
    delays: Vec<Delay>,
    throughput: Vec<Plot>,
    groups: Vec<Group>,
    width: f64,
    height: f64,
    minutes: i64,
}

/// How long after its order one effect came, in all of the time shown and by minute.
struct Delay {
    effect: String,
    n: i64,
    p50: String,
    p99: String,
    plot: Plot,
}

pub async fn show(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let now = Utc::now();
    let this_minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
    let axis = Axis { since: this_minute - TimeDelta::minutes(MINUTES - 1) };
    let minutes = store::minutes(&state.pool, axis.since).await?;
    let delays = store::delays(&state.pool, axis.since).await?;
    let noted = store::group_minutes(&state.pool, axis.since - TimeDelta::minutes(1)).await?;
    let places = state.places.now().await.map_err(refused)?;
    view::page(&AnalyticsPage {
        layout: Layout::new("analytics", &state, &request),
        orders: axis.orders(&minutes),
        delays: delays
            .chunk_by(|one, next| one.effect == next.effect)
            .map(|of| axis.delay(of))
            .collect(),
        throughput: noted
            .chunk_by(|one, next| one.consumer_group == next.consumer_group)
            .take(MAX_GROUPS)
            .map(|of| axis.throughput(of))
            .collect(),
        groups: grouped(&places),
        width: WIDTH,
        height: HEIGHT,
        minutes: MINUTES,
    })
}

/// A series' value in a minute; `None` where it is not known.
type At<'a> = &'a dyn Fn(DateTime<Utc>) -> Option<f64>;

/// The minutes shown, those without anything too.
struct Axis {
    since: DateTime<Utc>,
}

impl Axis {
    fn plot(&self, title: &str, series: &[(&str, At<'_>)], write: impl Fn(f64) -> String) -> Plot {
        let minutes: Vec<_> = (0..MINUTES).map(|n| self.since + TimeDelta::minutes(n)).collect();
        let labels: Vec<_> = minutes.iter().map(|at| at.format("%H:%M").to_string()).collect();
        let series: Vec<_> = series
            .iter()
            .map(|(name, value)| Series {
                name: (*name).to_owned(),
                values: minutes.iter().map(|at| value(*at)).collect(),
            })
            .collect();
        Plot::new(title, &labels, &series, write)
    }

    fn orders(&self, minutes: &[Minute]) -> Vec<Plot> {
        let sum = |at, of: &dyn Fn(&Minute) -> i64| {
            let here = minutes.iter().filter(|minute| minute.minute == at);
            Some(here.map(of).sum::<i64>() as f64)
        };
        let orders = |at| sum(at, &|minute| minute.n);
        let mut plots = vec![self.plot("Orders a minute", &[("Orders", &orders)], whole)];
        let currencies: BTreeSet<&str> =
            minutes.iter().map(|minute| minute.currency.as_str()).collect();
        for currency in currencies {
            let revenue =
                |at| sum(at, &|minute| if minute.currency == currency { minute.amount } else { 0 });
            let title = format!("Revenue a minute, {currency}");
            let write = |minor: f64| view::money(currency, minor as i64);
            plots.push(self.plot(&title, &[("Revenue", &revenue)], write));
        }
        plots
    }

    /// `of` is one effect's.
    fn delay(&self, of: &[Bucket]) -> Delay {
        let at = |minute, q| quantile(of.iter().filter(|bucket| bucket.minute == minute), q);
        let (p99, p50) = (|minute| at(minute, 0.99), |minute| at(minute, 0.5));
        let all = |q| quantile(of.iter(), q).map_or_else(|| "—".to_owned(), view::millis);
        let effect = of[0].effect.clone();
        Delay {
            n: of.iter().map(|bucket| bucket.n).sum(),
            p50: all(0.5),
            p99: all(0.99),
            plot: self.plot(&effect, &[("p99", &p99), ("p50", &p50)], view::millis),
            effect,
        }
    }

    /// `of` is one group's. Where a minute or the one before was not looked at nothing is known
    /// of it, nor where the group was moved back.
    fn throughput(&self, of: &[GroupMinute]) -> Plot {
        let committed =
            |at| of.iter().find(|noted| noted.minute == at).map(|noted| noted.committed);
        let handled = |at| {
            let records = committed(at)? - committed(at - TimeDelta::minutes(1))?;
            (records >= 0).then_some(records as f64)
        };
        self.plot(&of[0].consumer_group, &[("Records", &handled)], whole)
    }
}

fn whole(n: f64) -> String {
    format!("{n:.0}")
}

/// The time within which this part of all came, by counts of times: the nearest rank's.
fn quantile<'a>(buckets: impl Iterator<Item = &'a Bucket>, q: f64) -> Option<f64> {
    let mut buckets: Vec<&Bucket> = buckets.collect();
    buckets.sort_by(|one, other| one.ms.total_cmp(&other.ms));
    let all: i64 = buckets.iter().map(|bucket| bucket.n).sum();
    let rank = (q * all as f64).ceil() as i64;
    let mut seen = 0;
    let found = buckets.iter().find(|bucket| {
        seen += bucket.n;
        seen >= rank
    });
    found.map(|bucket| bucket.ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_nearest_ranks() {
        let bucket = |ms, n| Bucket { effect: String::new(), minute: Utc::now(), ms, n };
        let buckets = [bucket(8.0, 1), bucket(1.0, 98), bucket(4.0, 1)];
        assert_eq!(quantile(buckets.iter(), 0.5), Some(1.0));
        assert_eq!(quantile(buckets.iter(), 0.99), Some(4.0));
        assert_eq!(quantile(buckets.iter(), 1.0), Some(8.0));
        assert_eq!(quantile([].iter(), 0.5), None);
        assert_eq!(quantile([bucket(3.0, 1)].iter(), 0.5), Some(3.0));
    }
}
