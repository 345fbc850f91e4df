//! The loop of a group's member: joins, claims its share, fetches for all of its partitions
//! at once, and hands out to their actors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use futures::FutureExt;
use rand::Rng;
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::notices::Ends;
use crate::supervise::Supervised;
use crate::{Broker, Error, Record, Stop};

use super::Spec;
use super::assign::moves;
use super::partition::{Event, Outcome, Partition, Release, Work};
use super::session::{Claimed, Progress, Session, Slot, Subscribed};
use super::worker::Worker;

const HEARTBEAT: Duration = Duration::from_secs(1);
const HEARTBEATS_BETWEEN_TRIMS: u32 = 60;
/// Batches that a partition's actor holds: one in hand and one to go on with.
const CREDIT: usize = 2;
/// What one fetch asks for a partition.
const FETCH_BYTES: usize = 1024 * 1024;
/// What a member holds of fetched records at most, give or take one fetch.
const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;
/// How long a stop waits for the batches in hand.
const DRAIN: Duration = Duration::from_secs(8);

/// A running member of a consumer group. Dropped, it goes on until the broker is shut down.
#[derive(Debug)]
pub struct Consumer {
    stop: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
}

impl Consumer {
    pub(super) async fn start(broker: Broker, spec: Spec) -> Result<Consumer, Error> {
        // The first session is opened here, so that a wrong name or a missing right is the
        // caller's error and not a line in a log.
        open(&broker, &spec).await?.close().await;
        let part = broker.part().ok_or(Error::Closed)?;
        let (alive, ended) = mpsc::channel(1);
        let (stop, stopped) = Stop::channel();
        let arbiter = broker.arbiter().clone();
        let spec = Arc::new(spec);
        Supervised::start(&arbiter, "consumer", alive, move || {
            // Holding the broker's part keeps its shutdown waiting for this loop.
            let (broker, spec, stop, part) =
                (broker.clone(), spec.clone(), stopped.clone(), part.clone());
            async move {
                let result = Member::run(broker, spec, stop).await;
                drop(part);
                result
            }
            .boxed()
        });
        Ok(Consumer { stop, ended })
    }

    /// Leaves the group after the batches in hand; its partitions are free when this returns.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let _ = self.ended.recv().await;
    }
}

async fn open(broker: &Broker, spec: &Spec) -> Result<Session, Error> {
    let (options, spec) = (broker.connect_options(), spec.clone());
    let open = async move {
        Session::open(options, &spec.group, &spec.topics, spec.start, spec.session_timeout).await
    };
    broker.runtime().spawn(open).await.map_err(|_| Error::Closed)?
}

/// A partition that this member owns.
struct Held {
    actor: Addr<Partition>,
    /// The next offset to fetch.
    next: i64,
    end: i64,
    batches: usize,
    bytes: usize,
    releasing: bool,
}

struct Member {
    broker: Broker,
    spec: Arc<Spec>,
    session: Session,
    held: BTreeMap<Slot, Held>,
    events: mpsc::UnboundedSender<Event>,
    in_flight: Arc<Semaphore>,
    beats: u32,
}

impl Member {
    async fn run(broker: Broker, spec: Arc<Spec>, mut stop: Stop) -> Result<(), Error> {
        // Before the first look: what a tick says from here on is not missed.
        let mut ticks = broker.notices().subscribe();
        let mut broker_stop = broker.stop();
        let session = open(&broker, &spec).await?;
        info!(group = &*spec.group, member = session.member, "joined");
        // Bounded by the credit of each partition held.
        let (events, mut inbox) = mpsc::unbounded_channel();
        let in_flight = Arc::new(Semaphore::new(spec.max_in_flight));
        let mut member =
            Member { broker, spec, session, held: BTreeMap::new(), events, in_flight, beats: 0 };
        let end = tokio::select! {
            end = member.consume(&mut ticks, &mut inbox) => end,
            () = stop.requested() => Ok(()),
            () = broker_stop.requested() => Ok(()),
        };
        member.leave(inbox).await;
        end
    }

    async fn consume(
        &mut self,
        ticks: &mut broadcast::Receiver<Ends>,
        inbox: &mut mpsc::UnboundedReceiver<Event>,
    ) -> Result<(), Error> {
        let mut beat_at = Instant::now();
        loop {
            while let Ok(event) = inbox.try_recv() {
                self.on_event(event);
            }
            loop {
                match ticks.try_recv() {
                    Ok(ends) => self.on_tick(&ends, &mut beat_at),
                    Err(broadcast::error::TryRecvError::Lagged(_)) => beat_at = Instant::now(),
                    Err(_) => break,
                }
            }
            if Instant::now() >= beat_at {
                beat_at = Instant::now() + HEARTBEAT.mul_f64(rand::rng().random_range(0.8..1.2));
                self.heartbeat().await?;
            }
            if self.fetch().await? {
                continue;
            }
            tokio::select! {
                ends = ticks.recv() => match ends {
                    Ok(ends) => self.on_tick(&ends, &mut beat_at),
                    Err(_) => beat_at = Instant::now(),
                },
                event = inbox.recv() => if let Some(event) = event { self.on_event(event) },
                () = sleep_until(beat_at) => {}
            }
        }
    }

    fn on_tick(&mut self, ends: &Ends, beat_at: &mut Instant) {
        let Ends::These(ends) = ends else {
            *beat_at = Instant::now();
            return;
        };
        for end in ends.iter() {
            for subscribed in &self.session.subscribed {
                if subscribed.topic_id == end.topic {
                    let slot = Slot { subscription: subscribed.id, partition: end.partition };
                    if let Some(held) = self.held.get_mut(&slot) {
                        held.end = held.end.max(end.end);
                    }
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event.outcome {
            Outcome::Done { bytes } => {
                if let Some(held) = self.held.get_mut(&event.slot) {
                    held.batches = held.batches.saturating_sub(1);
                    held.bytes = held.bytes.saturating_sub(bytes);
                }
            }
            Outcome::Released => drop(self.held.remove(&event.slot)),
            Outcome::Lost => {
                warn!(
                    group = &*self.spec.group,
                    partition = event.slot.partition,
                    "lost a partition"
                );
                self.held.remove(&event.slot);
            }
        }
    }

    /// Sees how things are and moves towards the fair share.
    async fn heartbeat(&mut self) -> Result<(), Error> {
        let (progress, alive) = self.session.look().await?;
        let mut wanted = Vec::new();
        for subscribed in self.session.subscribed.clone() {
            let rows: Vec<&Progress> =
                progress.iter().filter(|row| row.slot.subscription == subscribed.id).collect();
            let members: Vec<i32> = alive
                .iter()
                .filter(|(subscription, _)| *subscription == subscribed.id)
                .map(|(_, member)| *member)
                .collect();
            let owners: Vec<Option<i32>> = rows
                .iter()
                .map(|row| {
                    // What this member gave up in trouble still bears its name: free as well.
                    let mine = row.member == Some(self.session.member);
                    let kept = !mine || self.held.contains_key(&row.slot);
                    row.member.filter(|member| kept && members.contains(member))
                })
                .collect();
            for row in &rows {
                self.see(row);
            }
            let plan = moves(self.session.member, &members, &owners);
            wanted.extend(plan.claim.into_iter().map(|i| *rows[i]));
            for i in plan.release {
                if let Some(held) = self.held.get_mut(&rows[i].slot).filter(|held| !held.releasing)
                {
                    held.releasing = true;
                    held.actor.do_send(Release);
                }
            }
        }
        if !wanted.is_empty() {
            for claimed in self.session.claim(&wanted).await? {
                self.hold(claimed);
            }
            // What the claimed partitions hold by now.
            let (progress, _) = self.session.look().await?;
            progress.iter().for_each(|row| self.see(row));
        }
        self.beats += 1;
        if self.beats.is_multiple_of(HEARTBEATS_BETWEEN_TRIMS) {
            self.session.trim().await?;
        }
        Ok(())
    }

    fn see(&mut self, row: &Progress) {
        if let Some(held) = self.held.get_mut(&row.slot) {
            held.end = held.end.max(row.end);
            if row.member != Some(self.session.member) && !held.releasing {
                // Its actor will be fenced; no need to feed it until then.
                held.releasing = true;
                held.actor.do_send(Release);
            }
        }
    }

    fn hold(&mut self, claimed: Claimed) {
        let Some(at) =
            self.session.subscribed.iter().position(|s| s.id == claimed.slot.subscription)
        else {
            return;
        };
        let Subscribed { topic, .. } = &self.session.subscribed[at];
        debug!(
            group = &*self.spec.group,
            topic = &**topic,
            partition = claimed.slot.partition,
            generation = claimed.generation,
            committed = claimed.committed,
            "claimed"
        );
        let worker = Worker {
            broker: self.broker.clone(),
            handler: self.spec.handlers[at].clone(),
            group: self.spec.group.clone(),
            topic: topic.clone(),
            retry: self.spec.retry,
            in_flight: self.in_flight.clone(),
            slot: claimed.slot,
            member: self.session.member,
            generation: claimed.generation,
            seq: claimed.seq,
            committed: claimed.committed,
            in_doubt: None,
        };
        let actor = Partition::start(self.broker.arbiter(), worker, self.events.clone());
        self.held.insert(
            claimed.slot,
            Held { actor, next: claimed.committed, end: 0, batches: 0, bytes: 0, releasing: false },
        );
    }

    /// One fetch for every partition that has records and room; whether there was any.
    async fn fetch(&mut self) -> Result<bool, Error> {
        let held_bytes: usize = self.held.values().map(|held| held.bytes).sum();
        let room = MAX_HELD_BYTES.saturating_sub(held_bytes);
        let mut wanted = Vec::new();
        for subscribed in &self.session.subscribed {
            for (slot, held) in &self.held {
                if slot.subscription == subscribed.id
                    && !held.releasing
                    && held.batches < CREDIT
                    && held.next < held.end
                {
                    wanted.push((subscribed.topic_id, slot.partition, held.next));
                }
            }
        }
        if wanted.is_empty() || room == 0 {
            return Ok(false);
        }
        let bytes = (room / wanted.len()).clamp(1, FETCH_BYTES) as i64;
        let max_batch = self.spec.max_batch as i32;
        let mut batches =
            self.session.fetch(&wanted, max_batch, bytes).await?.into_iter().peekable();
        let mut any = false;
        while let Some((topic_id, partition, first)) = batches.next() {
            let Some(subscribed) =
                self.session.subscribed.iter().find(|subscribed| subscribed.topic_id == topic_id)
            else {
                continue;
            };
            let slot = Slot { subscription: subscribed.id, partition };
            let Some(held) = self.held.get_mut(&slot) else { continue };
            let mut bytes = first.body.len();
            let mut records: Vec<Record> =
                first.records(&subscribed.topic, partition, held.next).collect();
            while let Some((.., batch)) =
                batches.next_if(|(t, p, _)| (*t, *p) == (topic_id, partition))
            {
                bytes += batch.body.len();
                records.extend(batch.records(&subscribed.topic, partition, held.next));
            }
            // The rest of the last batch is fetched again: a handler was promised no more.
            records.truncate(max_batch as usize);
            let Some(last) = records.last() else { continue };
            held.next = last.offset() as i64 + 1;
            held.batches += 1;
            held.bytes += bytes;
            held.actor.do_send(Work { records, bytes });
            any = true;
        }
        Ok(any)
    }

    /// Lets every partition finish its batch in hand and gives them all back.
    async fn leave(self, mut inbox: mpsc::UnboundedReceiver<Event>) {
        let Member { mut held, events, session, spec, .. } = self;
        for held in held.values() {
            held.actor.do_send(Release);
        }
        drop(events);
        let drained = timeout(DRAIN, async {
            while !held.is_empty() {
                match inbox.recv().await {
                    Some(Event { slot, outcome: Outcome::Released | Outcome::Lost }) => {
                        held.remove(&slot);
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        });
        if drained.await.is_err() {
            warn!(group = &*spec.group, partitions = held.len(), "left before its handlers ended");
        }
        info!(group = &*spec.group, member = session.member, "left");
        session.close().await;
    }
}
