//! Forms of the tick that look the same and are wrong, each seen wrong, beside `log.tick`
//! with the very same interleaving of the same transactions.
//!
//! | form | what becomes of a record | because |
//! |---|---|---|
//! | the snapshot read before the scan | doubled | the scan sees what the snapshot calls open |
//! | the snapshot read after the scan | lost | the snapshot calls done what the scan did not see |
//! | a state row `for update` | doubled | who waited for the row puts an older snapshot into it |
//! | the ticking transaction publishes too | lost | a transaction is not in its own snapshot |
//! | `id > last` | lost | ids are not committed in their order |
//! | `id > last and xid < pg_snapshot_xmin(…)` | lost | neither are xids given in the order of ids |
//!
//! The forms that are only slow have no test: nothing goes wrong with them.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Log, eventually, log, run};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::JoinHandle;

/// Tables beside the log's, and a gate at which a session waits in the middle of its tick.
const SCENERY: &str = "
    create schema wrong;
    create table wrong.tick (n bigint primary key, snapshot pg_snapshot not null);
    insert into wrong.tick values (0, pg_current_snapshot());
    create table wrong.state (snapshot pg_snapshot not null);
    insert into wrong.state values (pg_current_snapshot());
    create table wrong.cursor (last bigint not null);
    insert into wrong.cursor values (0);
    create table wrong.handed (id bigint not null);

    create function wrong.gate() returns void language plpgsql as $$
    begin
        if current_setting('test.stall', true) = 'on' then perform pg_advisory_xact_lock_shared(42); end if;
    end $$;
    create function wrong.gate_of_tick() returns trigger language plpgsql as
        $$ begin perform wrong.gate(); return new; end $$;
    create trigger gate before insert on log.tick for each row execute function wrong.gate_of_tick();
    select log.create_topic('t', 1);
";

/// What `log.tick` takes for fresh.
fn fresh(prev: &str, cur: &str) -> String {
    format!(
        "select b.id from log.record_batch b
          where b.xid = any (array(select pg_snapshot_xip(({prev})) except select pg_snapshot_xip(({cur}))))
             or b.xid >= pg_snapshot_xmax(({prev})) and b.xid < pg_snapshot_xmax(({cur}))"
    )
}

struct Stage {
    log: Log,
    gate: PgConnection,
}

#[derive(Debug, PartialEq)]
struct Verdict {
    lost: Vec<i64>,
    doubled: Vec<i64>,
}

const EXACT: Verdict = Verdict { lost: vec![], doubled: vec![] };

fn loses(id: i64) -> Verdict {
    Verdict { lost: vec![id], ..EXACT }
}

fn doubles(id: i64) -> Verdict {
    Verdict { doubled: vec![id], ..EXACT }
}

impl Stage {
    /// `form` is the body of `wrong.step()`.
    async fn new(form: &str) -> Stage {
        let log = log().await;
        sqlx::raw_sql(SCENERY).execute(&log.pool).await.unwrap();
        let step = format!(
            "create function wrong.step() returns void language plpgsql as $$
             #variable_conflict use_column
             declare
                prev wrong.tick;
                cur pg_snapshot;
             begin {form}; end $$"
        );
        sqlx::raw_sql(AssertSqlSafe(step)).execute(&log.pool).await.unwrap();
        let mut gate = log.session().await;
        run(&mut gate, "select pg_advisory_lock(42)").await;
        Stage { log, gate }
    }

    /// A step of the wrong form and one of the right.
    async fn both(&self) {
        sqlx::query("select wrong.step()").execute(&self.log.pool).await.unwrap();
        sqlx::query("select log.tick(false)").execute(&self.log.pool).await.unwrap();
    }

    /// The same, each in a session of its own and by now waiting in the middle of it.
    async fn both_half_way(&self) -> Vec<JoinHandle<Result<(), sqlx::Error>>> {
        let mut steps = Vec::new();
        for step in ["select wrong.step()", "select log.tick(false)"] {
            let mut session = self.log.session().await;
            run(&mut session, "set test.stall = on").await;
            steps.push(tokio::spawn(async move {
                sqlx::query(step).execute(&mut session).await.map(drop)
            }));
            eventually("the step to be at the gate", || async {
                let waiting: i64 = sqlx::query_scalar(
                    "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                      where d.datname = current_database() and l.locktype = 'advisory'
                        and l.objid = 42 and not l.granted",
                )
                .fetch_one(&self.log.pool)
                .await
                .unwrap();
                (waiting == steps.len() as i64).then_some(())
            })
            .await;
        }
        steps
    }

    async fn open_gate(&mut self) {
        run(&mut self.gate, "select pg_advisory_unlock(42)").await;
    }

    /// What the wrong form and what `log.tick` made of it, once both had all the time to.
    async fn verdicts(&self) -> (Verdict, Verdict) {
        self.both().await;
        self.both().await;
        let wrong = self.verdict("select id from wrong.handed").await;
        (wrong, self.verdict("select unnest(ids) from log.block").await)
    }

    async fn verdict(&self, handed: &str) -> Verdict {
        let verdict = format!(
            "with handed(id) as ({handed})
             select array(select id from log.record_batch except select id from handed order by 1),
                    array(select id from handed group by 1 having count(*) > 1 order by 1)"
        );
        let (lost, doubled) =
            sqlx::query_as(AssertSqlSafe(verdict)).fetch_one(&self.log.pool).await.unwrap();
        Verdict { lost, doubled }
    }
}

/// Publishes a record by hand and returns its batch's id.
async fn publish(session: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "insert into log.record_batch (topic, partition, lens, body)
         values (1, 0, '\\x00000004', '\\x00000000') returning id",
    )
    .fetch_one(session)
    .await
    .unwrap()
}

/// A transaction commits while a tick is half-way; returns its batch.
async fn commits_during_a_tick(stage: &mut Stage) -> i64 {
    let (mut slow, mut quick) = (stage.log.session().await, stage.log.session().await);
    run(&mut slow, "begin").await;
    let id = publish(&mut slow).await;
    // Later and committed first, so that the slow one is no more at the snapshot's end.
    publish(&mut quick).await;
    let steps = stage.both_half_way().await;
    run(&mut slow, "commit").await;
    stage.open_gate().await;
    for step in steps {
        step.await.unwrap().unwrap();
    }
    id
}

#[tokio::test]
async fn a_snapshot_read_before_the_scan_doubles() {
    let mut stage = Stage::new(&format!(
        "select * into prev from wrong.tick order by n desc limit 1;
         cur := pg_current_snapshot();
         perform wrong.gate();
         insert into wrong.handed {};
         insert into wrong.tick values (prev.n + 1, cur)",
        fresh("prev.snapshot", "cur")
    ))
    .await;
    let id = commits_during_a_tick(&mut stage).await;
    assert_eq!(stage.verdicts().await, (doubles(id), EXACT));
}

#[tokio::test]
async fn a_snapshot_read_after_the_scan_loses() {
    let mut stage = Stage::new(
        "select * into prev from wrong.tick order by n desc limit 1;
         insert into wrong.handed select id from log.record_batch
          where xid = any (array(select pg_snapshot_xip(prev.snapshot)))
             or xid >= pg_snapshot_xmax(prev.snapshot);
         perform wrong.gate();
         insert into wrong.tick values (prev.n + 1, pg_current_snapshot())",
    )
    .await;
    let id = commits_during_a_tick(&mut stage).await;
    assert_eq!(stage.verdicts().await, (loses(id), EXACT));
}

#[tokio::test]
async fn a_locked_state_row_doubles() {
    let mut stage = Stage::new(&format!(
        "with gate as materialized (select wrong.gate()
         ), prev as materialized (select s.snapshot from gate, wrong.state s for update of s
         ), cur as materialized (select pg_current_snapshot() as snapshot
         ), handed as (insert into wrong.handed {})
         update wrong.state set snapshot = cur.snapshot from cur, prev",
        fresh("select snapshot from prev", "select snapshot from cur")
    ))
    .await;
    let mut publisher = stage.log.session().await;
    publish(&mut publisher).await;
    // Their snapshots are taken; those that overtake them are newer.
    let mut steps = stage.both_half_way().await;
    let id = publish(&mut publisher).await;
    stage.both().await;
    stage.open_gate().await;
    let right = steps.pop().unwrap().await.unwrap().unwrap_err();
    let fence = right.as_database_error().unwrap().constraint().map(str::to_owned);
    assert_eq!(fence.as_deref(), Some("tick_pkey"), "the loser of a race fails: {right}");
    steps.pop().unwrap().await.unwrap().unwrap();
    assert_eq!(stage.verdicts().await, (doubles(id), EXACT));
}

#[tokio::test]
async fn a_tick_in_a_publishing_transaction_loses() {
    let stage = Stage::new(&format!(
        "with prev as materialized (select n, snapshot from wrong.tick order by n desc limit 1
         ), cur as materialized (select pg_current_snapshot() as snapshot
         ), handed as (insert into wrong.handed {})
         insert into wrong.tick select prev.n + 1, cur.snapshot from prev, cur",
        fresh("select snapshot from prev", "select snapshot from cur")
    ))
    .await;
    let (mut ticker, mut publisher) = (stage.log.session().await, stage.log.session().await);
    run(&mut ticker, "begin").await;
    run(&mut ticker, "select pg_current_xact_id()").await;
    publish(&mut publisher).await;
    run(&mut ticker, "select wrong.step()").await;
    run(&mut ticker, "savepoint before").await;
    let refused = sqlx::query("select log.tick(false)").execute(&mut ticker).await.unwrap_err();
    let code = refused.as_database_error().unwrap().code().map(|code| code.into_owned());
    assert_eq!(code.as_deref(), Some("LG409"), "{refused}");
    run(&mut ticker, "rollback to before").await;
    let id = publish(&mut ticker).await;
    run(&mut ticker, "commit").await;
    assert_eq!(stage.verdicts().await, (loses(id), EXACT));
}

fn cursor(condition: &str) -> String {
    format!(
        "with got as (
            insert into wrong.handed
            select id from log.record_batch where id > (select last from wrong.cursor) {condition}
            returning id)
         update wrong.cursor set last = greatest(last, (select max(id) from got))"
    )
}

#[tokio::test]
async fn a_cursor_over_ids_loses() {
    let stage = Stage::new(&cursor("")).await;
    let (mut slow, mut quick) = (stage.log.session().await, stage.log.session().await);
    run(&mut slow, "begin").await;
    let id = publish(&mut slow).await;
    publish(&mut quick).await;
    stage.both().await;
    run(&mut slow, "commit").await;
    assert_eq!(stage.verdicts().await, (loses(id), EXACT));
}

#[tokio::test]
async fn a_cursor_over_ids_that_waits_for_older_transactions_loses() {
    let stage = Stage::new(&cursor("and xid < pg_snapshot_xmin(pg_current_snapshot())")).await;
    let (mut first, mut second) = (stage.log.session().await, stage.log.session().await);
    // As in every outbox: the xid comes with the order's row, the id with the record.
    run(&mut first, "begin").await;
    run(&mut first, "select pg_current_xact_id()").await;
    run(&mut second, "begin").await;
    let id = publish(&mut second).await;
    let overtaking = publish(&mut first).await;
    run(&mut first, "commit").await;
    // Other tests' transactions hold `pg_snapshot_xmin` back, for a while.
    eventually("the cursor to pass", || async {
        stage.both().await;
        let last: i64 = sqlx::query_scalar("select last from wrong.cursor")
            .fetch_one(&stage.log.pool)
            .await
            .unwrap();
        (last == overtaking).then_some(())
    })
    .await;
    run(&mut second, "commit").await;
    assert_eq!(stage.verdicts().await, (loses(id), EXACT));
}
