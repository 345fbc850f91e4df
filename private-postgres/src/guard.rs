//! A child process that never outlives its parent, whatever ends the parent.
//!
//! Between the two stands a small shell script (`guard.sh`) that holds one end of a socket; the
//! parent holds the other. The system closes the parent's end however the parent ends, `kill -9`
//! included, and the script then stops the child. No unsafe code, no thread that must live on
//! (`PR_SET_PDEATHSIG` fires when the *thread* that spawned the child ends), and it works the
//! same on Linux and macOS.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The script needs a millisecond; a machine that is that busy has other troubles.
const PID_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// The signals that a guard can pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: please end. Postgres: no new sessions, wait for the old ones.
    Terminate,
    /// SIGINT. A child that does not handle it ignores it: shells start background commands so.
    /// Postgres: end the sessions, then stop cleanly.
    Interrupt,
    /// SIGQUIT. Ignored by default, as [`Signal::Interrupt`]. Postgres: stop at once, recover later.
    Quit,
    /// SIGKILL: no last words.
    Kill,
    /// SIGSTOP: stand still, as a machine that hangs does.
    Stop,
    /// SIGCONT: go on after [`Signal::Stop`].
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Terminate => "TERM",
            Signal::Interrupt => "INT",
            Signal::Quit => "QUIT",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        }
    }
}

/// A command to run under guard: built like a [`Command`], and spawned once.
#[derive(Debug)]
pub struct GuardedCommand {
    shell: Command,
    words: Vec<OsString>,
    stop_signal: Signal,
    grace: Duration,
}

impl GuardedCommand {
    /// `program` is looked up on the PATH, as a shell does. Its stdin is empty.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        GuardedCommand {
            shell: Command::new("/bin/sh"),
            words: vec![program.as_ref().to_owned()],
            stop_signal: Signal::Terminate,
            grace: Duration::from_secs(10),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.words.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.words.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.shell.env(name, value);
        self
    }

    /// Unsets an environment variable.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.shell.env_remove(name);
        self
    }

    /// Sets the folder that it runs in.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.shell.current_dir(folder);
        self
    }

    /// Where its output goes; inherited unless said.
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.shell.stdout(to);
        self
    }

    /// Where its errors go; inherited unless said.
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.shell.stderr(to);
        self
    }

    /// Runs it as another user; for root only.
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.shell.uid(uid).gid(gid);
        self
    }

    /// What it is asked to stop with, by [`Guard::stop`], by dropping the [`Guard`] and when this
    /// process is gone. SIGTERM unless said.
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    /// How long it has from then until it is killed. Ten seconds unless said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Starts it. Blocks for the millisecond that a shell takes to start.
    ///
    /// A program that cannot be run shows as an exit status of 126 or 127, as in a shell.
    ///
    /// # Errors
    /// If there is no `/bin/sh`, or it does not say the child's pid.
    pub fn spawn(mut self) -> io::Result<Guard> {
        let (line, far) = UnixStream::pair()?;
        let process = self
            .shell
            .arg("-c")
            .arg(include_str!("guard.sh"))
            .arg("guard")
            .arg(self.stop_signal.name())
            .arg(self.grace.as_millis().div_ceil(100).to_string())
            .args(&self.words)
            .stdin(OwnedFd::from(far))
            // Of its own group, so that a Ctrl-C at the terminal reaches the parent alone, which
            // decides who stops first; and so that the script can kill the group.
            .process_group(0)
            .spawn()?;
        // Our copy of the far end goes too, else we would never see it closed.
        drop(self.shell);
        let mut guard = Guard { process: Some(process), line, pid: 0 };
        guard.pid = guard.read_pid()?;
        Ok(guard)
    }
}

/// A running child and the promise that it ends with us. Dropping it asks the child to stop and
/// does not wait.
#[derive(Debug)]
pub struct Guard {
    /// Always there until [`Drop`] takes it.
    process: Option<Child>,
    line: UnixStream,
    pid: u32,
}

impl Guard {
    fn read_pid(&self) -> io::Result<u32> {
        self.line.set_read_timeout(Some(PID_LIMIT))?;
        let mut first = String::new();
        BufReader::new(&self.line).read_line(&mut first)?;
        first.trim().parse().map_err(|_| {
            io::Error::other(format!("the guard did not say its child's pid but {first:?}"))
        })
    }

    /// The child's own pid, not the guard's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The child's output, once, if it was asked for with [`Stdio::piped`]. To read it
    /// asynchronously: `tokio::process::ChildStdout::from_std`.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.process.as_mut()?.stdout.take()
    }

    /// The child's errors, once, if they were asked for with [`Stdio::piped`].
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.process.as_mut()?.stderr.take()
    }

    /// Sends the child a signal, by way of the guard: it cannot hit another process that has
    /// come to the same pid.
    ///
    /// # Errors
    /// If the child has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        (&self.line).write_all(format!("{}\n", signal.name()).as_bytes())
    }

    /// How the child ended, if it has. A child that a signal ended shows as code 128 + signal
    /// (137 for SIGKILL); only if it was killed after its grace, as that signal itself.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.process.as_mut().map_or(Ok(None), Child::try_wait)?;
        if status.is_some() {
            // The script's watch may live a moment longer and would take a signal for no one.
            self.ask_to_stop();
        }
        Ok(status)
    }

    /// Waits for the child to end; may be dropped and called again. Bound to no runtime.
    ///
    /// # Errors
    /// If the system does not tell.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            match self.try_wait()? {
                Some(status) => return Ok(status),
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Asks the child to stop, kills it after its grace, and waits for its end.
    ///
    /// # Errors
    /// If the system does not tell how it ended.
    pub async fn stop(&mut self) -> io::Result<ExitStatus> {
        self.ask_to_stop();
        self.wait().await
    }

    /// Asks the child to stop and does not wait: several can be asked before waiting for any.
    pub fn ask_to_stop(&self) {
        // It fails only if the guard is gone, and then there is no one to ask.
        let _ = self.line.shutdown(Shutdown::Both);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.ask_to_stop();
        if let Some(mut process) = self.process.take()
            && !matches!(process.try_wait(), Ok(Some(_)))
        {
            // The thread saves a long-lived parent from collecting zombies.
            let _ = std::thread::Builder::new().name("guard-reaper".into()).spawn(move || {
                let _ = process.wait();
            });
        }
    }
}
