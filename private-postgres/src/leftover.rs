//! A server whose guard was killed with it running: found by its `postmaster.pid`, and ended.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::Error;

/// A guard that has just lost its parent is stopping the server now: let it.
const PATIENCE: [(Option<Signal>, Duration); 3] = [
    (None, Duration::from_secs(2)),
    (Some(Signal::INT), Duration::from_secs(10)),
    (Some(Signal::QUIT), Duration::from_secs(5)),
];

/// Ends the server that still runs on a data folder, if one does. Only for who holds its lock.
pub(crate) fn end(data: &Path) -> Result<(), Error> {
    let Some(pid) = postmaster(data) else { return Ok(()) };
    for (signal, patience) in PATIENCE {
        if let Some(signal) = signal {
            tracing::warn!(
                pid = pid.as_raw_nonzero().get(),
                data = %data.display(),
                "a server of an earlier run is still there: ending it"
            );
            let _ = kill_process(pid, signal);
        }
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if !alive(pid) {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
    }
    let pid = pid.as_raw_nonzero().get().unsigned_abs();
    Err(Error::LeftOver { path: data.to_owned(), pid })
}

/// The live postmaster of a data folder. A file that names a process that is no Postgres is
/// removed: the machine, or a container, was started again since, and Postgres would refuse.
fn postmaster(data: &Path) -> Option<Pid> {
    let file = data.join("postmaster.pid");
    let text = fs::read_to_string(&file).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
    if alive(pid) && is_postgres(pid) {
        return Some(pid);
    }
    let _ = fs::remove_file(&file);
    None
}

/// A process of another user is alive also.
pub(crate) fn alive(pid: Pid) -> bool {
    match test_kill_process(pid) {
        Ok(()) => !is_zombie(pid),
        Err(error) => error == rustix::io::Errno::PERM,
    }
}

/// One that has ended and that nobody has asked about: in a container, often nobody does.
fn is_zombie(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// Where this cannot be told, yes: better a clear refusal than two servers on one folder.
fn is_postgres(pid: Pid) -> bool {
    let pid = pid.as_raw_nonzero().to_string();
    if let Ok(name) = fs::read_to_string(format!("/proc/{pid}/comm")) {
        return name.trim() == "postgres";
    }
    match Command::new("ps").args(["-o", "comm=", "-p", &pid]).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).contains("postgres"),
        Err(_) => true,
    }
}
