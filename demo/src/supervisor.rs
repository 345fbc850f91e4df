//! All services and their instances: how many of each there are, and what is done to them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use chassis::Problem;
use dashboard::control::{ProcessStatus, ServiceStatus, State};
use private_postgres::Signal;
use tokio::sync::watch;

use crate::processes::{Life, Process, Spec};

/// So many instances of a service the page may ask for, unless it was started with more.
const MAX_INSTANCES: u32 = 5;

type OnDeath = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Shared by whoever brought the system up and whoever changes it.
#[derive(Clone)]
pub struct Supervisor(Arc<Mutex<Services>>);

struct Services {
    services: Vec<Service>,
    logs: PathBuf,
    on_death: OnDeath,
}

struct Service {
    /// Of the first instance; further ones take free ports.
    spec: Spec,
    group: &'static str,
    instances: u32,
    max_instances: u32,
    stopped: bool,
    /// By number; those beyond `instances` rest.
    processes: Vec<Process>,
}

/// What is to be supervised: a service by its first instance.
pub struct Plan {
    pub spec: Spec,
    /// Its consumer group.
    pub group: &'static str,
    pub instances: u32,
}

impl Supervisor {
    /// Starts everything; `on_death` hears of each death.
    pub fn start(
        plans: Vec<Plan>,
        logs: &Path,
        on_death: impl Fn(&str, &str) + Send + Sync + 'static,
    ) -> anyhow::Result<Supervisor> {
        let mut services =
            Services { services: Vec::new(), logs: logs.to_owned(), on_death: Arc::new(on_death) };
        for Plan { spec, group, instances } in plans {
            services.services.push(Service {
                spec,
                group,
                instances,
                max_instances: instances.max(MAX_INSTANCES),
                stopped: false,
                processes: Vec::new(),
            });
            let last = services.services.len() - 1;
            services.apply(last)?;
        }
        Ok(Supervisor(Arc::new(Mutex::new(services))))
    }

    pub fn status(&self) -> Vec<ServiceStatus> {
        self.services().services.iter().map(Service::status).collect()
    }

    /// Every process's name and pid.
    pub fn pids(&self) -> Vec<(String, Option<u32>)> {
        let services = self.services();
        let processes = services.services.iter().flat_map(|service| &service.processes);
        processes.map(|process| (process.name.clone(), process.life().pid)).collect()
    }

    /// Starts what was stopped, or lets all instances finish what they have in hand and end.
    pub fn run(&self, service: &str, runs: bool) -> Result<Watches, Problem> {
        self.changed(service, |service| {
            if !runs {
                service.spare("stopped")?;
            }
            service.stopped = !runs;
            Ok(())
        })
    }

    /// Runs so many instances.
    pub fn scale(&self, service: &str, instances: u32) -> Result<Watches, Problem> {
        self.changed(service, |service| {
            if !(1..=service.max_instances).contains(&instances) {
                return Err(Problem::bad_request(format!(
                    "{} can have 1 to {} instances, not {instances}",
                    service.spec.name, service.max_instances
                )));
            }
            service.instances = instances;
            Ok(())
        })
    }

    /// Sends a signal to one process.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<Watches, Problem> {
        let services = self.services();
        let found = services.services.iter().find_map(|service| {
            let process = service.processes.iter().find(|process| process.name == name)?;
            Some((service, process))
        });
        let (service, process) =
            found.ok_or_else(|| Problem::not_found(format!("there is no process {name:?}")))?;
        if process.name == service.spec.name {
            service.spare("signalled")?;
        }
        let watch = process.watch();
        if !process.signal(signal) {
            return Err(conflict(format!("{name} does not run now: start it first")));
        }
        Ok(Watches(vec![watch]))
    }

    /// Ends everything; what it has in hand it finishes.
    pub async fn stop(&self) {
        let services = std::mem::take(&mut self.services().services);
        let processes = || services.iter().flat_map(|service| &service.processes);
        processes().for_each(Process::end);
        for process in services.into_iter().flat_map(|service| service.processes) {
            process.ended().await;
        }
    }

    fn changed(
        &self,
        name: &str,
        change: impl FnOnce(&mut Service) -> Result<(), Problem>,
    ) -> Result<Watches, Problem> {
        let mut services = self.services();
        let at = services.services.iter().position(|service| service.spec.name == name);
        let at = at.ok_or_else(|| Problem::not_found(format!("there is no service {name:?}")))?;
        change(&mut services.services[at])?;
        services
            .apply(at)
            .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")))
    }

    fn services(&self) -> MutexGuard<'_, Services> {
        // Each change of the list is one assignment: a panic leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Services {
    /// Makes processes do what their service is to do, and says which do something else now.
    fn apply(&mut self, at: usize) -> anyhow::Result<Watches> {
        let service = &mut self.services[at];
        let mut watches = Vec::new();
        for (n, process) in (1..).zip(&service.processes) {
            let watch = process.watch();
            if process.want(!service.stopped && n <= service.instances) {
                watches.push(watch);
            }
        }
        while !service.stopped && (service.processes.len() as u32) < service.instances {
            let spec = service.spec_of(service.processes.len() as u32 + 1);
            let on_death = self.on_death.clone();
            let process = Process::start(spec, &self.logs, move |name, end| on_death(name, end))?;
            watches.push(process.watch());
            service.processes.push(process);
        }
        Ok(Watches(watches))
    }
}

impl Service {
    fn spec_of(&self, n: u32) -> Spec {
        let mut spec = self.spec.clone();
        if n > 1 {
            spec.name = format!("{}-{n}", spec.name);
            spec.env.retain(|(name, _)| *name != "HTTP_ADDR");
            spec.env.push(("HTTP_ADDR", "127.0.0.1:0".to_owned()));
        }
        spec
    }

    /// Whether its first instance is the one that shows all of this.
    fn is_spared(&self) -> bool {
        self.spec.service == dashboard::DESCRIPTOR.name
    }

    fn spare(&self, what: &str) -> Result<(), Problem> {
        if self.is_spared() {
            let name = &self.spec.name;
            let detail =
                format!("{name} cannot be {what} from its own page: use `kill` in a terminal");
            return Err(conflict(detail));
        }
        Ok(())
    }

    fn status(&self) -> ServiceStatus {
        let shown = |(n, process): (u32, &Process)| {
            let life = process.life();
            (n <= self.instances || life.pid.is_some())
                .then(|| status(process, life, n == 1 && self.is_spared()))
        };
        ServiceStatus {
            name: self.spec.name.clone(),
            group: self.group.to_owned(),
            instances: self.instances,
            max_instances: self.max_instances,
            can_stop: !self.is_spared(),
            processes: (1..).zip(&self.processes).filter_map(shown).collect(),
        }
    }
}

fn status(process: &Process, life: Life, spared: bool) -> ProcessStatus {
    let state = match (process.is_wanted(), life.pid, life.paused) {
        (true, Some(_), false) => State::Running,
        (true, Some(_), true) => State::Paused,
        (true, None, _) => State::Starting,
        (false, Some(_), _) => State::Stopping,
        (false, None, _) => State::Stopped,
    };
    ProcessStatus {
        name: process.name.clone(),
        state,
        pid: life.pid,
        deaths: life.deaths,
        last_end: life.last_end,
        can_signal: !spared,
    }
}

fn conflict(detail: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}

/// The processes that a change is about, as they were before it.
pub struct Watches(Vec<watch::Receiver<Life>>);

impl Watches {
    /// Completes when one of them has changed.
    pub async fn changed(mut self) {
        if self.0.is_empty() {
            return;
        }
        let changes = self.0.iter_mut().map(|watch| Box::pin(watch.changed()));
        let _ = futures::future::select_all(changes).await;
    }
}
