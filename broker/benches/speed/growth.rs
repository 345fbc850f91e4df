//! What a statement of the log takes as the log grows, and behind a transaction left open.
//!
//! A second log, which stays small or has nothing open, is measured in turn with the first: the
//! machine's noise meets both, and the ratio is the curve.

use std::time::Instant;

use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::clients::median;
use crate::report::{Aim, Report, thousands};
use crate::world::{Log, PARTITIONS, World, run as execute};

const STATEMENTS: [&str; 6] = [
    "a publish",
    "a tick of 8 batches",
    "a fetch at the end",
    "a fetch in the middle",
    "a fetch at the start",
    "a commit of progress",
];
/// Flat but for noise; ten times as many records may cost a level of an index.
const FLAT: Aim = Aim::AtMost(1.5);

pub async fn run(world: &World, report: &mut Report) {
    report.section("growth");
    let (small, large) = (world.log().await, world.log().await);
    let (mut reference, mut grown) =
        (Probe::new(world, &small).await, Probe::new(world, &large).await);
    reference.grow(10).await;
    let mut batches = 0;
    for to in world.pick(vec![10, 100, 1_000], vec![10, 100, 1_000, 10_000]) {
        grown.grow(to - batches).await;
        batches = to;
        let last = to == world.pick(1_000, 10_000);
        let records = thousands(to as f64 * 1000.0);
        against(report, world, &mut grown, &mut reference, &format!("at {records} records"), last)
            .await;
    }
    large.close(world).await;

    let open = world.log().await;
    let mut held = Probe::new(world, &open).await;
    held.grow(10).await;
    let mut transaction = open.session().await;
    execute(
        &mut transaction,
        "begin isolation level repeatable read; insert into bare (value) values ('')",
    )
    .await;
    let mut commits = 0;
    for more in world.pick(vec![1_000, 9_000], vec![10_000, 90_000, 200_000]) {
        held.publish_singles(more).await;
        reference.publish_singles(more).await;
        commits += more;
        let last = commits == world.pick(10_000, 300_000);
        let when = format!("{} commits behind an open transaction", thousands(commits as f64));
        against(report, world, &mut held, &mut reference, &when, last).await;
    }
    execute(&mut transaction, "rollback").await;
    open.close(world).await;
    small.close(world).await;
}

/// A curve's point; its last one is the one with an aim.
async fn against(
    report: &mut Report,
    world: &World,
    grown: &mut Probe,
    reference: &mut Probe,
    when: &str,
    last: bool,
) {
    let mut rounds: Vec<[(f64, f64); 6]> = Vec::new();
    for _ in 0..world.rounds.max(5) {
        let (a, b) = (grown.costs().await, reference.costs().await);
        rounds.push(std::array::from_fn(|i| (a[i], b[i])));
    }
    for (i, statement) in STATEMENTS.iter().enumerate() {
        let ratio = median(rounds.iter().map(|round| round[i].0 / round[i].1));
        let of = |pick: fn(&(f64, f64)) -> f64| median(rounds.iter().map(|round| pick(&round[i])));
        let figures = format!("{:.3} : {:.3} ms, of the other log", of(|r| r.0), of(|r| r.1));
        let what = format!("{statement}, {when}");
        match last {
            true => report.row(&what, figures, ratio, "", FLAT),
            false => println!("  {what}: {ratio:.2} ({figures})"),
        }
    }
}

struct Probe {
    session: PgConnection,
    lens: Vec<u8>,
    body: Vec<u8>,
    subscription: i32,
    member: i32,
}

impl Probe {
    async fn new(world: &World, log: &Log) -> Probe {
        let mut session = log.session().await;
        execute(&mut session, "set synchronous_commit = off; set enable_seqscan = off").await;
        let subscribe =
            "select subscription, log.new_member() from log.subscribe('g', 't', 'earliest')";
        let row = sqlx::query(subscribe).fetch_one(&mut session).await.unwrap();
        let (subscription, member): (i32, i32) = (row.get(0), row.get(1));
        let claim = "select log.claim($1, array[$2], array[0], array[-1::bigint])";
        sqlx::query(claim).bind(member).bind(subscription).execute(&mut session).await.unwrap();
        let (mut lens, mut body) = (Vec::new(), Vec::new());
        for i in 0..1000 {
            lens.extend_from_slice(&(world.value(i).len() as u32 + 4).to_be_bytes());
            body.extend_from_slice(&[0; 4]);
            body.extend_from_slice(world.value(i));
        }
        Probe { session, lens, body, subscription, member }
    }

    /// So many batches of 1,000.
    async fn grow(&mut self, batches: i32) {
        for first in (0..batches).step_by(80) {
            sqlx::query(
                "insert into log.record_batch (topic, partition, lens, body)
                 select 1, i % $1, $2, $3 from generate_series($4, $5) i",
            )
            .bind(PARTITIONS)
            .bind(&self.lens)
            .bind(&self.body)
            .bind(first)
            .bind((first + 79).min(batches - 1))
            .execute(&mut self.session)
            .await
            .unwrap();
            self.tick().await;
        }
    }

    /// Commits of one record, with a commit of progress each and a tick for every ten.
    async fn publish_singles(&mut self, records: i32) {
        let len = 4 + 387;
        let sql = format!(
            "do $$ declare newest record; lens bytea := int4send({len}); body bytea := convert_to(repeat('x', {len}), 'UTF8');
             begin
                for i in 1 .. {records} loop
                    insert into log.record_batch (topic, partition, lens, body) values (1, i % 8, lens, body);
                    commit;
                    select * into newest from log.assignment(array[{sub}]) a where a.partition = 0;
                    perform log.commit_progress({sub}, 0, newest.seq, {member}, newest.generation, newest.committed + 1);
                    commit;
                    if i % 10 = 0 then
                        perform log.tick(false);
                        commit;
                    end if;
                end loop;
             end $$",
            sub = self.subscription,
            member = self.member
        );
        execute(&mut self.session, &sql).await;
    }

    async fn publish(&mut self, partition: i32) {
        sqlx::query(
            "insert into log.record_batch (topic, partition, lens, body) values (1, $1, $2, $3)",
        )
        .bind(partition)
        .bind(&self.lens[..4])
        .bind(&self.body[..391])
        .execute(&mut self.session)
        .await
        .unwrap();
    }

    async fn tick(&mut self) {
        sqlx::query("select ticked, ends from log.tick(false)")
            .execute(&mut self.session)
            .await
            .unwrap();
    }

    async fn fetch(&mut self, from: i64) {
        let sql = "select topic, partition, base, at, lens, body
                     from log.fetch_raw(array[1], array[0], array[$1::bigint], 500, 1048576)";
        let rows = sqlx::query(sql).bind(from).fetch_all(&mut self.session).await.unwrap();
        assert!(!rows.is_empty(), "nothing at {from}");
    }

    /// Milliseconds of each of [`STATEMENTS`], medians.
    async fn costs(&mut self) -> [f64; 6] {
        let newest: (i64, i32, i64, i64) = sqlx::query_as(AssertSqlSafe(format!(
            "select seq, generation, committed, upto from log.assignment(array[{}]) where partition = 0",
            self.subscription
        )))
        .fetch_one(&mut self.session)
        .await
        .unwrap();
        let (seq, generation, committed, end) = newest;
        let mut times: [Vec<f64>; 6] = Default::default();
        for i in 0..15 {
            for partition in 0..PARTITIONS {
                times[0].push(ms(self.publish(partition)).await);
            }
            times[1].push(ms(self.tick()).await);
            times[2].push(ms(self.fetch(end - 1)).await);
            times[3].push(ms(self.fetch(end / 2)).await);
            times[4].push(ms(self.fetch(0)).await);
            let commit = sqlx::query("select log.commit_progress($1, 0, $2, $3, $4, $5)")
                .bind(self.subscription)
                .bind(seq + i)
                .bind(self.member)
                .bind(generation)
                .bind(committed + i + 1);
            times[5].push(ms(async { commit.execute(&mut self.session).await.unwrap() }).await);
        }
        times.map(median)
    }
}

async fn ms<T>(work: impl Future<Output = T>) -> f64 {
    let begun = Instant::now();
    work.await;
    begun.elapsed().as_secs_f64() * 1000.0
}
