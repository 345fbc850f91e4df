//! `broker grant`.

use broker::{Broker, Privilege};
use clap::ValueEnum;
use serde_json::json;

use crate::failure::Exit;
use crate::out::Out;

#[derive(Debug, clap::Args)]
pub struct Args {
    topic: String,

    right: Right,

    /// A login role, or a group role whose members get the right
    role: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Right {
    /// Put records in
    Publish,
    /// Take records out
    Consume,
}

pub async fn run(broker: &Broker, args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    let Args { topic, right, role } = args;
    let (privilege, name) = match right {
        Right::Publish => (Privilege::Publish, "publish"),
        Right::Consume => (Privilege::Consume, "consume"),
    };
    broker.grant_topic(&topic, privilege, &role).await?;
    let to = if name == "publish" { "to " } else { "" };
    out.say(
        format!("{role} may {name} {to}{topic}"),
        json!({"topic": topic, "right": name, "role": role}),
    )?;
    Ok(Exit::Done)
}
