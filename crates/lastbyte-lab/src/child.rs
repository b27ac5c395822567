//! The child process of row B4: it gets a connection as its standard input,
//! closes it and exits.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use lastbyte::{Linger, Policy};

use crate::harness::Stamp;
use crate::subject::{Child, Plain, Subject, Told};

/// Names the child's work in its environment. An argument would have to be told
/// apart from those of whatever program the lab is built into.
const ENV: &str = "LASTBYTE_LAB_CHILD";
/// How long the child waits at exit for what is still closing.
const AT_EXIT: Duration = Duration::from_secs(10);

/// To be called first thing in `main` of a program that runs the lab: does the
/// child's work, where this process is that child, and says how to exit.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let work = match std::env::var(ENV).ok()?.as_str() {
        "plain" => Child::Plain,
        "lastbyte" => Child::Lastbyte,
        _ => return Some(ExitCode::from(2)),
    };
    // SAFETY: descriptor 0 is the connection that `spawn` put there; nothing in
    // this process has touched standard input, and nothing does after us.
    let socket = unsafe { OwnedFd::from_raw_fd(0) };
    match work {
        Child::Plain => drop(Plain.close(socket, Policy::new(Linger::Off))),
        Child::Lastbyte => {
            if lastbyte::close(socket, Policy::off()).is_err() {
                return Some(ExitCode::from(1));
            }
        }
    }
    let said = io::stdout()
        .write_all(b"closed\n")
        .and_then(|()| io::stdout().flush());
    if said.is_err() {
        return Some(ExitCode::from(1));
    }
    if work == Child::Lastbyte && !lastbyte::background().wait(AT_EXIT) {
        return Some(ExitCode::from(1));
    }
    Some(ExitCode::SUCCESS)
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Closing {
    process: std::process::Child,
    called: Stamp,
    done: bool,
}

/// Starts the child with `socket` as its standard input; no other reference to
/// the connection's end remains.
pub(crate) fn spawn(work: Child, socket: OwnedFd) -> io::Result<Closing> {
    let work: OsString = match work {
        Child::Plain => "plain",
        Child::Lastbyte => "lastbyte",
    }
    .into();
    let called = Stamp::now();
    let process = Command::new("/proc/self/exe")
        .env(ENV, work)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(Closing {
        process,
        called,
        done: false,
    })
}

impl Closing {
    /// Waits until the close has returned in the child.
    pub(crate) fn closed(&mut self) -> io::Result<Told> {
        let mut line = String::new();
        if let Some(out) = self.process.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        if line != "closed\n" {
            return Err(io::Error::other(format!(
                "the child said {line:?} instead of closed"
            )));
        }
        Ok(Told {
            called: self.called,
            returned: Stamp::now(),
            error: None,
            account: None,
            handle: None,
            starved: 0.0,
        })
    }

    /// Waits until the child is gone.
    pub(crate) fn exited(&mut self) -> io::Result<()> {
        if self.done {
            return Ok(());
        }
        let status = self.process.wait()?;
        self.done = true;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("the child ended with {status}")))
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if !self.done {
            // Our own child, not waited for yet, so the id is still its.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}
