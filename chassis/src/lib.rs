//! What every service shares. A service reads as a story on top of it: connect, subscribe,
//! serve.
//!
//! - [`main`] is a service's whole `main`, [`command`] its command line; [`Descriptor`] says what it is called and what its
//!   schema is, [`Settings`] what can be set;
//! - [`Service`] is the running process: its database, its broker, what stops with it;
//! - [`Subscriber`] takes one type of event, [`Subscriptions`] lists a service's;
//! - [`EventTransaction`] publishes events with a transaction and [`publish`] without, [`Trace`] says
//!   what caused them and [`Step`] what took how long;
//! - [`Problem`] is an HTTP error, [`http`] the shell around a service's routes, [`schema`] how API
//!   descriptions write what is checked, [`same_secret`] how tokens are compared.
#![deny(missing_docs)]

mod entry;
mod events;
mod health;
pub mod http;
mod log_topic;
mod migrate;
mod otlp;
mod problem;
pub mod schema;
mod secret;
mod service;
mod settings;
mod step;
mod subscribe;
mod telemetry;
mod trace;

pub use entry::{command, main};
pub use events::{EventTransaction, publish};
pub use migrate::{Descriptor, create_topics, migrate};
pub use problem::{JsonProblem, Problem};
pub use secret::same_secret;
pub use service::Service;
pub use settings::{Settings, read_password, with_password_of};
pub use step::Step;
pub use subscribe::{Received, Subscriber, Subscriptions};
pub use trace::Trace;
