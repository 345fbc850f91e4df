//! Reads along without a group, each time from the start, and says what it was given.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::{Broker, Start};

use super::ActorOptions;
use crate::database::{LIFE, TOPIC};
use crate::history::{Line, Recorder};

pub(super) async fn run(
    _options: &ActorOptions,
    broker: Broker,
    recorder: Recorder,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let read = async {
        for session in 0.. {
            if let End::Disk(error) = read(&broker, &recorder, session).await {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    tokio::select! {
        end = read => end,
        () = stop => Ok(()),
    }
}

/// Why a session ended.
enum End {
    Server,
    Disk(anyhow::Error),
}

impl From<broker::Error> for End {
    fn from(error: broker::Error) -> End {
        eprintln!("a session of the reader ended: {error}");
        End::Server
    }
}

/// One session, which lasts as long as the server lives: what a reader saw before a crash is
/// no promise afterwards.
async fn read(broker: &Broker, recorder: &Recorder, session: u32) -> End {
    let began = match life(broker).await {
        Ok(life) => life,
        Err(error) => return error.into(),
    };
    let mut reader = match broker.broadcast(&[TOPIC], Start::Earliest).await {
        Ok(reader) => reader,
        Err(error) => return error.into(),
    };
    loop {
        let records = match reader.next().await {
            Ok(records) => records,
            Err(error) => return error.into(),
        };
        let now = life(broker).await.ok();
        let life = now.filter(|life| *life == began);
        let mut partitions: BTreeMap<i32, Vec<(i64, String)>> = BTreeMap::new();
        for record in records {
            let value = String::from_utf8_lossy(record.value()).into_owned();
            let partition = partitions.entry(record.partition()).or_default();
            partition.push((record.offset() as i64, value));
        }
        for (partition, records) in partitions {
            if let Err(error) = recorder.write(Line::Poll { session, life, partition, records }) {
                return End::Disk(error);
            }
        }
        if life.is_none() {
            return End::Server;
        }
    }
}

async fn life(broker: &Broker) -> Result<i64, broker::Error> {
    let mut tx = broker.begin().await?;
    Ok(sqlx::query_scalar(LIFE).fetch_one(&mut *tx).await?)
}
