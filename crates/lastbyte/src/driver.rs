//! Drives one ending: shows the state machine what its socket shows, and does what the
//! machine answers. A form of close decides when the next step is taken.

use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::ending::receipt::Left;
use crate::ending::{Action, Ending, Observation, Step};
use crate::errno::Errno;
use crate::error::CloseError;
use crate::hook;
use crate::policy::Policy;
use crate::report::{Report, Side};
use crate::sys::{self, BorrowedSocket, Filters, HasSocket, Look, NoLook, OwnedSocket};

/// A connection on its way to the end. `S` is whatever owns its descriptor.
#[derive(Debug)]
pub(crate) struct Driver<S = OwnedSocket> {
    /// Until the ending is over.
    socket: Option<S>,
    ending: Ending,
    began: Instant,
    /// What time it is, by the clock that `began` is of.
    clock: fn() -> Instant,
    filters: Filters,
    /// Which connection it is, where a hook will want to know.
    connection: Option<Box<Connection>>,
}

/// What a step brought.
#[derive(Debug)]
#[must_use]
pub(crate) struct Progress {
    /// Given once in an ending's life.
    pub(crate) report: Option<Report>,
    /// The descriptor is closed.
    pub(crate) over: bool,
}

/// A close that has looked at its connection and changed nothing yet, so that whatever
/// else it needs can still fail without harm.
pub(crate) struct Prepared<S = OwnedSocket> {
    driver: Driver<S>,
    first: Step,
}

impl Prepared {
    /// Looks at the connection. Where it cannot be closed, the socket is in the error.
    pub(crate) fn new(
        socket: OwnedSocket,
        policy: &Policy,
        began: Instant,
    ) -> Result<Self, CloseError> {
        Self::inspect(socket, policy, began)
            .map_err(|(no_look, socket)| CloseError::not_begun(no_look, socket))
    }
}

impl<S: HasSocket> Prepared<S> {
    /// As [`look`](Prepared::new), for any owner of a descriptor.
    pub(crate) fn inspect(socket: S, policy: &Policy, began: Instant) -> Result<Self, (NoLook, S)> {
        let seen = sys::first_look(socket.borrowed());
        Self::seen(socket, seen, policy, began)
    }

    /// As [`inspect`](Self::inspect), for what is known to be a TCP socket.
    #[cfg(feature = "tokio")]
    pub(crate) fn inspect_tcp(
        socket: S,
        policy: &Policy,
        began: Instant,
    ) -> Result<Self, (NoLook, S)> {
        let seen = sys::first_look_at_tcp(socket.borrowed());
        Self::seen(socket, seen, policy, began)
    }

    fn seen(
        socket: S,
        seen: Result<Observation, NoLook>,
        policy: &Policy,
        began: Instant,
    ) -> Result<Self, (NoLook, S)> {
        // Nothing is discarded before it is certain that the close can go on.
        let seen = match seen {
            Ok(seen) => seen,
            Err(no_look) => return Err((no_look, socket)),
        };
        let (ending, first) = Ending::begin(policy, &seen);
        let connection = hook::connection(socket.borrowed()).map(Box::new);
        let driver = Driver {
            socket: Some(socket),
            ending,
            began,
            clock: Instant::now,
            filters: Filters::default(),
            connection,
        };
        Ok(Self { driver, first })
    }

    /// Returns whether the connection may need more than this call.
    pub(crate) fn may_wait(&self) -> bool {
        !matches!(self.first.action, Action::Close | Action::Freeze)
    }

    /// The socket; open, because nothing was done yet.
    pub(crate) fn socket(&self) -> BorrowedSocket<'_> {
        self.driver.socket()
    }

    /// The owner of the socket.
    #[cfg(feature = "tokio")]
    pub(crate) fn owner(&self) -> &S {
        self.driver
            .owner()
            .expect("a close that has not started has its socket")
    }

    /// The same with another owner of the descriptor.
    pub(crate) fn map<T>(self, own: impl FnOnce(S) -> T) -> Prepared<T> {
        let Self { driver, first } = self;
        let driver = driver.map(|socket| Some(own(socket)));
        let driver = driver.expect("a close that has not started has its socket");
        Prepared { driver, first }
    }

    pub(crate) fn into_socket(self) -> S {
        self.driver
            .socket
            .expect("a close that has not started has its socket")
    }

    /// Uses another clock from now on.
    #[cfg(feature = "tokio")]
    pub(crate) fn by_clock(mut self, clock: fn() -> Instant) -> Self {
        self.driver.began = clock()
            .checked_sub(self.driver.elapsed())
            .unwrap_or(self.driver.began);
        self.driver.clock = clock;
        self
    }

    /// Starts the close.
    pub(crate) fn start(self) -> (Driver<S>, Progress) {
        let Self { mut driver, first } = self;
        let progress = driver.act(first, false);
        (driver, progress)
    }

    /// Starts the close, and leaves the look at what came of it to the caller.
    pub(crate) fn start_unseen(self) -> (Driver<S>, Progress) {
        let Self { mut driver, first } = self;
        let progress = driver.act(first, true);
        (driver, progress)
    }
}

/// Closes a connection of the network namespace `namespace` and leaves the rest to the
/// kernel, whose destroy notice will carry the cookie returned. The descriptor is to be
/// dropped at once. Returns `None`, with nothing changed, where input is unread, with which
/// that would lose data, and where the close is under way already or the connection gone:
/// then a look shows more than the notice.
pub(crate) fn leave_to_kernel(
    socket: BorrowedSocket<'_>,
    namespace: Option<u64>,
) -> Option<(u64, Left)> {
    let identity = sys::identify(socket)?;
    // Another network namespace's notices do not come here.
    if namespace.is_none() || identity.namespace != namespace {
        return None;
    }
    // close() would send the FIN too, but not say whether the connection was
    // still there; and the count of what is lost depends on it.
    sys::send_fin(socket).ok()?;
    sys::close(socket, Filters::default());
    let left = Left {
        closed_first: if identity.peer_closed {
            Side::Peer
        } else {
            Side::Local
        },
        data_segments_in: identity.data_segments_in,
    };
    Some((identity.cookie, left))
}

impl<S: HasSocket> Driver<S> {
    /// Looks at the connection and does what the machine answers.
    pub(crate) fn step(&mut self, how: Look) -> Progress {
        let Some(socket) = &self.socket else {
            return Progress {
                report: None,
                over: true,
            };
        };
        let how = match how {
            Look::Full | Look::HangUp => how,
            _ if self.ending.is_holding() => Look::Late,
            _ => how,
        };
        let seen = sys::look(socket.borrowed(), self.ending.drain_allowance(), how);
        let step = self.ending.observe(self.elapsed(), &seen);
        self.act(step, false)
    }

    /// Uses the system's clock again, with as much time passed.
    #[cfg(feature = "tokio")]
    pub(crate) fn by_system_clock(mut self) -> Self {
        let now = Instant::now();
        self.began = now.checked_sub(self.elapsed()).unwrap_or(now);
        self.clock = Instant::now;
        self
    }

    /// Since the close began.
    pub(crate) fn elapsed(&self) -> Duration {
        (self.clock)().saturating_duration_since(self.began)
    }

    /// The time until a step is due even if nothing happens.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let due = self.ending.deadline()?;
        Some(due.saturating_sub(self.elapsed()))
    }

    /// The time at which a step is due even if nothing happens; none also where
    /// that is beyond what the clock can hold.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.began.checked_add(self.ending.deadline()?)
    }

    /// Brings the deadline forward to now. The next step says what came of it.
    pub(crate) fn cut_short(&mut self) {
        self.ending.cut_short(self.elapsed());
    }

    /// See [`Ending::is_quiet`].
    pub(crate) fn is_quiet(&self) -> bool {
        self.ending.is_quiet()
    }

    /// See [`Ending::discarded`].
    pub(crate) fn discarded(&self) -> Option<u64> {
        self.ending.discarded()
    }

    /// The report of a close that is left to go on by itself.
    pub(crate) fn detached(&self) -> Report {
        let seen = sys::look(self.socket(), 0, Look::Full);
        let report = self.ending.detached(self.elapsed(), &seen);
        hook::publish(self.connection(), &report);
        report
    }

    /// Which it is, where somebody wants to know.
    pub(crate) fn connection(&self) -> Option<Connection> {
        self.connection.as_deref().copied()
    }

    /// Returns whether the report was given, and only late input matters any more.
    pub(crate) fn is_holding(&self) -> bool {
        self.ending.is_holding()
    }

    /// The same ending with another owner of the descriptor. `None`, and the
    /// descriptor closed, where `own` fails.
    pub(crate) fn map<T>(self, own: impl FnOnce(S) -> Option<T>) -> Option<Driver<T>> {
        Some(Driver {
            socket: Some(own(self.socket?)?),
            ending: self.ending,
            began: self.began,
            clock: self.clock,
            filters: self.filters,
            connection: self.connection,
        })
    }

    /// Lets nothing that arrives change the connection any more, if all that was
    /// transmitted has been acknowledged: then what was acknowledged is what the
    /// peer got. Returns whether that was so.
    #[cfg(feature = "tokio")]
    pub(crate) fn settle(&mut self) -> bool {
        let Some(socket) = &self.socket else {
            return true;
        };
        self.filters.frozen = sys::freeze_if_settled(socket.borrowed());
        self.filters.frozen
    }

    /// Whatever owns the descriptor, until the ending is over.
    #[cfg(feature = "tokio")]
    pub(crate) fn owner(&self) -> Option<&S> {
        self.socket.as_ref()
    }

    /// Closes the descriptor now, in the ordinary way.
    pub(crate) fn release(&mut self) {
        if let Some(socket) = self.socket.take() {
            if self.ending.is_gone() {
                drop(socket);
            } else {
                sys::close(socket, self.filters);
            }
        }
    }

    /// The socket.
    ///
    /// # Panics
    /// When the ending is over; its drivers stop at that.
    pub(crate) fn socket(&self) -> BorrowedSocket<'_> {
        self.socket
            .as_ref()
            .expect("an ending that is not over has its socket")
            .borrowed()
    }

    /// Does what the machine answers until it waits or is over. `unseen` leaves the look
    /// after the FIN to the caller.
    fn act(&mut self, mut step: Step, unseen: bool) -> Progress {
        let mut report = None;
        loop {
            if step.action == Action::Abort {
                // Before the report, which says that it was done.
                if let Some(Err(error)) = self.socket.take().map(sys::abort) {
                    step.report = step.report.map(|report| not_aborted(&report, error));
                }
            }
            if let Some(found) = &step.report {
                hook::publish(self.connection(), found);
            }
            report = report.or(step.report);
            self.trim();
            let how = match step.action {
                Action::Wait => {
                    return Progress {
                        report,
                        over: false,
                    };
                }
                Action::Close => {
                    self.release();
                    return Progress { report, over: true };
                }
                Action::Abort => return Progress { report, over: true },
                Action::SendFin => match sys::send_fin(self.socket()) {
                    Ok(()) if unseen => {
                        return Progress {
                            report,
                            over: false,
                        };
                    }
                    Ok(()) => Look::Input,
                    Err(error) => {
                        self.ending.fin_refused(error);
                        Look::Full
                    }
                },
                Action::Look => Look::Full,
                Action::Freeze => {
                    self.filters.frozen = sys::freeze(self.socket());
                    if !self.filters.frozen {
                        self.ending.freeze_refused();
                    }
                    Look::Full
                }
            };
            let seen = sys::look(self.socket(), self.ending.drain_allowance(), how);
            step = self.ending.observe(self.elapsed(), &seen);
        }
    }

    /// Keeps input out where it would make the kernel reset the connection.
    fn trim(&mut self) {
        if let (true, Some(socket)) = (self.ending.wants_trim(), &self.socket) {
            self.filters.trimmed = sys::trim(socket.borrowed());
            self.ending.trimmed(self.filters.trimmed);
        }
    }
}

/// The report of an abort that the kernel refused: the descriptor was closed in the
/// ordinary way.
fn not_aborted(report: &Report, error: Errno) -> Report {
    Report::left_to_kernel(report.closed_first, report.elapsed, Some(error))
}
