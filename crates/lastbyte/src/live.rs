//! An ending with its socket: shows the machine what there is and does what it
//! says. Every form of close is a way to decide when to take the next step.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::ending::{Action, Ending, Step};
use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::{self, Look, NoLook};

/// A connection on its way to the end.
#[derive(Debug)]
pub(crate) struct Live {
    /// Until the ending is over.
    socket: Option<OwnedFd>,
    ending: Ending,
    began: Instant,
    frozen: bool,
}

/// How far a step came.
#[derive(Debug)]
#[must_use]
pub(crate) struct Progress {
    /// Given once in an ending's life.
    pub(crate) report: Option<Report>,
    /// The descriptor is closed.
    pub(crate) over: bool,
}

/// An ending that has looked at its connection and touched nothing yet, so that
/// whatever else it needs can still fail harmlessly.
pub(crate) struct Ready {
    live: Live,
    first: Step,
}

impl Ready {
    pub(crate) fn look(
        socket: OwnedFd,
        policy: &Policy,
        began: Instant,
    ) -> Result<Self, CloseError> {
        // Nothing is discarded before it is certain that the close can go on.
        let seen = match sys::first_look(socket.as_fd()) {
            Ok(seen) => seen,
            Err(NoLook::Refused(refusal)) => return Err(CloseError::refused(refusal, socket)),
            Err(NoLook::Failed(error)) => return Err(CloseError::resources(error, socket)),
        };
        let (ending, first) = Ending::begin(policy, &seen);
        let live = Live {
            socket: Some(socket),
            ending,
            began,
            frozen: false,
        };
        Ok(Self { live, first })
    }

    /// Whether the connection may need more than this call.
    pub(crate) fn may_wait(&self) -> bool {
        !matches!(self.first.action, Action::Close | Action::Freeze)
    }

    /// The socket; open, because nothing was done yet.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.live.socket()
    }

    pub(crate) fn into_socket(self) -> OwnedFd {
        self.live
            .socket
            .expect("a close that has not started has its socket")
    }

    /// Starts the close.
    pub(crate) fn start(self) -> (Live, Progress) {
        let Self { mut live, first } = self;
        let progress = live.act(first);
        (live, progress)
    }
}

impl Live {
    /// Looks again and does what follows.
    pub(crate) fn step(&mut self, how: Look) -> Progress {
        let Some(socket) = &self.socket else {
            return Progress {
                report: None,
                over: true,
            };
        };
        let seen = sys::look(socket.as_fd(), self.ending.drain_allowance(), how);
        let step = self.ending.observe(self.began.elapsed(), &seen);
        self.act(step)
    }

    /// The time left until a step is due even if nothing happens.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let due = self.ending.deadline()?;
        Some(due.saturating_sub(self.began.elapsed()))
    }

    /// The time at which a step is due even if nothing happens; none also where
    /// that is beyond what the clock can hold.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.began.checked_add(self.ending.deadline()?)
    }

    /// See [`Ending::is_quiet`].
    pub(crate) fn is_quiet(&self) -> bool {
        self.ending.is_quiet()
    }

    /// What can be said of a close that is left to go on by itself.
    pub(crate) fn detached(&self) -> Report {
        let seen = sys::look(self.socket(), 0, Look::Full);
        self.ending.detached(self.began.elapsed(), &seen)
    }

    /// Closes the descriptor now, in the ordinary way.
    pub(crate) fn release(&mut self) {
        if let Some(socket) = self.socket.take() {
            sys::close(socket, self.frozen);
        }
    }

    /// The socket.
    ///
    /// # Panics
    /// When the ending is over; its drivers stop at that.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket
            .as_ref()
            .expect("an ending that is not over has its socket")
            .as_fd()
    }

    fn act(&mut self, mut step: Step) -> Progress {
        let mut report = None;
        loop {
            report = report.or(step.report);
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
                Action::Abort => {
                    if let Some(socket) = self.socket.take() {
                        sys::abort(socket);
                    }
                    return Progress { report, over: true };
                }
                Action::SendFin => {
                    let sent = sys::send_fin(self.socket());
                    if !sent {
                        self.ending.fin_refused();
                    }
                    if sent { Look::Input } else { Look::Full }
                }
                Action::Look => Look::Full,
                Action::Freeze => {
                    sys::freeze(self.socket());
                    self.frozen = true;
                    Look::Full
                }
            };
            let seen = sys::look(self.socket(), self.ending.drain_allowance(), how);
            step = self.ending.observe(self.began.elapsed(), &seen);
        }
    }
}
