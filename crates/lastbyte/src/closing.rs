//! One ending as a handle, for any event loop.

use std::fmt;
use std::time::{Duration, Instant};

use crate::closer::background;
use crate::detach::detach;
use crate::driver::{Driver, Prepared, Progress};
use crate::error::CloseError;
use crate::linger::Linger;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::{Edges, Event, HasSocket, Look, OwnedSocket, Timer};

/// Holds a close under way: the non-blocking form, for any event loop.
///
/// Its descriptor becomes readable when [`try_finish`](Self::try_finish) has
/// something to do, the deadline included; register it with any event loop for
/// readability, level- or edge-triggered. Until then `try_finish` answers with an
/// error that [would block](CloseError::would_block).
///
/// Dropped unfinished, the close goes on in the [background](crate::background)
/// to its deadline; nothing is reset or leaked, only the report is lost.
///
/// Costs three descriptors while it lasts: the connection, an epoll instance and
/// a timer. For many at once use [`Closer`](crate::Closer).
///
/// ```
/// use std::io::Write;
/// use std::net::{TcpListener, TcpStream};
/// use std::time::Duration;
/// use lastbyte::{Closing, Fate, Policy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut stream = TcpStream::connect(listener.local_addr()?)?;
/// # let (_peer, _) = listener.accept()?;
/// stream.set_nonblocking(true)?;
/// stream.write_all(b"the last byte")?;
///
/// let mut closing = Closing::begin(stream, Policy::wait(Duration::from_secs(5)))?;
/// let report = loop {
///     match closing.try_finish() {
///         Err(e) if e.would_block() => wait_readable(&closing), // your event loop
///         done => break done?,
///     }
/// };
/// assert_eq!(report.fate, Fate::Delivered);
/// # Ok(()) }
/// # fn wait_readable(fd: &impl std::os::fd::AsRawFd) {
/// #     let mut p = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
/// #     unsafe { libc::poll(&mut p, 1, -1) };
/// # }
/// ```
#[must_use = "dropped, the close goes on in the background and its report is lost"]
pub struct Closing {
    /// Until the ending is over or left to the background.
    driver: Option<Box<Driver>>,
    report: Option<Report>,
    edges: Edges,
    timer: Timer,
}

const CONNECTION: u64 = 0;
const TIMER: u64 = 1;

impl Closing {
    /// Begins to close a connection: sends what is queued and FIN, and returns
    /// at once, whatever the policy and whether or not the socket is blocking. Does not
    /// block.
    ///
    /// # Errors
    /// Refused, or no resources: the socket is in the error, untouched.
    pub fn begin<S, P>(socket: S, policy: P) -> Result<Self, CloseError>
    where
        S: Into<OwnedSocket>,
        P: Into<Policy>,
    {
        Self::begin_at(socket.into(), &policy.into(), Instant::now())
    }

    pub(crate) fn begin_at(
        socket: OwnedSocket,
        policy: &Policy,
        began: Instant,
    ) -> Result<Self, CloseError> {
        let prepared = Prepared::new(socket, policy, began)?;
        let (edges, timer) = match watch(&prepared) {
            Ok(watch) => watch,
            Err(error) => return Err(CloseError::resources(error, prepared.into_socket())),
        };
        let mut closing = Self {
            driver: None,
            report: None,
            edges,
            timer,
        };
        if policy.linger() == Linger::Off {
            let report = match detach(prepared) {
                Ok(report) => report,
                Err(error) => match error.report() {
                    Some(report) => *report,
                    None => return Err(error),
                },
            };
            closing.settle(report);
        } else {
            let (driver, progress) = prepared.start();
            closing.driver = Some(Box::new(driver));
            closing.advance(progress);
        }
        Ok(closing)
    }

    /// Returns the report, if the fate is known by now. Asked again, it returns the same.
    /// Does not block.
    ///
    /// # Errors
    /// [Would block](CloseError::would_block) while the close is under way; else
    /// as [`close`](crate::close()).
    pub fn try_finish(&mut self) -> Result<Report, CloseError> {
        if let (None, Some(driver)) = (self.report, &mut self.driver) {
            let mut events = [Event::NONE; 2];
            let how = match self.edges.wait(&mut events, Some(Duration::ZERO)) {
                Ok([event]) if event.token() == CONNECTION => event.look(),
                // A timer that is due wants to see everything; and so does who
                // cannot see the events.
                Ok([_, ..]) | Err(_) => Look::Full,
                Ok([]) => Look::Input,
            };
            let progress = driver.step(how);
            self.advance(progress);
        }
        match self.report {
            Some(report) => report.into_result(),
            None => Err(CloseError::still_closing(None)),
        }
    }

    /// Returns when `try_finish` has something to do at the latest: the deadline, or an
    /// earlier look for progress. The descriptor is readable then too.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.driver.as_ref().and_then(|driver| driver.due())
    }

    /// Returns what an event loop can wait on; the platform says which.
    pub(crate) fn watch(&self) -> (&Edges, &Timer) {
        (&self.edges, &self.timer)
    }

    fn advance(&mut self, progress: Progress) {
        match (progress.report, &self.driver) {
            (Some(report), _) => {
                if let Some(driver) = self.driver.take().filter(|_| !progress.over) {
                    let _ = self.edges.remove(driver.socket());
                    background::adopt_or_release(*driver);
                }
                self.settle(report);
            }
            (None, Some(driver)) => self.timer.set(driver.due_in()),
            (None, None) => {}
        }
    }

    fn settle(&mut self, report: Report) {
        self.report = Some(report);
        // An event loop that polls once more must not wait for ever.
        self.timer.set(Some(Duration::ZERO));
    }
}

fn watch(prepared: &Prepared) -> std::io::Result<(Edges, Timer)> {
    let edges = Edges::new()?;
    let timer = Timer::new()?;
    edges.add(prepared.socket(), CONNECTION)?;
    edges.add_readable(timer.borrowed(), TIMER)?;
    Ok((edges, timer))
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            let _ = self.edges.remove(driver.socket());
            background::adopt_or_release(*driver);
        }
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing")
            .field("report", &self.report)
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}
