//! The parent process of `lastbyte run`.
//!
//! It starts a program with the shim in it, takes over the connections that the
//! program closes, and ends them by the contract while the program goes on, or
//! after it is gone. [`run`] is the whole of it; the modules are, from the outside
//! in: `program` and `start` (what is started), `shim` and `unpack` (where the shim is),
//! `channel` (what the shim sends and maps), `supervisor` (the loop, which touches no socket of a program's),
//! `user_closers` (what does, on threads of each user's), `descendants` (who else holds a
//! socket), `record` and `log`, and `messages` (standard error).
//!
//! Linux only.

#![cfg(target_os = "linux")]

mod account;
mod channel;
mod connections;
mod descendants;
mod descriptor_budget;
mod detach;
mod events;
mod exiting;
mod holder_search;
mod last_word;
mod ledger;
mod let_go;
mod log;
pub mod messages;
mod process_limits;
mod program;
mod record;
mod rings;
mod shim;
mod signals;
mod start;
mod startup;
mod supervisor;
mod uncovered;
mod unpack;
mod user_closers;
mod waiting;
mod witness;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

pub use account::Account;
pub use detach::{Behind, Keep, Part, detach};
pub use lastbyte_run_protocol::Override;
pub use program::Obstacle;
pub use shim::find_shim;

/// What to run and how.
pub struct Options {
    /// The program, looked up in PATH if it has no slash.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The shim, as [`find_shim`] found it.
    pub shim: PathBuf,
    /// `--linger`: what every close is to do, whatever the socket says.
    pub linger: Override,
    /// Where the log goes, one JSON line an ending.
    pub log: Option<Box<dyn Write + Send>>,
    /// Whether the sums are wanted.
    pub summary: bool,
    /// Run a program that the shim cannot enter all the same.
    pub anyway: bool,
    /// Stay until every descendant is gone, not only the program.
    pub follow: bool,
    /// How long to stay, once the program is gone, for endings that have no
    /// deadline of their own.
    pub patience: Duration,
    /// What ties this process to the one that was started, where that is another.
    pub behind: Option<Behind>,
}

/// How a run ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The program's own: its exit status, or 128 and the signal's number.
    pub status: u8,
    /// The sums over all endings.
    pub sums: Sums,
    /// What was not covered.
    pub account: Account,
    /// Why the log is incomplete, if it is.
    pub log_error: Option<io::Error>,
}

pub use record::Sums;

impl fmt::Display for Outcome {
    /// The summary, in one line. Where something was not covered, "0 endings" would say
    /// more than is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.sums.endings(), self.account.is_whole()) {
            (_, true) => write!(f, "{}", self.sums),
            (0, false) => write!(f, "no ending was seen; {}", self.account),
            (_, false) => write!(f, "{}; {}", self.sums, self.account),
        }
    }
}

/// Why nothing was run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No such program.
    NotFound(OsString),
    /// It is there, but cannot be executed.
    NotExecutable(PathBuf, io::Error),
    /// The shim cannot enter the program.
    Uncovered(PathBuf, Obstacle),
    /// LD_PRELOAD cannot name the shim: its path has a space or a colon.
    ShimPath(PathBuf),
    /// The system lacks something we need: what, and why.
    System(&'static str, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound(name) => write!(
                f,
                "no program {} in PATH; give its path, or check the name",
                name.display()
            ),
            Error::NotExecutable(path, error) => {
                write!(f, "cannot execute {}: {error}", path.display())
            }
            Error::Uncovered(path, obstacle) => write!(
                f,
                "{} {obstacle}, so its closes cannot be covered and nothing was run; \
                 --anyway runs it with the kernel's own close",
                path.display()
            ),
            Error::ShimPath(path) => write!(
                f,
                "LD_PRELOAD cannot name {}: a path with a space or a colon; \
                 install lastbyte elsewhere",
                path.display()
            ),
            Error::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Runs a program and ends its connections; returns when the program has exited
/// and its endings are over.
///
/// Reaps every child of the calling process and takes its signals, so it belongs
/// in a process that does nothing else.
///
/// # Errors
/// [`Error`] says why nothing was run.
pub fn run(options: Options) -> Result<Outcome, Error> {
    startup::run(options)
}
