//! The services that make up the system.

use std::ffi::OsString;
use std::process::ExitCode;

use chassis::Descriptor;

/// A service's `main`.
type Main = fn(Vec<OsString>) -> ExitCode;

/// Every service, and its `main`.
pub const ALL: [(Descriptor, Main); 5] = [
    (order::DESCRIPTOR, |args| order::main(args)),
    (delivery::DESCRIPTOR, |args| delivery::main(args)),
    (invoice::DESCRIPTOR, |args| invoice::main(args)),
    (email::DESCRIPTOR, |args| email::main(args)),
    (dashboard::DESCRIPTOR, |args| dashboard::main(args)),
];

pub fn descriptors() -> impl Iterator<Item = Descriptor> {
    ALL.iter().map(|(descriptor, _)| *descriptor)
}

/// Runs a service in this process, until it is told to stop.
pub fn run(name: &str, args: Vec<OsString>) -> ExitCode {
    match ALL.iter().find(|(descriptor, _)| descriptor.name == name) {
        Some((_, main)) => main(args),
        None => {
            let names: Vec<_> = descriptors().map(|descriptor| descriptor.name).collect();
            eprintln!("waybill: no service {name:?}; there are {}", names.join(", "));
            ExitCode::FAILURE
        }
    }
}
