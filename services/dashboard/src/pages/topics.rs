//! Topics: partitions as lanes, and where each group is in them.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use broker::{PartitionInfo, Place, TopicInfo};
use chassis::Problem;

use crate::http::State;
use crate::view::{self, Layout, refused};

#[derive(Template)]
#[template(path = "topics.html")]
struct TopicsPage {
    layout: Layout,
    topics: Vec<TopicInfo>,
}

#[derive(Template)]
#[template(path = "topic.html")]
struct TopicPage {
    layout: Layout,
    topic: String,
    partitions: Vec<PartitionInfo>,
    groups: Vec<GroupOn>,
}

/// A group on this topic: committed offset and lag of each partition.
struct GroupOn {
    name: String,
    places: Vec<Place>,
}

pub async fn list(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let topics = state.broker.topics_info().await.map_err(refused)?;
    view::page(&TopicsPage { layout: Layout::new("topics", &state, &request), topics })
}

pub async fn show(
    state: Data<State>,
    request: HttpRequest,
    topic: Path<String>,
) -> Result<HttpResponse, Problem> {
    let partitions = state.broker.partitions(&topic).await.map_err(refused)?;
    let places = state.places.now().await.map_err(refused)?;
    let places: Vec<Place> = places.iter().filter(|place| place.topic == *topic).cloned().collect();
    let groups = places.chunk_by(|one, next| one.consumer_group == next.consumer_group);
    let groups = groups
        .map(|of| GroupOn { name: of[0].consumer_group.clone(), places: of.to_vec() })
        .collect();
    view::page(&TopicPage {
        layout: Layout::new("topics", &state, &request),
        topic: topic.into_inner(),
        partitions,
        groups,
    })
}

/// When its newest record was published.
fn newest(partition: &PartitionInfo) -> String {
    partition.newest_at.map(view::date_time).unwrap_or_else(|| "—".to_owned())
}
