//! The loop of a group's member: joins, claims its share, fetches for all of its partitions
//! at once, and hands out to their actors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use crate::notices::{Ends, Fresh, Ticked};
use crate::record::Batch;
use crate::{Broker, Error, Record, Stop, telemetry};

use super::assign::moves;
use super::limits::Limits;
use super::partition::{Event, Outcome, Partition};
use super::session::{Claimed, Progress, Session, Slot, Subscribed};
use super::worker::Worker;
use super::{BelowLogStart, Spec};

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

/// Joins and leaves again: what is wrong with names, rights or the group's place is found now.
pub(super) async fn try_out(broker: &Broker, spec: &Spec) -> Result<(), Error> {
    let (options, spec) = (broker.connect_options(), spec.clone());
    let try_out = async move {
        let mut session = Session::open(options, &spec).await?;
        let (progress, _) = session.look().await?;
        let below = match spec.below_log_start {
            BelowLogStart::Fail => progress.iter().find(|row| row.committed < row.start),
            BelowLogStart::Earliest | BelowLogStart::Latest => None,
        };
        let result = below.map_or(Ok(()), |row| Err(below_log_start(&spec, &session, row)));
        session.close().await;
        result
    };
    broker.runtime().spawn(try_out).await.map_err(|_| Error::Closed)?
}

fn below_log_start(spec: &Spec, session: &Session, row: &Progress) -> Error {
    let topic = session.subscribed.iter().find(|s| s.id == row.slot.subscription);
    Error::BelowLogStart {
        group: spec.group.to_string(),
        topic: topic.map(|subscribed| subscribed.topic.to_string()).unwrap_or_default(),
        partition: row.slot.partition,
        committed: row.committed as u64,
        log_start: row.start as u64,
    }
}

/// A partition that this member owns.
struct Held {
    actor: Partition,
    /// The next offset to fetch.
    next: i64,
    end: i64,
    batches: usize,
    bytes: usize,
    releasing: bool,
    paused: bool,
    /// Its next record is gone, and nobody said what to do about that.
    stuck: bool,
}

impl Held {
    fn has_room(&self) -> bool {
        !(self.releasing || self.paused || self.stuck) && self.batches < CREDIT
    }
}

pub(super) struct Member {
    broker: Broker,
    spec: Arc<Spec>,
    session: Session,
    held: BTreeMap<Slot, Held>,
    events: mpsc::UnboundedSender<Event>,
    in_flight: Arc<Semaphore>,
    /// Of each topic as given.
    limits: Vec<Arc<Limits>>,
    beats: u32,
    beat_at: Instant,
}

impl Member {
    pub async fn run(broker: Broker, spec: Arc<Spec>, mut stop: Stop) -> Result<(), Error> {
        // Before the first look: what a tick says from here on is not missed.
        let mut ticks = broker.notices().subscribe();
        let mut broker_stop = broker.stop();
        let session = Session::open(broker.connect_options(), &spec).await?;
        let topics = session.subscribed.iter().map(|subscribed| subscribed.topic_id).collect();
        let _consumes = broker.notices().consumes(topics);
        info!(group = &*spec.group, member = session.member, "joined");
        // Bounded by the credit of each partition held.
        let (events, mut inbox) = mpsc::unbounded_channel();
        let in_flight = Arc::new(Semaphore::new(spec.max_in_flight));
        let limits = spec.topics.iter().map(|_| Arc::new(Limits::new(&spec))).collect();
        let mut member = Member {
            broker,
            spec,
            session,
            held: BTreeMap::new(),
            events,
            in_flight,
            limits,
            beats: 0,
            beat_at: Instant::now(),
        };
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
        ticks: &mut broadcast::Receiver<Ticked>,
        inbox: &mut mpsc::UnboundedReceiver<Event>,
    ) -> Result<(), Error> {
        loop {
            while let Ok(event) = inbox.try_recv() {
                self.on_event(event);
            }
            loop {
                match ticks.try_recv() {
                    Ok(ticked) => self.on_tick(&ticked),
                    Err(broadcast::error::TryRecvError::Lagged(_)) => self.beat_at = Instant::now(),
                    Err(_) => break,
                }
            }
            if Instant::now() >= self.beat_at {
                self.beat_at =
                    Instant::now() + HEARTBEAT.mul_f64(rand::rng().random_range(0.8..1.2));
                self.heartbeat().await?;
            }
            if self.fetch().await? {
                continue;
            }
            tokio::select! {
                ends = ticks.recv() => match ends {
                    Ok(ticked) => self.on_tick(&ticked),
                    Err(_) => self.beat_at = Instant::now(),
                },
                event = inbox.recv() => if let Some(event) = event { self.on_event(event) },
                () = sleep_until(self.beat_at) => {}
            }
        }
    }

    fn on_tick(&mut self, ticked: &Ticked) {
        let Ends::These(ends) = &ticked.ends else {
            self.beat_at = Instant::now();
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
        for fresh in ticked.fresh.iter() {
            self.on_fresh(fresh);
        }
    }

    /// Hands out a batch that came with a tick, where it is what its partition's actor is to get
    /// next.
    fn on_fresh(&mut self, fresh: &Fresh) {
        let Some((slot, _)) = self.slot(fresh.topic, fresh.partition) else { return };
        let awaited = |held: &Held| held.has_room() && held.next == fresh.batch.base;
        if self.held.get(&slot).is_some_and(awaited) && self.room() > 0 {
            self.hand_out(fresh.topic, fresh.partition, vec![fresh.batch.clone()]);
        }
    }

    /// A partition of a topic that this group subscribed to, and the topic's name.
    fn slot(&self, topic_id: i32, partition: i32) -> Option<(Slot, Arc<str>)> {
        let subscribed = self.session.subscribed.iter().find(|s| s.topic_id == topic_id)?;
        Some((Slot { subscription: subscribed.id, partition }, subscribed.topic.clone()))
    }

    /// How many bytes of records more may be held.
    fn room(&self) -> usize {
        let held: usize = self.held.values().map(|held| held.bytes).sum();
        MAX_HELD_BYTES.saturating_sub(held)
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
                // 0 where it is another's: else the last owner's number would stay for ever.
                let mine = row.member == Some(self.session.member);
                let behind = if mine { row.end - row.committed } else { 0 };
                telemetry::lag(&self.spec.group, &subscribed.topic, row.slot.partition, behind);
            }
            let plan = moves(self.session.member, &members, &owners);
            wanted.extend(plan.claim.into_iter().map(|i| *rows[i]));
            for i in plan.release {
                if let Some(held) = self.held.get_mut(&rows[i].slot).filter(|held| !held.releasing)
                {
                    held.releasing = true;
                    held.actor.release();
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
            held.paused = row.paused;
            if held.next < row.start {
                match self.spec.below_log_start {
                    BelowLogStart::Earliest => held.next = row.start,
                    BelowLogStart::Latest => held.next = row.end,
                    BelowLogStart::Fail => {
                        if !std::mem::replace(&mut held.stuck, true) {
                            let row = Progress { committed: held.next, ..*row };
                            error!("{}", below_log_start(&self.spec, &self.session, &row));
                        }
                    }
                }
            }
            if row.member != Some(self.session.member) && !held.releasing {
                // Its actor will be fenced; no need to feed it until then.
                held.releasing = true;
                held.actor.release();
            }
        }
    }

    fn hold(&mut self, claimed: Claimed) {
        let Some(at) =
            self.session.subscribed.iter().position(|s| s.id == claimed.slot.subscription)
        else {
            return;
        };
        let Subscribed { topic, of, .. } = &self.session.subscribed[at];
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
            handler: self.spec.handlers[*of].clone(),
            group: self.spec.group.clone(),
            topic: topic.clone(),
            source: self.spec.topics[*of].clone(),
            retry: self.spec.retry,
            limits: self.limits[*of].clone(),
            in_flight: self.in_flight.clone(),
            slot: claimed.slot,
            member: self.session.member,
            generation: claimed.generation,
            seq: claimed.seq,
            committed: claimed.committed,
            in_doubt: None,
        };
        let actor = Partition::start(worker, self.events.clone());
        self.held.insert(
            claimed.slot,
            Held {
                actor,
                next: claimed.committed,
                end: 0,
                batches: 0,
                bytes: 0,
                releasing: false,
                paused: false,
                stuck: false,
            },
        );
    }

    /// One fetch for every partition that has records and room; whether there was any.
    async fn fetch(&mut self) -> Result<bool, Error> {
        let room = self.room();
        let mut wanted = Vec::new();
        let (mut behind, mut at_once) = (0, false);
        for subscribed in &self.session.subscribed {
            for (slot, held) in &self.held {
                if slot.subscription == subscribed.id && held.next < held.end {
                    behind += 1;
                    if held.has_room() {
                        at_once |= held.batches == 0 || held.bytes > FETCH_BYTES / 2;
                        wanted.push((subscribed.topic_id, slot.partition, held.next));
                    }
                }
            }
        }
        // Partitions that are fetched together cost less than one by one, so those that have a batch
        // in hand wait for company. Large ones cost by their bytes, and gain from being fetched while
        // others are handled.
        if wanted.is_empty() || room == 0 || !(at_once || wanted.len() * 2 >= behind) {
            return Ok(false);
        }
        let bytes = (room / wanted.len()).clamp(1, FETCH_BYTES) as i64;
        let max_batch = self.spec.max_batch() as i32;
        let mut any = false;
        for ((topic_id, partition), batches) in
            self.session.fetch(&wanted, max_batch, bytes).await?
        {
            any |= self.hand_out(topic_id, partition, batches);
        }
        Ok(any)
    }

    /// Hands a partition's batches out to its actor, if they are what it is to get next.
    fn hand_out(&mut self, topic_id: i32, partition: i32, batches: Vec<Batch>) -> bool {
        let Some((slot, topic)) = self.slot(topic_id, partition) else { return false };
        let Some(held) = self.held.get_mut(&slot) else { return false };
        let mut bytes = 0;
        let mut records: Vec<Record> = Vec::new();
        for batch in batches {
            bytes += batch.body.len();
            records.extend(batch.records(&topic, partition, held.next));
        }
        // The rest of the last batch is fetched again: a handler was promised no more.
        records.truncate(self.spec.max_batch() as usize);
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return false };
        if first.offset() != held.next as u64 {
            // Retention was faster than this fetch: where the partition starts is looked up.
            self.beat_at = Instant::now();
            return false;
        }
        held.next = last.offset() as i64 + 1;
        held.batches += 1;
        held.bytes += bytes;
        held.actor.work(records, bytes);
        true
    }

    /// Lets every partition finish its batch in hand and gives them all back.
    async fn leave(self, mut inbox: mpsc::UnboundedReceiver<Event>) {
        let Member { mut held, events, session, spec, .. } = self;
        for held in held.values() {
            held.actor.release();
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
