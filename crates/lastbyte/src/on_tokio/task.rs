//! An ending that is told of: to the listener it came from, and to whoever
//! awaits it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ::tokio::runtime::Handle;
use ::tokio::sync::oneshot;

use super::drive::{Drive, Socket};
use super::registry::{Hold, Registration, SettleTimer, Stage};
use crate::closer::Sink;
use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;

/// What a close comes to.
pub(super) type Outcome = Result<Report, CloseError>;

/// As a future: everything to the end, the hold for late input included.
pub(super) struct Task {
    drive: Drive,
    /// Until it is over, or left to the background.
    registration: Option<Registration>,
    reported: bool,
    settle_timer: SettleTimer,
    /// What the background closer makes of it, where the runtime cannot wait.
    delegated: Option<oneshot::Receiver<Outcome>>,
}

impl Task {
    /// Begins to close, and gives the result if it is known by then. What is awaited
    /// begins only where the runtime can wait for it.
    pub(super) fn begin(
        socket: Socket,
        policy: &Policy,
        registration: Option<Registration>,
        began: Instant,
        awaited: bool,
    ) -> Result<(Self, Option<Outcome>), CloseError> {
        let (drive, report) = match Drive::begin(socket, policy, began, awaited) {
            Ok(begun) => begun,
            Err(error) => {
                let result = Err(error);
                if let Some(registration) = &registration {
                    registration.record(&result);
                }
                let Err(error) = result else {
                    unreachable!("made an error just above")
                };
                return Err(error);
            }
        };
        let mut task = Self {
            drive,
            registration,
            reported: false,
            settle_timer: SettleTimer::default(),
            delegated: None,
        };
        let result = report.map(|report| task.record(Ok(report)));
        Ok((task, result))
    }

    /// Waits for the result. Given once.
    pub(super) fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        if self.delegated.is_none() {
            match self.poll_report(cx) {
                Poll::Ready(Ok(report)) => return Poll::Ready(self.record(Ok(report))),
                Poll::Ready(Err(_)) => self.delegate(),
                Poll::Pending => return Poll::Pending,
            }
        }
        let Some(delegated) = &mut self.delegated else {
            return Poll::Pending;
        };
        let result = ready!(Pin::new(delegated).poll(cx));
        self.delegated = None;
        Poll::Ready(result.unwrap_or_else(|_| {
            let gone = io::Error::other("the background closer ended first");
            Err(CloseError::lost_sight(gone))
        }))
    }

    fn poll_report(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Report>> {
        let report = self.drive.poll_report(cx);
        if report.is_ready() {
            return report;
        }
        self.wake_later(cx);
        match &self.registration {
            Some(registration) if registration.is_at(Stage::Throttled) => {
                self.drive.throttle(registration.throttle_time())
            }
            // Or the shutdown was given up.
            _ => self.drive.unthrottle(),
        }
        if self.is_at(Stage::Deadline) && (self.drive.settle() || self.settle_timer.is_over()) {
            return self
                .drive
                .cut_short()
                .map_or(report, |report| Poll::Ready(Ok(report)));
        }
        report
    }

    /// Has the background closer go on with it, and tell.
    fn delegate(&mut self) {
        let (send, result) = oneshot::channel();
        let registration = self.hand_over();
        self.drive.delegate(Some(Box::new(move |result| {
            if let Some(registration) = registration {
                registration.record_from_background(&result);
            }
            // Nobody need be waiting.
            let _ = send.send(result);
        })));
        self.reported = true;
        self.delegated = Some(result);
    }

    /// Its place with the listener, for the background: a shutdown does not wait for it
    /// beyond its deadline.
    fn hand_over(&mut self) -> Option<Registration> {
        let registration = self.registration.take();
        if let Some(registration) = &registration {
            registration.leave_to_background();
        }
        registration
    }

    /// Has nobody woken for it: from here on it is looked at.
    pub(super) fn unwatch(&mut self) {
        self.drive.unwatch();
    }

    /// Looks how far it has come, instead of waiting.
    pub(super) fn look(&mut self) {
        if let Some(report) = self.drive.look() {
            let _ = self.record(Ok(report));
        }
    }

    /// Whether nothing remains to be done, not even for a peer that may still be
    /// sending.
    pub(super) fn is_over(&self) -> bool {
        self.drive.is_over() && self.delegated.is_none()
    }

    /// Whether its listener is shutting down, or it has none: then nothing is gained by
    /// putting it off.
    pub(super) fn is_urgent(&self) -> bool {
        self.registration.is_none() || self.is_at(Stage::LastAccepts)
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    /// Goes on as a task, or where no runtime takes it in the background.
    pub(super) fn spawn(self, runtime: Option<&Handle>) {
        match Handle::try_current() {
            Ok(here) => drop(here.spawn(self)),
            // A runtime that is gone drops the task at once, which is as good.
            Err(_) => match runtime {
                Some(runtime) => drop(runtime.spawn(self)),
                None => drop(self),
            },
        }
    }

    fn record(&mut self, result: Outcome) -> Outcome {
        let result = result.and_then(Report::into_result);
        self.reported = true;
        if let Some(registration) = &self.registration {
            registration.record(&result);
        }
        result
    }

    fn wake_later(&self, cx: &mut Context<'_>) {
        if let Some(registration) = &self.registration {
            registration.wake_later(cx);
        }
    }

    fn is_at(&self, stage: Stage) -> bool {
        self.registration
            .as_ref()
            .is_some_and(|registration| registration.is_at(stage))
    }

    /// Waits, after the report, until the peer has closed or its time is over.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.drive.poll_over(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(registration) = &self.registration else {
            return Poll::Pending;
        };
        registration.wake_later(cx);
        let quiet = self.drive.is_quiet();
        if registration.hold(quiet) == Hold::GivenUp {
            // Its descriptor is needed for a connection that somebody waits for.
            self.drive.release();
            return Poll::Ready(());
        }
        if !registration.is_at(Stage::LastAccepts) {
            return Poll::Pending;
        }
        // A shutdown waits for peers that are still sending, no others.
        if quiet {
            self.drive.release();
        } else if registration.is_at(Stage::Deadline) {
            self.drive.leave();
        } else {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.reported {
            match self.poll_report(cx) {
                // Told is all that is to be done with it.
                Poll::Ready(Ok(report)) => drop(self.record(Ok(report))),
                // Dropped, it goes on in the background.
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.poll_hold(cx)
    }
}

impl Drop for Task {
    /// What is not over goes on in the background, whose report is still told.
    fn drop(&mut self) {
        if self.reported || self.drive.is_over() {
            return;
        }
        let sink = self.hand_over().map(|registration| -> Sink {
            Box::new(move |result| registration.record_from_background(&result))
        });
        self.drive.delegate(sink);
    }
}
