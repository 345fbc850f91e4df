//! The log as a person at psql, or another language, meets it.
#![allow(clippy::unwrap_used)]

mod common;

use broker::NewRecord;
use common::{Log, eventually, log, run};
use sqlx::{AssertSqlSafe, PgConnection};

async fn error_of(session: &mut PgConnection, statement: &str) -> (String, String) {
    let error = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(session).await;
    let error = error.unwrap_err();
    let error = error.as_database_error().unwrap();
    (error.code().unwrap().into_owned(), error.message().to_owned())
}

async fn records(log: &Log, count: i64) -> Vec<(i32, i64, Option<String>, String, String)> {
    eventually("the records", || async {
        let rows: Vec<(i32, i64, Option<String>, String, String)> = sqlx::query_as(
            "select partition, \"offset\", key, headers::text, convert_from(value, 'UTF8')
               from log.record where topic = 't' order by at",
        )
        .fetch_all(&log.pool)
        .await
        .unwrap();
        (rows.len() as i64 == count).then_some(rows)
    })
    .await
}

#[tokio::test]
async fn what_psql_publishes_is_what_the_crate_would() {
    let log = log().await;
    let broker = log.broker().await;
    let mut psql = log.session().await;
    run(&mut psql, "select log.create_topic('t', 7)").await;
    let keys = [
        "",
        "a",
        "ab",
        "abc",
        "abcd",
        "länger",
        "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
    ];
    for key in keys {
        sqlx::query(
            "select log.publish('t', 'by psql', $1, headers => '{\"a\": \"b\", \"ü\": \"\"}')",
        )
        .bind(key)
        .execute(&mut psql)
        .await
        .unwrap();
        let same = NewRecord::new("t", "by crate").key(key.to_owned()).header("a", "b");
        broker.publish([same.header("ü", "")]).await.unwrap();
    }
    let rows = records(&log, 2 * keys.len() as i64).await;
    for key in keys {
        let [one, other] = &rows
            .iter()
            .filter(|(_, _, of, ..)| of.as_deref() == Some(key))
            .collect::<Vec<_>>()[..]
        else {
            panic!("{rows:?}");
        };
        assert_eq!((one.0, &one.3), (other.0, &other.3), "partition and headers of {key:?}");
    }

    // Read back, by topic, partition and offset.
    let (partition, offset, key, ..) = rows[3].clone();
    let found: (i64, Option<String>, Vec<u8>) =
        sqlx::query_as("select \"offset\", key, value from log.fetch('t', $1, $2, 1)")
            .bind(partition)
            .bind(offset)
            .fetch_one(&mut psql)
            .await
            .unwrap();
    assert_eq!(found, (offset, key, rows[3].4.clone().into_bytes()));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_publish_is_part_of_the_callers_transaction() {
    let log = log().await;
    let broker = log.broker().await;
    let mut psql = log.session().await;
    run(&mut psql, "select log.create_topic('t', 1)").await;
    for script in [
        "begin; select log.publish('t', 'undone'); rollback",
        "begin; select log.publish('t', 'done', part => 0); commit",
    ] {
        sqlx::raw_sql(script).execute(&mut psql).await.unwrap();
    }
    assert_eq!(records(&log, 1).await[0].4, "done");
    broker.shutdown().await;
}

#[tokio::test]
async fn every_error_has_its_code() {
    let log = log().await;
    let mut psql = log.session().await;
    run(&mut psql, "select log.create_topic('t', 2)").await;
    run(&mut psql, "select log.subscribe('g', 't', 'earliest')").await;
    for (statement, code, told) in [
        ("select log.publish('none', 'v')", "LG404", "topic \"none\" does not exist"),
        ("select log.publish('t', 'v', part => 2)", "LG416", "partitions 0 to 1, not 2"),
        ("select log.publish('t', 'v', headers => '{\"\": \"x\"}')", "22023", "1 to 255 bytes"),
        ("select log.publish('t', repeat('v', 1048577))", "22023", "store the value"),
        ("select log.publish('t', 'v', repeat('k', 65535))", "22023", "65,534"),
        ("select * from log.fetch('t', 2, 0)", "LG416", "no partition 2"),
        ("select * from log.fetch('t', 0, -1)", "LG416", "starts at offset 0"),
        ("select log.seek('g', 't', null, 'soon')", "22023", "is no position"),
        ("select log.seek('g', 't', null, '@soon')", "22007", "invalid input syntax"),
        ("select log.seek('g', 't', null, '7')", "LG416", "offsets 0 to 0"),
        ("select log.pause('none', 't')", "LG405", "never read topic"),
        ("select log.delete_group('none')", "LG405", "does not exist"),
        ("select log.add_partitions('t', 1)", "LG409", "cannot be taken away"),
        ("select log.create_topic('no spaces', 1)", "23514", "topic_name_legal"),
        (&batch("1024, '\\x00000004', '\\x00000000'"), "23514", "record_batch_partition_range"),
        (&batch("-1, '\\x00000004', '\\x00000000'"), "23514", "record_batch_partition_range"),
        (&batch("0, '', ''"), "23514", "record_batch_count_range"),
        (&batch("0, '\\x000004', ''"), "23514", "record_batch_count_range"),
        (&batch("0, decode(repeat('00', 40004), 'hex'), ''"), "23514", "record_batch_count_range"),
        (
            &batch("0, '\\x00000004', decode(repeat('00', 4194305), 'hex')"),
            "23514",
            "record_batch_size_range",
        ),
        (&batch("null, '\\x00000004', ''"), "23502", "\"partition\""),
    ] {
        let (found, message) = error_of(&mut psql, statement).await;
        assert_eq!(found, code, "{statement}: {message}");
        assert!(message.contains(told), "{statement}: {message}");
    }
}

fn batch(columns: &str) -> String {
    format!("insert into log.record_batch (topic, partition, lens, body) values (1, {columns})")
}

#[tokio::test]
async fn a_role_sees_and_moves_only_its_own() {
    let log = log().await;
    let mut owner = log.session().await;
    run(&mut owner, "select log.create_topic('t', 1)").await;
    run(&mut owner, "select log.subscribe('theirs', 't', 'earliest')").await;
    let url = log.role("stranger").await;
    let mut stranger = <PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    for statement in [
        "select log.publish('t', 'v')",
        "select * from log.fetch('t', 0, 0)",
        "select log.seek('theirs', 't', null, 'latest')",
        "select log.pause('theirs', 't')",
        "select log.delete_group('theirs')",
        "select log.delete_topic('t')",
        "select log.add_partitions('t', 2)",
        "select log.set_retention('1 second', null, null, null)",
        "select log.findings()",
        "select log.adopt()",
        "select log.empty_segment(0)",
        "select * from log.record",
        "insert into log.record_batch_3 (topic, partition, lens, body) values (1, 0, '\\x00000000', '')",
    ] {
        let (code, message) = error_of(&mut stranger, statement).await;
        assert_eq!(code, "42501", "{statement}: {message}");
    }
    let seen: i64 = sqlx::query_scalar("select count(*) from log.lag()")
        .fetch_one(&mut stranger)
        .await
        .unwrap();
    assert_eq!(seen, 0);
    let mine: i64 =
        sqlx::query_scalar("select count(*) from log.lag()").fetch_one(&mut owner).await.unwrap();
    assert_eq!(mine, 1);
}

#[tokio::test]
async fn an_operator_sees_and_moves_every_group_and_does_nothing_else() {
    let log = log().await;
    let mut owner = log.session().await;
    for statement in [
        "select log.create_topic('t', 1)",
        "select log.subscribe('before', 't', 'earliest')",
        "select log.publish('t', 'v')",
    ] {
        run(&mut owner, statement).await;
    }
    let url = log.role("operator").await;
    let role = url.split("//").nth(1).unwrap().split(':').next().unwrap().to_owned();
    run(&mut owner, &format!("select log.grant_operator('{role}')")).await;
    run(&mut owner, "select log.subscribe('after', 't', 'earliest')").await;
    let broker = log.broker().await;
    records(&log, 1).await;

    let mut operator = <PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let seen: i64 = sqlx::query_scalar("select count(*) from log.lag()")
        .fetch_one(&mut operator)
        .await
        .unwrap();
    assert_eq!(seen, 2);
    for group in ["before", "after"] {
        for statement in [
            "select * from log.fetch('t', 0, 0)",
            "select * from log.pace('GROUP')",
            "select log.pause('GROUP', 't')",
            "select log.resume('GROUP', 't')",
            "select * from log.seek_plan('GROUP', 't', null, 'latest')",
            "select * from log.seek('GROUP', 't', null, 'latest')",
            "select log.mark_redriven('t.GROUP.dlq', 0, 0)",
            "select log.publish('t.GROUP.redrive', 'again')",
        ] {
            run(&mut operator, &statement.replace("GROUP", group)).await;
        }
    }
    for statement in [
        "select log.publish('t', 'v')",
        "select log.publish('t.before.dlq', 'v')",
        "select log.subscribe('before', 't', 'earliest')",
        "select log.claim(1, array[1], array[0], array[1::bigint])",
        "select log.release(1, 0, 1, 1, 1)",
        "select log.trim_progress(array[1])",
        "select log.delete_group('before')",
        "select log.delete_topic('t')",
        "select log.grant_operator(current_user::name)",
        "select log.grant_redrive(1)",
        "insert into log.operator values ('x')",
        "select log.findings()",
    ] {
        let (code, message) = error_of(&mut operator, statement).await;
        assert_eq!(code, "42501", "{statement}: {message}");
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn a_role_that_is_dropped_takes_only_its_own_rights_along() {
    let log = log().await;
    let mut owner = log.session().await;
    run(&mut owner, "select log.create_topic('t', 1)").await;
    let (gone, stays) = (log.role("gone").await, log.role("stays").await);
    for url in [&gone, &stays] {
        for privilege in ["publish", "consume"] {
            log.grant("t", privilege, url).await;
        }
    }
    let mut going = <PgConnection as sqlx::Connection>::connect(&gone).await.unwrap();
    run(&mut going, "select log.subscribe('theirs', 't', 'earliest')").await;
    drop(going);
    let name = gone.split("//").nth(1).unwrap().split(':').next().unwrap();
    // Its session may still be ending.
    let drop_role = format!("drop role \"{name}\"");
    eventually("the role to go", || async {
        sqlx::query(AssertSqlSafe(drop_role.clone())).execute(&log.pool).await.ok().map(drop)
    })
    .await;

    let mut staying = <PgConnection as sqlx::Connection>::connect(&stays).await.unwrap();
    run(&mut staying, "select log.publish('t', 'v')").await;
    run(&mut staying, "select log.subscribe('ours', 't', 'earliest')").await;
    run(&mut staying, "select * from log.fetch('t', 0, 0)").await;
    run(&mut staying, "select * from log.lag()").await;
    run(&mut owner, "select * from log.lag('theirs')").await;
    run(&mut owner, "select log.delete_group('ours')").await;

    let name = stays.split("//").nth(1).unwrap().split(':').next().unwrap();
    run(&mut owner, format!("select log.revoke_topic('t', 'publish', '{name}')")).await;
    let (code, _) = error_of(&mut staying, "select log.publish('t', 'v')").await;
    assert_eq!(code, "42501");
}
