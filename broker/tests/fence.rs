//! The fence of a group: who lost a partition commits nothing more for it.
#![allow(clippy::unwrap_used)]

mod common;

use broker::NewRecord;
use common::{Keep, Log, effects, eventually, log, run};
use sqlx::{Connection, PgConnection};

/// A group's subscription to the topic `t`.
struct Group {
    log: Log,
    subscription: i32,
}

/// A member played by hand.
struct Member {
    session: PgConnection,
    subscription: i32,
    id: i32,
}

impl Group {
    async fn new(partitions: i32) -> Group {
        let log = log().await;
        effects(&log.pool).await;
        sqlx::query("select log.create_topic('t', $1)")
            .bind(partitions)
            .execute(&log.pool)
            .await
            .unwrap();
        let subscribe = "select subscription from log.subscribe('g', 't', 'earliest')";
        let subscription = sqlx::query_scalar(subscribe).fetch_one(&log.pool).await.unwrap();
        Group { log, subscription }
    }

    async fn member(&self) -> Member {
        let mut session = self.log.session().await;
        let id =
            sqlx::query_scalar("select log.new_member()").fetch_one(&mut session).await.unwrap();
        let alive = "select pg_advisory_lock(1280263936 + $1, $2)";
        sqlx::query(alive).bind(self.subscription).bind(id).execute(&mut session).await.unwrap();
        Member { session, subscription: self.subscription, id }
    }

    /// The newest progress of a partition: seq, owner, committed.
    async fn progress(&self, partition: i32) -> (i64, Option<i32>, i64) {
        sqlx::query_as(
            "select seq, member, committed from log.assignment(array[$1]) where partition = $2",
        )
        .bind(self.subscription)
        .bind(partition)
        .fetch_one(&self.log.pool)
        .await
        .unwrap()
    }

    /// Waits until a session waits for another's row.
    async fn somebody_waits(&self) {
        eventually("a session to wait", || async {
            let waits: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_activity
                  where datname = current_database() and wait_event = 'transactionid')",
            )
            .fetch_one(&self.log.pool)
            .await
            .unwrap();
            waits.then_some(())
        })
        .await;
    }

    async fn effects(&self) -> Vec<String> {
        let effects = sqlx::query_scalar("select value from effect order by id");
        effects.fetch_all(&self.log.pool).await.unwrap()
    }
}

impl Member {
    /// Whether it got the partition, whose progress it saw at `seq`.
    async fn claim(&mut self, partition: i32, seq: i64) -> bool {
        let claimed = sqlx::query("select from log.claim($1, array[$2], array[$3], array[$4])")
            .bind(self.id)
            .bind(self.subscription)
            .bind(partition)
            .bind(seq);
        !claimed.fetch_all(&mut self.session).await.unwrap().is_empty()
    }

    /// Opens a transaction with an effect in it, as a worker does.
    async fn handle(&mut self, what: &str) {
        run(&mut self.session, "begin").await;
        sqlx::query(
            "insert into effect (topic, partition, record_offset, value) values ('t', 0, 0, $1)",
        )
        .bind(what)
        .execute(&mut self.session)
        .await
        .unwrap();
    }

    /// Ends it with the progress after `seq`: `Ok`, or which fence stopped it.
    async fn commit(&mut self, seq: i64, next: i64) -> Result<(), String> {
        let appended = sqlx::query("select log.commit_progress($1, 0, $2, $3,
            (select max(generation) from log.progress where subscription = $1 and member = $3), $4)")
            .bind(self.subscription)
            .bind(seq)
            .bind(self.id)
            .bind(next)
            .execute(&mut self.session)
            .await;
        // As whoever ignored the error would: nothing of it may be kept all the same.
        run(&mut self.session, "commit").await;
        appended.map(drop).map_err(|error| {
            let error = error.as_database_error().unwrap();
            error.constraint().map_or_else(|| error.code().unwrap().into(), str::to_owned)
        })
    }
}

#[tokio::test]
async fn a_member_whose_partition_was_claimed_commits_nothing() {
    let group = Group::new(1).await;
    let (mut one, mut two) = (group.member().await, group.member().await);
    assert!(one.claim(0, -1).await);
    one.handle("mine").await;
    assert_eq!(one.commit(0, 1).await, Ok(()));

    one.handle("too late").await;
    assert!(two.claim(0, 1).await, "a claim waits for no transaction that has not come to its end");
    assert_eq!(one.commit(1, 2).await.unwrap_err(), "LG001");
    assert_eq!(group.effects().await, ["mine"]);
    assert_eq!(group.progress(0).await, (2, Some(two.id), 1));
    assert!(!one.claim(0, 1).await, "what it saw is old");
}

#[tokio::test]
async fn of_a_claim_and_a_commit_at_once_one_wins() {
    let group = Group::new(1).await;
    let (mut one, mut two) = (group.member().await, group.member().await);
    assert!(one.claim(0, -1).await);

    // The claim is first, not yet committed: the commit waits for it, and loses.
    run(&mut two.session, "begin").await;
    assert!(two.claim(0, 0).await);
    one.handle("fenced").await;
    let (fenced, ()) = tokio::join!(one.commit(0, 1), async {
        group.somebody_waits().await;
        run(&mut two.session, "commit").await;
    });
    assert_eq!(fenced.unwrap_err(), "progress_pkey");

    // The commit is first: the claim waits for it, and loses.
    two.handle("kept").await;
    let append = "select log.commit_progress($1, 0, 1, $2, 2, 1)";
    sqlx::query(append)
        .bind(two.subscription)
        .bind(two.id)
        .execute(&mut two.session)
        .await
        .unwrap();
    let (claimed, ()) = tokio::join!(one.claim(0, 1), async {
        group.somebody_waits().await;
        run(&mut two.session, "commit").await;
    });
    assert!(!claimed);
    assert_eq!(group.progress(0).await, (2, Some(two.id), 1));

    // The commit is first and comes to nothing: the claim waits, and wins.
    two.handle("rolled back").await;
    let append = "select log.commit_progress($1, 0, 2, $2, 2, 2)";
    sqlx::query(append)
        .bind(two.subscription)
        .bind(two.id)
        .execute(&mut two.session)
        .await
        .unwrap();
    let (claimed, ()) = tokio::join!(one.claim(0, 2), async {
        group.somebody_waits().await;
        run(&mut two.session, "rollback").await;
    });
    assert!(claimed);
    assert_eq!(group.progress(0).await, (3, Some(one.id), 1));
    assert_eq!(group.effects().await, ["kept"]);
}

#[tokio::test]
async fn a_zombie_is_fenced_after_the_row_it_would_collide_with_is_trimmed() {
    let group = Group::new(1).await;
    let (mut zombie, mut heir) = (group.member().await, group.member().await);
    assert!(zombie.claim(0, -1).await);
    zombie.handle("from the grave").await;
    assert!(heir.claim(0, 0).await);
    for seq in 1..=150 {
        run(&mut heir.session, "begin").await;
        assert_eq!(heir.commit(seq, seq).await, Ok(()));
    }
    sqlx::query("update log.progress set at = at - interval '1 hour'")
        .execute(&group.log.pool)
        .await
        .unwrap();
    sqlx::query("select log.trim_progress(array[$1])")
        .bind(group.subscription)
        .execute(&group.log.pool)
        .await
        .unwrap();
    let oldest: i64 = sqlx::query_scalar("select min(seq) from log.progress")
        .fetch_one(&group.log.pool)
        .await
        .unwrap();
    assert!(oldest > 1, "the key alone would let it pass");

    assert_eq!(zombie.commit(0, 1).await.unwrap_err(), "LG001");
    assert!(!zombie.claim(0, 0).await, "the row that this claim would collide with is gone, too");
    assert_eq!(group.effects().await, [""; 0]);
    assert_eq!(group.progress(0).await, (151, Some(heir.id), 150));
}

/// One record to each of four partitions.
async fn publish(broker: &broker::Broker) {
    let records = (0..4).map(|p| NewRecord::new("t", format!("{p}")).partition(p));
    broker.publish(records).await.unwrap();
}

#[tokio::test]
async fn the_living_keep_their_partitions_and_the_dead_do_not() {
    let group = Group::new(4).await;
    let mut owner = group.member().await;
    for partition in 0..3 {
        assert!(owner.claim(partition, -1).await);
    }
    let broker = group.log.broker().await;
    let consumer = broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    publish(&broker).await;
    eventually("the free partition's record", || async {
        (!group.effects().await.is_empty()).then_some(())
    })
    .await;
    // The owner has more than its share, which is its own to give back.
    for partition in 0..3 {
        assert_eq!(group.progress(partition).await, (0, Some(owner.id), 0));
    }
    assert_eq!(group.effects().await, ["3"]);

    owner.session.close().await.unwrap();
    group.log.caught_up("g").await;
    assert_eq!(group.log.handled().await, (4, 4));
    consumer.stop().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_member_that_hangs_loses_its_session_and_its_partitions() {
    let group = Group::new(4).await;
    let mut stuck = group.member().await;
    for partition in 0..4 {
        assert!(stuck.claim(partition, -1).await);
    }
    // It says nothing from now on.
    run(&mut stuck.session, "set idle_session_timeout = '1s'").await;
    let broker = group.log.broker().await;
    let consumer = broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    publish(&broker).await;
    group.log.caught_up("g").await;
    assert_eq!(group.log.handled().await, (4, 4));
    let ended = sqlx::query("select").execute(&mut stuck.session).await.unwrap_err();
    let code =
        ended.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
    assert!(code.is_none_or(|code| code == "57P05"), "{ended}");
    consumer.stop().await;
    broker.shutdown().await;
}

/// A process that hangs between its progress and its COMMIT keeps one partition from the
/// others, until the server ends its transaction; not all of them.
#[tokio::test]
async fn a_member_stuck_in_its_commit_blocks_its_partition_alone() {
    let group = Group::new(4).await;
    let mut stuck = group.member().await;
    assert!(stuck.claim(0, -1).await);
    stuck.handle("never committed").await;
    let append = "select log.commit_progress($1, 0, 0, $2, 1, 1)";
    sqlx::query(append)
        .bind(stuck.subscription)
        .bind(stuck.id)
        .execute(&mut stuck.session)
        .await
        .unwrap();
    // The session that says it is alive, here the same one, the server has ended meanwhile.
    run(&mut stuck.session, "select pg_advisory_unlock_all()").await;

    let broker = group.log.broker().await;
    let consumer = broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    publish(&broker).await;
    eventually("the records of the other partitions", || async {
        (group.log.handled().await == (3, 3)).then_some(())
    })
    .await;
    run(&mut stuck.session, "rollback").await;
    group.log.caught_up("g").await;
    assert_eq!(group.log.handled().await, (4, 4));
    consumer.stop().await;
    broker.shutdown().await;
}
