//! Consumer groups: who is in them, how far they are, and moving them.

use actix_web::web::{Data, Form, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use broker::{Place, Position, Seek};
use chassis::Problem;
use serde::Deserialize;

use crate::http::State;
use crate::view::{self, Layout, refused};

#[derive(Template)]
#[template(path = "groups.html")]
struct GroupsPage {
    layout: Layout,
    groups: Vec<Group>,
}

#[derive(Template)]
#[template(path = "group.html")]
struct GroupPage {
    layout: Layout,
    group: Group,
}

#[derive(Template)]
#[template(path = "seek.html")]
struct SeekPage {
    layout: Layout,
    group: String,
    asked: Move,
    plan: Vec<Seek>,
    /// How many records would be handled again, and how many left out.
    again: i64,
    skipped: i64,
}

/// A group with all that it reads.
pub struct Group {
    pub name: String,
    /// The processes that own a partition.
    pub members: Vec<String>,
    pub generation: i32,
    pub lag: i64,
    pub lag_seconds: Option<f64>,
    pub drain: String,
    pub per_second: f64,
    pub topics: Vec<OnTopic>,
}

/// A group's places on one topic.
pub struct OnTopic {
    pub name: String,
    pub paused: bool,
    pub lag: i64,
    pub drain: String,
    pub places: Vec<Place>,
}

impl Group {
    fn of(places: &[Place]) -> Group {
        let mut members: Vec<String> = places
            .iter()
            .filter_map(|place| Some(format!("{} ({})", place.process.as_ref()?, place.member?)))
            .collect();
        members.sort();
        members.dedup();
        let topics = places.chunk_by(|one, next| one.topic == next.topic);
        Group {
            name: places[0].consumer_group.clone(),
            members,
            generation: places.iter().map(|place| place.generation).max().unwrap_or(0),
            lag: places.iter().map(|place| place.lag).sum(),
            lag_seconds: places.iter().filter_map(|place| place.lag_seconds).reduce(f64::max),
            drain: view::time_to_drain(places.iter()),
            per_second: places.iter().map(|place| place.consumed_per_second).sum(),
            topics: topics
                .map(|places| OnTopic {
                    name: places[0].topic.clone(),
                    paused: places[0].paused,
                    lag: places.iter().map(|place| place.lag).sum(),
                    drain: view::time_to_drain(places.iter()),
                    places: places.to_vec(),
                })
                .collect(),
        }
    }

    pub fn paused(&self) -> bool {
        self.topics.iter().any(|topic| topic.paused)
    }

    /// The age of the oldest record that it has not handled.
    pub fn age(&self) -> String {
        view::age(&self.lag_seconds)
    }
}

/// Places, which come sorted, by group.
pub fn grouped(places: &[Place]) -> Vec<Group> {
    places.chunk_by(|one, next| one.consumer_group == next.consumer_group).map(Group::of).collect()
}

pub async fn list(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let groups = grouped(&state.places.now().await.map_err(refused)?);
    view::page(&GroupsPage { layout: Layout::new("groups", &state, &request), groups })
}

pub async fn show(
    state: Data<State>,
    request: HttpRequest,
    group: Path<String>,
) -> Result<HttpResponse, Problem> {
    let places = state.broker.places(Some(&group)).await.map_err(unknown(&group))?;
    let group = Group::of(&places);
    view::page(&GroupPage { layout: Layout::new("groups", &state, &request), group })
}

fn unknown(group: &str) -> impl FnOnce(broker::Error) -> Problem {
    move |error| match error {
        broker::Error::Refused(_) => {
            Problem::not_found(format!("there is no consumer group {group:?}"))
        }
        error => refused(error),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Topic {
    form_token: String,
    topic: String,
}

pub async fn pause(
    state: Data<State>,
    request: HttpRequest,
    group: Path<String>,
    form: Form<Topic>,
) -> Result<HttpResponse, Problem> {
    state.access.admit(&request, &form.form_token)?;
    state.broker.pause(&group, &form.topic).await.map_err(refused)?;
    tracing::info!(group = *group, topic = form.topic, "paused from the dashboard");
    Ok(view::see_other(format!("/groups/{group}")))
}

pub async fn resume(
    state: Data<State>,
    request: HttpRequest,
    group: Path<String>,
    form: Form<Topic>,
) -> Result<HttpResponse, Problem> {
    state.access.admit(&request, &form.form_token)?;
    state.broker.resume(&group, &form.topic).await.map_err(refused)?;
    tracing::info!(group = *group, topic = form.topic, "resumed from the dashboard");
    Ok(view::see_other(format!("/groups/{group}")))
}

/// Where to move a group; `confirm` comes from the page that shows what that would do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Move {
    form_token: String,
    topic: String,
    partition: String,
    to: String,
    confirm: String,
}

/// Shows what a seek would do; does it once that was seen.
pub async fn seek(
    state: Data<State>,
    request: HttpRequest,
    group: Path<String>,
    form: Form<Move>,
) -> Result<HttpResponse, Problem> {
    state.access.admit(&request, &form.form_token)?;
    let (group, asked) = (group.into_inner(), form.into_inner());
    let partition = match asked.partition.trim() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            Problem::bad_request(format!("{:?} is no partition's number", view::cut(text, 40)))
        })?),
    };
    let to: Position = view::cut(asked.to.trim(), 60).parse().map_err(Problem::bad_request)?;
    if asked.confirm == "yes" {
        state.broker.seek(&group, &asked.topic, partition, to).await.map_err(refused)?;
        tracing::info!(group, topic = asked.topic, %to, "moved from the dashboard");
        return Ok(view::see_other(format!("/groups/{group}")));
    }
    let plan =
        state.broker.seek_plan(&group, &asked.topic, partition, to).await.map_err(refused)?;
    view::page(&SeekPage {
        layout: Layout::new("groups", &state, &request),
        again: plan.iter().map(|step| (step.committed - step.target).max(0)).sum(),
        skipped: plan.iter().map(|step| (step.target - step.committed).max(0)).sum(),
        group,
        asked,
        plan,
    })
}
