//! Where all groups are, asked of the log at most so often, however many pages want to know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{Broker, Error, Place};
use tokio::sync::Mutex;

const FRESH: Duration = Duration::from_millis(300);
/// A log under load takes longer to say: it is asked for a fifth of the time at most.
const REST: u32 = 4;

#[derive(Clone)]
pub struct Places {
    broker: Broker,
    last: Arc<Mutex<Option<Taken>>>,
}

struct Taken {
    at: Instant,
    took: Duration,
    places: Arc<Vec<Place>>,
}

impl Places {
    pub fn of(broker: Broker) -> Places {
        Places { broker, last: Arc::default() }
    }

    /// The places, by group, topic and partition. Who asks while another does waits for that.
    pub async fn now(&self) -> Result<Arc<Vec<Place>>, Error> {
        let mut last = self.last.lock().await;
        if let Some(taken) = &*last
            && taken.at.elapsed() < FRESH.max(taken.took * REST)
        {
            return Ok(taken.places.clone());
        }
        let asked = Instant::now();
        let places = Arc::new(self.broker.places(None).await?);
        *last = Some(Taken { at: Instant::now(), took: asked.elapsed(), places: places.clone() });
        Ok(places)
    }
}
