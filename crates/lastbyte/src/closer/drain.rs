//! Ending everything in flight by one deadline: a deploy.

use std::fmt;
use std::io;

use crate::connection::Connection;
use crate::report::Report;
use crate::sums::Sums;
use crate::sys::code;

/// Reports what became of the connections that were in flight when a drain began.
///
/// [`Closer::drain`](crate::Closer::drain) and a listener's shutdown give it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use = "it says which connections have lost bytes"]
pub struct DrainReport {
    /// The report of each connection, in the order in which they ended.
    pub endings: Vec<ConnectionReport>,
    /// The sums over all of them.
    pub sums: Sums,
    /// The sums of those that had ended before the drain began.
    pub before: Sums,
    /// The reason why the drain could not wait for the connections in flight, if it could
    /// not. They are counted as `unseen` then.
    pub error: Option<WaitError>,
}

impl DrainReport {
    /// The report where nobody may wait.
    pub(super) fn unwaited(error: WaitError, in_flight: usize, before: Sums) -> Self {
        let mut sums = Sums::default();
        for _ in 0..in_flight {
            sums.add_unseen();
        }
        Self {
            endings: Vec::new(),
            sums,
            before,
            error: Some(error),
        }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn add(&mut self, connection: &Connection, report: &Report) {
        self.sums.add(report);
        self.endings.push(ConnectionReport {
            connection: *connection,
            report: *report,
        });
    }
}

/// Reports what became of one connection of a drain.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ConnectionReport {
    /// Which connection it was; unknown where it was gone, or left to the kernel, when the
    /// drain began.
    pub connection: Connection,
    /// The report of what became of its bytes.
    pub report: Report,
}

/// Says why a thread cannot wait for a [`Closer`](crate::Closer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitError {
    /// The thread is the closer's own, which calls back: it would wait for itself
    /// (EDEADLK).
    OwnThread,
    /// The process was forked since the closer was made, and its thread is the
    /// parent's (ESRCH).
    Forked,
    /// The closer's thread has failed. What was in flight then was left to the kernel
    /// (ESRCH).
    ThreadFailed,
}

impl WaitError {
    /// Returns the errno that says the same.
    #[must_use]
    pub const fn errno(self) -> crate::Errno {
        crate::Errno::from_raw(match self {
            Self::OwnThread => code::EDEADLK,
            Self::Forked | Self::ThreadFailed => code::ESRCH,
        })
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnThread => "the closer's own thread cannot wait for it",
            Self::Forked => "the closer is the parent process's",
            Self::ThreadFailed => "the closer's thread has failed",
        })
    }
}

impl std::error::Error for WaitError {}

impl From<WaitError> for io::Error {
    fn from(error: WaitError) -> Self {
        error.errno().into()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for ConnectionReport {
    /// Writes `connection` and `report`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut s = serializer.serialize_struct("ConnectionReport", 2)?;
        s.serialize_field("connection", &self.connection)?;
        s.serialize_field("report", &self.report)?;
        s.end()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for DrainReport {
    /// Writes `endings`, `sums`, `before`, and `error` as the name of its errno or null.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut s = serializer.serialize_struct("DrainReport", 4)?;
        s.serialize_field("endings", &self.endings)?;
        s.serialize_field("sums", &self.sums)?;
        s.serialize_field("before", &self.before)?;
        s.serialize_field("error", &self.error.map(WaitError::errno))?;
        s.end()
    }
}
