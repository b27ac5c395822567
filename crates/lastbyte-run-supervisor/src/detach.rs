//! `--detach-endings`: the command returns with the program, the supervisor stays behind.
//!
//! The process that was started forks before it has any thread. The child becomes the
//! supervisor and starts the program. The parent passes signals on, waits for the
//! program's status and exits with it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::channel::check;
use crate::events::{Events, Source};
use crate::signals::Signals;

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Part {
    /// The one that was started. The program has ended with this status.
    Front(u8),
    /// The supervisor.
    Behind(Behind),
}

/// The supervisor's tie to the process that was started.
#[derive(Debug)]
pub struct Behind {
    status: File,
    pub(crate) instead_of: u32,
    keep: Keep,
}

/// Which of the standard descriptors the supervisor goes on with once the command has
/// returned; the others are redirected to /dev/null, so that nobody waits for their end.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Standard output: the log is written there.
    pub output: bool,
    /// Standard error: the summary is wanted.
    pub errors: bool,
}

/// Forks. Returns in the supervisor at once, and in the process that was started when the
/// program has ended.
///
/// # Errors
/// The system refuses a process or a pipe. An error in the process that was started after
/// the fork leaves the supervisor as it is.
///
/// # Safety
/// The process has no other thread.
pub unsafe fn detach(keep: Keep) -> io::Result<Part> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: just made, and nobody else's.
    let [read, write] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let instead_of = std::process::id();
    // SAFETY: there is no other thread, so the child is as whole as we are.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Part::Behind(Behind {
            status: write.into(),
            instead_of,
            keep,
        })),
        supervisor => {
            drop(write);
            wait(supervisor, read.into()).map(Part::Front)
        }
    }
}

impl Behind {
    /// The program has ended: the command returns, and this process leaves its session.
    pub(crate) fn release(mut self, status: u8) {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        let keeps = [false, self.keep.output, self.keep.errors];
        for (fd, keeps) in (0..).zip(keeps) {
            if let (Ok(null), false) = (&null, keeps) {
                // SAFETY: no memory involved.
                unsafe { libc::dup2(null.as_raw_fd(), fd) };
            }
        }
        // Neither the terminal's signals nor its hang-up are meant for us any more.
        // SAFETY: no memory involved; we lead no group, being a child.
        unsafe { libc::setsid() };
        // Who was started may be gone: then nobody waits.
        let _ = self.status.write_all(&[status]);
    }
}

/// Waits for the program's status; without one the supervisor's own counts.
fn wait(supervisor: libc::pid_t, mut status: File) -> io::Result<u8> {
    let signals = Signals::take_over()?;
    let events = Events::new()?;
    events.add(signals.as_raw_fd(), Source::Signals)?;
    events.add(status.as_raw_fd(), Source::Channel)?;
    loop {
        for source in events.wait(None) {
            if source == Source::Channel {
                let mut byte = [0];
                return match status.read(&mut byte)? {
                    0 => own_status(supervisor),
                    _ => Ok(byte[0]),
                };
            }
            while let Some(signal) = signals.next() {
                if signal.stops_us {
                    // The terminal stopped all of us; the shell waits for this process.
                    // SAFETY: no memory involved.
                    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
                } else if signal.is_for_program && signal.number != libc::SIGCHLD {
                    // Our own child, not reaped yet.
                    signal.pass_on(supervisor);
                }
            }
        }
    }
}

fn own_status(supervisor: libc::pid_t) -> io::Result<u8> {
    let mut status = 0;
    // SAFETY: room for a status.
    check(unsafe { libc::waitpid(supervisor, &raw mut status, 0) })?;
    Ok(status_of(status))
}

/// A wait status as a shell has it: the exit status, or 128 and the signal's number.
pub(crate) fn status_of(wait_status: libc::c_int) -> u8 {
    let code = if libc::WIFSIGNALED(wait_status) {
        128 + libc::WTERMSIG(wait_status)
    } else {
        libc::WEXITSTATUS(wait_status)
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}
