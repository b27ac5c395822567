//! Who closes: the thing a row is about.

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use lastbyte::{Errno, Fate, Linger, Policy, Report, Side};

use crate::harness::{Stamp, ms};

mod library;
mod plain;

pub use library::Lastbyte;
pub use plain::Plain;

/// A way of closing connections. The rows know no other difference between
/// plain close(2), lastbyte, and a closer that is broken on purpose.
pub trait Subject: Send + Sync + fmt::Debug {
    /// A short name for outputs.
    fn name(&self) -> &'static str;

    /// Returns whether it promises a report, which is then held against the wire.
    fn reports(&self) -> bool;

    /// The linger option as it reads it from a socket.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    fn option(&self, socket: BorrowedFd<'_>) -> io::Result<Linger>;

    /// Puts the linger option on a socket.
    ///
    /// # Errors
    /// A value refused, and those of setsockopt(2).
    fn set_option(&self, socket: BorrowedFd<'_>, linger: Linger) -> io::Result<()>;

    /// Ends the connection by `policy`; what it does to a socket in non-blocking
    /// mode is its own affair.
    fn close(&self, socket: OwnedFd, policy: Policy) -> Told;

    /// Begins to end the connection without waiting.
    fn begin(&self, socket: OwnedFd, policy: Policy) -> Told;

    /// Ends all these connections from one thread of the caller, and gives up on
    /// what has no end within `limit`. One answer for each, in their order.
    fn close_many(&self, work: Vec<(OwnedFd, Policy)>, limit: Duration) -> Vec<Option<Told>>;

    /// How a child process closes that exits right after (row B4).
    fn child(&self) -> Child;
}

/// What the child process of row B4 runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// close(2), then exit.
    Plain,
    /// lastbyte, which waits at exit for what is still closing.
    Lastbyte,
}

/// What the caller of a close learnt, and when.
#[derive(Debug)]
pub struct Told {
    /// Just before the call.
    pub called: Stamp,
    /// Just after.
    pub returned: Stamp,
    /// The errno of a failed call.
    pub error: Option<Errno>,
    /// The report, from those who give one.
    pub account: Option<Account>,
    /// A close that goes on, from those who give a handle.
    pub handle: Option<Box<dyn Handle>>,
    /// How many milliseconds the calling thread was ready to run and got no CPU;
    /// zero where nobody measured it.
    pub starved: f64,
}

impl Told {
    /// Returns how long the call took, in milliseconds.
    #[must_use]
    pub fn took(&self) -> f64 {
        self.returned - self.called
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            None => write!(f, "returned 0 after {}", ms(self.took()))?,
            Some(error) => write!(f, "{error} after {}", ms(self.took()))?,
        }
        if let Some(account) = &self.account {
            write!(f, ", saying {account}")?;
        }
        Ok(())
    }
}

/// A close under way, as an event loop sees it.
pub trait Handle: Send + fmt::Debug {
    /// Becomes readable when [`finish`](Self::finish) has something to say.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// The outcome, `None` while there is none.
    fn finish(&mut self) -> Option<Told>;
}

/// A report in the contract's nine words (section G), whoever gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// How it ended.
    pub fate: Fate,
    /// Payload bytes acknowledged.
    pub acked: Option<u64>,
    /// Payload bytes accepted and never acknowledged.
    pub lost: Option<u64>,
    /// Of those, never transmitted.
    pub unsent: Option<u64>,
    /// Input discarded.
    pub unread: Option<u64>,
    /// Whether we sent an RST.
    pub rst_sent: Option<bool>,
    /// Whose FIN came first.
    pub closed_first: Option<Side>,
    /// From the call to the fate.
    pub elapsed: Duration,
    /// Why it failed.
    pub error: Option<Errno>,
}

impl From<&Report> for Account {
    fn from(report: &Report) -> Self {
        Self {
            fate: report.fate,
            acked: report.acked,
            lost: report.lost,
            unsent: report.unsent,
            unread: report.unread,
            rst_sent: report.rst_sent,
            closed_first: report.closed_first,
            elapsed: report.elapsed,
            error: report.error,
        }
    }
}

impl fmt::Display for Account {
    /// `timed_out, 8192 acked, 191808 lost`; a dash for what is not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
        write!(
            f,
            "{}, {} acked, {} lost",
            self.fate,
            number(self.acked),
            number(self.lost)
        )?;
        if let Some(unread) = self.unread.filter(|&n| n > 0) {
            write!(f, ", {unread} input discarded")?;
        }
        Ok(())
    }
}
