//! Publishing, one by one and in batches.

use std::time::Instant;

use broker::{Broker, NewRecord};
use sqlx::{Connection, PgConnection};

use crate::bare;
use crate::clients::{Rounds, per_second};
use crate::report::{Aim, Report};
use crate::world::{Log, PARTITIONS, World};

pub async fn run(world: &World, report: &mut Report) {
    report.section("publish");
    let log = world.log().await;
    let broker = log.broker().await;
    broker.publish([world.record(0)]).await.unwrap();
    let side = Side { world, log: &log, broker: &broker };

    let [mut plain, mut transactions, mut eight, mut many, mut as_many] =
        [(); 5].map(|()| Rounds::default());
    for _ in 0..world.rounds {
        let inserts = side.inserts(8).await;
        plain.push(side.wire(8).await, inserts);
        let in_transactions = side.inserts_in_transactions(8).await;
        transactions.push(side.transactions(8).await, in_transactions);
        eight.push(side.callers(8, 1, false).await, inserts);
        let sixty_four = side.callers(64, 1, false).await;
        many.push(sixty_four, inserts);
        as_many.push(sixty_four, side.inserts(64).await);
    }
    report.rates("one record a commit, 8 sessions", &plain, Aim::AtLeast(1.0));
    report.rates("one record a transaction, 8 tasks", &transactions, Aim::AtLeast(1.0));
    report.rates("coalesced, 8 callers : 8 sessions", &eight, Aim::AtLeast(1.3));
    report.rates("coalesced, 64 callers : 8 sessions", &many, Aim::AtLeast(7.0));
    report.rates("coalesced, 64 callers : 64 sessions", &as_many, Aim::None);

    let (mut batches, mut keyed) = (Rounds::default(), Rounds::default());
    for _ in 0..world.rounds {
        let copies = side.copies(4).await;
        batches.push(side.callers(4, 1000, false).await, copies);
        keyed.push(side.callers(4, 1000, true).await, copies);
    }
    report.rates("batches of 1,000, 4 callers : COPY", &batches, Aim::AtLeast(2.3));
    report.rates("the same with keys, over 8 partitions", &keyed, Aim::None);
    broker.shutdown().await;
    log.close(world).await;
}

struct Side<'a> {
    world: &'a World,
    log: &'a Log,
    broker: &'a Broker,
}

impl Side<'_> {
    async fn sessions(&self, count: usize) -> Vec<PgConnection> {
        let mut sessions = Vec::new();
        for client in 0..count {
            let mut session = self.log.session().await;
            // A session's first statement reads the catalogue, which is no part of its rate.
            bare::insert(&mut session, self.world.value(client)).await;
            insert_batch(&mut session, client as i32 % PARTITIONS, self.world.value(client)).await;
            sessions.push(session);
        }
        sessions
    }

    fn values(&self, client: usize) -> Vec<Vec<u8>> {
        (0..1024).map(|i| self.world.value(client * 1024 + i).to_vec()).collect()
    }

    async fn inserts(&self, clients: usize) -> f64 {
        let mut sessions = self.sessions(clients).await;
        per_second(clients, self.world.round(), |client, until| {
            let (mut session, values) = (sessions.pop().unwrap(), self.values(client));
            async move {
                let mut done = 0;
                while Instant::now() < until {
                    bare::insert(&mut session, &values[done % values.len()]).await;
                    done += 1;
                }
                done
            }
        })
        .await
    }

    async fn inserts_in_transactions(&self, clients: usize) -> f64 {
        let mut sessions = self.sessions(clients).await;
        per_second(clients, self.world.round(), |client, until| {
            let (mut session, values) = (sessions.pop().unwrap(), self.values(client));
            async move {
                let mut done = 0;
                while Instant::now() < until {
                    let mut tx = session.begin().await.unwrap();
                    bare::insert(&mut tx, &values[done % values.len()]).await;
                    tx.commit().await.unwrap();
                    done += 1;
                }
                done
            }
        })
        .await
    }

    /// What any client of the log's tables does.
    async fn wire(&self, clients: usize) -> f64 {
        let mut sessions = self.sessions(clients).await;
        per_second(clients, self.world.round(), |client, until| {
            let (mut session, values) = (sessions.pop().unwrap(), self.values(client));
            let broker = self.broker.clone();
            async move {
                let mut done = 0;
                while Instant::now() < until {
                    let partition = (client + done) as i32 % PARTITIONS;
                    insert_batch(&mut session, partition, &values[done % values.len()]).await;
                    broker.wake();
                    done += 1;
                }
                done
            }
        })
        .await
    }

    async fn transactions(&self, clients: usize) -> f64 {
        per_second(clients, self.world.round(), |client, until| {
            let (broker, values) = (self.broker.clone(), self.values(client));
            async move {
                let mut done = 0;
                while Instant::now() < until {
                    let mut tx = broker.begin().await.unwrap();
                    let value = values[done % values.len()].clone();
                    tx.publish(NewRecord::new("t", value)).unwrap();
                    tx.commit().await.unwrap();
                    done += 1;
                }
                done
            }
        })
        .await
    }

    async fn callers(&self, clients: usize, batch: usize, keys: bool) -> f64 {
        per_second(clients, self.world.round(), |client, until| {
            let (broker, values) = (self.broker.clone(), self.values(client));
            async move {
                let mut done = 0;
                while Instant::now() < until {
                    let record = |i: usize| {
                        let record = NewRecord::new("t", values[i % values.len()].clone());
                        if keys { record.key(format!("order-{i}")) } else { record }
                    };
                    broker.publish((done..done + batch).map(record)).await.unwrap();
                    done += batch;
                }
                done
            }
        })
        .await
    }

    async fn copies(&self, clients: usize) -> f64 {
        let mut sessions = self.sessions(clients).await;
        per_second(clients, self.world.round(), |client, until| {
            let (mut session, values) = (sessions.pop().unwrap(), self.values(client));
            async move {
                let mut done = 0;
                while Instant::now() < until {
                    // Encoding is part of the work, as it is on the other side.
                    let rows =
                        values.iter().cycle().skip(done % 1024).take(1000).map(Vec::as_slice);
                    bare::copy(&mut session, bare::copy_data(rows)).await;
                    done += 1000;
                }
                done
            }
        })
        .await
    }
}

/// One record, as any client of the log's tables publishes it.
async fn insert_batch(session: &mut PgConnection, partition: i32, value: &[u8]) {
    let body = [&[0; 4][..], value].concat();
    sqlx::query(
        "insert into log.record_batch (topic, partition, lens, body) values (1, $1, $2, $3)",
    )
    .bind(partition)
    .bind((body.len() as u32).to_be_bytes().to_vec())
    .bind(body)
    .execute(session)
    .await
    .unwrap();
}
