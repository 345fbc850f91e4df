//! How it ends when it does not go well, and what it says.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::common::{binary, log, run};

#[tokio::test]
async fn a_log_is_made_and_made_again() {
    let log = log().await;
    sqlx::query("create database empty").execute(&log.pool).await.unwrap();
    let url = format!("{}/empty", log.url.rsplit_once('/').unwrap().0);
    let with = |args: &[&str]| {
        let mut command = binary(&url);
        command.args(args);
        run(command, b"")
    };
    with(&["topics", "list"]).told(5, "try: broker migrate");
    let version = broker::migrations().iter().map(|migration| migration.version).max().unwrap();
    for _ in 0..2 {
        assert_eq!(with(&["migrate"]).done(), format!("the log is at version {version}\n"));
    }
    assert_eq!(with(&["migrate", "--json"]).done(), format!("{{\"version\":{version}}}\n"));
    assert_eq!(with(&["topics", "create", "t"]).done(), "created t, 1 partition\n");
}

#[tokio::test]
async fn who_may_not_is_told_what_would_help() {
    let log = log().await;
    log.filled("t", 1, 3).await.shutdown().await;
    let (role, url) = log.role("reader").await;
    let with = |args: &[&str], input: &str| {
        let mut command = binary(&url);
        command.args(args);
        run(command, input.as_bytes())
    };
    with(&["consume", "t", "-e"], "").told(4, "broker grant TOPIC publish|consume ROLE");
    with(&["consume", "t", "-e", "-g", "g"], "").told(4, "may not consume topic");
    with(&["produce", "t"], "x\n").told(4, "broker grant TOPIC publish|consume ROLE");
    with(&["topics", "create", "u"], "").told(4, "not permitted");
    with(&["grant", "t", "publish", &role], "").told(4, "not permitted");
    with(&["verify"], "").told(4, "try: as the role that owns the log");
    assert_eq!(log.ok(&["grant", "t", "consume", &role]), format!("{role} may consume t\n"));
    assert_eq!(with(&["consume", "t", "-e"], "").done().lines().count(), 3);
    with(&["produce", "t"], "x\n").told(4, "not permitted");
    assert_eq!(log.ok(&["grant", "t", "publish", &role]), format!("{role} may publish to t\n"));
    with(&["produce", "t"], "x\n").done();
    log.run(&["grant", "t", "publish", "nobody"]).told(3, "role \"nobody\" does not exist");
    log.run(&["grant", "none", "publish", &role]).told(3, "topic \"none\" does not exist");
    log.run(&["grant", "t", "drink", &role]).told(2, "possible values: publish, consume");
}

#[tokio::test]
async fn a_database_that_cannot_be_had_is_named_without_its_password() {
    let log = log().await;
    let (_, url) = log.role("known").await;
    let (start, host) = url.split_once('@').unwrap();
    let closed = format!("{start}@127.0.0.1:1/log");
    let unreadable = format!("{start}@host:port/log");
    let parameter = "postgres://me@host:port/log?password=tell-nobody";
    let other = format!("{start}@{}/none", host.split_once('/').unwrap().0);
    let wrong = url.replace("tell-nobody", "tell-nobody-else");
    let kafka = url.replace("postgres://", "kafka://");
    for (url, code, told) in [
        (&*closed, 5, "Connection refused"),
        (&*unreadable, 2, "port"),
        (parameter, 2, "port"),
        (&*other, 5, "does not exist"),
        (&*wrong, 4, "password authentication failed"),
        (&*kafka, 2, "postgres://"),
        ("", 2, "which log?"),
    ] {
        for args in [&["topics", "list"][..], &["migrate"], &["produce", "t", "-v"]] {
            let mut command = binary(url);
            command.args(args);
            let ended = run(command, b"");
            ended.told(code, told);
            assert!(!ended.err.contains("tell-nobody"), "{ended:?}");
        }
    }
    let mut help = binary(&url);
    help.arg("--help");
    let help = run(help, b"").done();
    assert!(help.contains("Exit codes") && !help.contains("tell-nobody"), "{help}");
}

#[tokio::test]
async fn the_url_comes_from_the_flag_then_from_the_environment() {
    let log = log().await;
    let list = |flag: &str, broker: &str, database: &str| {
        let mut command = binary(broker);
        command.env("DATABASE_URL", database).args(["topics", "list"]);
        if broker.is_empty() {
            command.env_remove("BROKER_URL");
        }
        if !flag.is_empty() {
            command.args(["--url", flag]);
        }
        run(command, b"").code
    };
    let nowhere = "postgres://127.0.0.1:1/none";
    assert_eq!(list(&log.url, nowhere, nowhere), Some(0));
    assert_eq!(list("", &log.url, nowhere), Some(0));
    assert_eq!(list("", "", &log.url), Some(0));
    assert_eq!(list("", nowhere, &log.url), Some(5));
}

#[tokio::test]
async fn a_server_that_goes_away_ends_what_was_to_end() {
    let log = log().await;
    log.filled("t", 1, 3).await.shutdown().await;
    let mut admin = PgConnection::connect(&log.url).await.unwrap();
    // As if it went away: no session may begin.
    let name = log.url.rsplit('/').next().unwrap();
    let close = format!("alter database {name} connection limit 0");
    sqlx::query(AssertSqlSafe(close)).execute(&mut admin).await.unwrap();
    let (_, url) = log.role("late").await;
    let mut command = binary(&url);
    command.args(["consume", "t", "-e"]);
    run(command, b"").told(5, "too many connections");
}

#[test]
fn shells_complete_it() {
    for (shell, told) in
        [("bash", "complete -F"), ("zsh", "#compdef broker"), ("fish", "complete -c broker")]
    {
        let mut command = binary("");
        command.args(["completions", shell]);
        let script = run(command, b"").done();
        assert!(script.contains(told) && script.contains("redrive"), "{shell}");
    }
}
