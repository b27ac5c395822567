//! What a row is given: a subject, the witnesses, and ways to call and wait that
//! never hang.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::thread::{JoinHandleExt, RawPthread};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lastbyte::Policy;
use procfs::net::TcpState;

use crate::findings::Findings;
use crate::harness::{Capture, Conn, FilterRefused, Metronome, Wire, row_of, starved, state_name};
use crate::subject::{Subject, Told};

/// The reason for which a row has no findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// This system lacks what the row needs.
    NotRun(String),
    /// The subject did not even come to where the row begins to look.
    Fault(String),
    /// The harness failed, which is never taken for a row kept.
    Broken(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error
            .get_ref()
            .is_some_and(|inner| inner.is::<FilterRefused>())
        {
            return Stop::NotRun(error.to_string());
        }
        Stop::Broken(format!("the harness failed: {error}"))
    }
}

/// One row's ground.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Who closes.
    pub subject: Arc<dyn Subject>,
    pub(crate) capture: Result<Arc<Capture>, String>,
    /// `None` where it could not be started: then no lateness is excused.
    pub(crate) metronome: Option<Arc<Metronome>>,
}

impl Stage {
    /// Returns findings that are empty yet.
    #[must_use]
    pub fn findings(&self) -> Findings {
        Findings::new(self.metronome.clone())
    }

    /// Returns what was on the wire of `conn` until now.
    ///
    /// # Errors
    /// [`Stop::NotRun`] where packets cannot be captured.
    pub fn wire(&self, conn: &Conn) -> Result<Wire, Stop> {
        self.capture().map(|capture| capture.wire(conn))
    }

    /// The capture.
    ///
    /// # Errors
    /// [`Stop::NotRun`] where packets cannot be captured.
    pub fn capture(&self) -> Result<&Capture, Stop> {
        match &self.capture {
            Ok(capture) => Ok(capture),
            Err(why) => Err(Stop::NotRun(format!("its evidence is packets, and {why}"))),
        }
    }

    /// Stops the row at once where packets cannot be captured.
    ///
    /// # Errors
    /// [`Stop::NotRun`].
    pub fn needs_packets(&self) -> Result<(), Stop> {
        self.capture().map(drop)
    }

    /// Closes on a thread of its own.
    #[must_use]
    pub fn call(&self, socket: OwnedFd, policy: Policy) -> Call {
        let subject = Arc::clone(&self.subject);
        let (send, told) = channel();
        let thread = std::thread::spawn(move || {
            let before = starved();
            let mut told = subject.close(socket, policy);
            told.starved = starved() - before;
            // The row may have given up on us.
            let _ = send.send(told);
        });
        Call { told, thread }
    }
}

/// A close on a thread of its own. Let go while it still blocks, it ends when
/// its peer is dropped, which resets the connection.
#[derive(Debug)]
pub struct Call {
    told: Receiver<Told>,
    thread: JoinHandle<()>,
}

impl Call {
    /// Returns what the close told, `None` if it has not returned within `limit`.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Option<Told> {
        self.told.recv_timeout(limit).ok()
    }

    /// The closing thread. Valid until the call is dropped.
    #[must_use]
    pub fn thread(&self) -> RawPthread {
        self.thread.as_pthread_t()
    }
}

/// Waits until our side of `conn` is in `state`.
///
/// No event tells of another socket's state, so the kernel's table is asked again
/// and again, a millisecond apart.
///
/// # Errors
/// [`Stop::Fault`] after two seconds.
pub fn await_state(conn: &Conn, state: &TcpState) -> Result<(), Stop> {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        let now = row_of(conn)?.map(|row| row.state);
        if now.as_ref() == Some(state) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Stop::Fault(format!(
                "the connection never came to {}; it is {}",
                state_name(state),
                now.as_ref().map_or("gone", state_name)
            )));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
