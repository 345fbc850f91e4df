//! What takes its time, one at a time. The last one's end is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::task::{AbortHandle, JoinError};

/// `P` is what tells of its progress, `T` what it ends with.
pub struct Job<P, T>(Arc<Mutex<Option<Run<P, T>>>>);

struct Run<P, T> {
    progress: P,
    since: DateTime<Utc>,
    /// What went wrong, in a sentence.
    end: Option<Result<T, String>>,
    work: AbortHandle,
}

impl<P, T> Default for Job<P, T> {
    fn default() -> Self {
        Job(Arc::default())
    }
}

impl<P: Send + 'static, T: Send + 'static> Job<P, T> {
    /// Starts it; false where one is under way.
    pub fn start(
        &self,
        progress: P,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> bool {
        let mut now = self.lock();
        if now.as_ref().is_some_and(|run| run.end.is_none()) {
            return false;
        }
        let work = tokio::spawn(work);
        *now = Some(Run { progress, since: Utc::now(), end: None, work: work.abort_handle() });
        let job = Job(self.0.clone());
        tokio::spawn(async move {
            let end = match work.await {
                Ok(end) => end.map_err(|error| format!("{error:#}")),
                Err(error) => Err(told(&error).to_owned()),
            };
            if let Some(run) = &mut *job.lock() {
                run.end = Some(end);
            }
        });
        true
    }

    /// The one under way, or the last: its progress, its start, and its end.
    pub fn now<S>(
        &self,
        show: impl FnOnce(&P, DateTime<Utc>, Option<&Result<T, String>>) -> S,
    ) -> Option<S> {
        self.lock().as_ref().map(|run| show(&run.progress, run.since, run.end.as_ref()))
    }

    /// Ends it where it stands.
    pub fn abort(&self) {
        if let Some(run) = &*self.lock() {
            run.work.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Run<P, T>>> {
        // Each change is one assignment: a panic leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn told(error: &JoinError) -> &'static str {
    if error.is_cancelled() { "it was stopped with the system" } else { "it panicked" }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    async fn end(job: &Job<u8, u32>) -> Result<u32, String> {
        loop {
            if let Some(Some(end)) = job.now(|_, _, end| end.cloned()) {
                return end;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_runs_at_a_time_and_its_end_is_kept() {
        let job = Job::default();
        assert!(job.now(|_, _, _| ()).is_none());
        let (go_on, gone_on) = oneshot::channel();
        assert!(job.start(7, async { Ok(gone_on.await?) }));
        assert!(!job.start(8, async { Ok(2) }));
        assert_eq!(job.now(|progress, _, end| (*progress, end.is_some())), Some((7, false)));
        go_on.send(1).unwrap();
        assert_eq!(end(&job).await, Ok(1));
        assert!(job.start(9, async { anyhow::bail!("no") }));
        assert_eq!(end(&job).await, Err("no".to_owned()));
        assert!(job.start(9, std::future::pending()));
        job.abort();
        assert!(end(&job).await.unwrap_err().contains("stopped"));
    }
}
