//! What a record takes, in WAL and on disk.

use sqlx::AssertSqlSafe;

use crate::bare;
use crate::report::{Aim, Report};
use crate::world::{Log, PARTITIONS, World};

pub async fn run(world: &World, report: &mut Report) {
    report.section("bytes");
    let log = world.log().await;
    let broker = log.broker().await;
    broker.publish([world.record(0)]).await.unwrap();
    log.sequenced().await;

    let records = world.pick(100_000, 1_000_000);
    let before = Taken::look(&log).await;
    log.backlog(world, &broker, records).await;
    let ours = Taken::look(&log).await.since(&before, records);
    let before = Taken::look(&log).await;
    let mut session = log.session().await;
    for first in (0..records).step_by(1000) {
        let rows = (first..first + 1000).map(|i| world.value(i));
        bare::copy(&mut session, bare::copy_data(rows)).await;
    }
    let copied = Taken::look(&log).await.since(&before, records);
    let side = |ours: f64, bare: f64| format!("{ours:.0} : {bare:.0} bytes");
    report.row(
        "disk a record, batches of 1,000",
        side(ours.disk, copied.disk),
        ours.disk,
        " B",
        Aim::AtMost(230.0),
    );
    report.row(
        "WAL a record, batches of 1,000",
        side(ours.wal, copied.wal),
        ours.wal,
        " B",
        Aim::AtMost(235.0),
    );

    let records = world.pick(3_000, 30_000);
    let before = Taken::look(&log).await;
    for i in 0..records {
        let body = [&[0; 4][..], world.value(i)].concat();
        sqlx::query(
            "insert into log.record_batch (topic, partition, lens, body) values (1, $1, $2, $3)",
        )
        .bind(i as i32 % PARTITIONS)
        .bind((body.len() as u32).to_be_bytes().to_vec())
        .bind(body)
        .execute(&mut session)
        .await
        .unwrap();
        broker.wake();
    }
    log.sequenced().await;
    let ours = Taken::look(&log).await.since(&before, records);
    let before = Taken::look(&log).await;
    for i in 0..records {
        bare::insert(&mut session, world.value(i)).await;
    }
    let inserted = Taken::look(&log).await.since(&before, records);
    report.row(
        "disk a record, one a commit",
        side(ours.disk, inserted.disk),
        ours.disk,
        " B",
        Aim::None,
    );
    report.row(
        "WAL a record, one a commit",
        side(ours.wal, inserted.wal),
        ours.wal,
        " B",
        Aim::None,
    );
    broker.shutdown().await;
    log.close(world).await;
}

struct Taken {
    disk: f64,
    wal: f64,
}

impl Taken {
    /// All of the log's tables and the bare one: only one side grows at a time.
    async fn look(log: &Log) -> Taken {
        let sql = "select (pg_current_wal_insert_lsn() - '0/0')::float8,
                (select sum(pg_total_relation_size(c.oid)) from pg_class c
                  where c.relkind = 'r' and c.relnamespace in ('log'::regnamespace, 'public'::regnamespace))::float8";
        let (wal, disk) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&log.pool).await.unwrap();
        Taken { disk, wal }
    }

    fn since(&self, before: &Taken, records: usize) -> Taken {
        let each = |now: f64, then: f64| (now - then) / records as f64;
        Taken { disk: each(self.disk, before.disk), wal: each(self.wal, before.wal) }
    }
}
