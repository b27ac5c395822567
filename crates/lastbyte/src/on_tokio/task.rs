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
use super::registry::{Entry, Hold, Patience, Stage};
use crate::blocking::outcome;
use crate::closer::Sink;
use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;

/// What a close comes to.
pub(super) type Outcome = Result<Report, CloseError>;

/// As a future: everything to the end, the hold for late input included.
pub(super) struct Ending {
    drive: Drive,
    /// Until it is over, or left to the background.
    entry: Option<Entry>,
    told: bool,
    patience: Patience,
    /// What the background closer makes of it, where the runtime cannot wait.
    delegated: Option<oneshot::Receiver<Outcome>>,
}

impl Ending {
    /// Begins to close, and gives the result if it is known by then. What is awaited
    /// begins only where the runtime can wait for it.
    pub(super) fn begin(
        socket: Socket,
        policy: &Policy,
        entry: Option<Entry>,
        began: Instant,
        awaited: bool,
    ) -> Result<(Self, Option<Outcome>), CloseError> {
        let (drive, report) = match Drive::begin(socket, policy, began, awaited) {
            Ok(begun) => begun,
            Err(error) => {
                let result = Err(error);
                if let Some(entry) = &entry {
                    entry.tell(&result);
                }
                let Err(error) = result else {
                    unreachable!("made an error just above")
                };
                return Err(error);
            }
        };
        let mut ending = Self {
            drive,
            entry,
            told: false,
            patience: Patience::default(),
            delegated: None,
        };
        let result = report.map(|report| ending.tell(Ok(report)));
        Ok((ending, result))
    }

    /// Waits for the result. Given once.
    pub(super) fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        if self.delegated.is_none() {
            match self.poll_report(cx) {
                Poll::Ready(Ok(report)) => return Poll::Ready(self.tell(Ok(report))),
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
        match &self.entry {
            Some(entry) if entry.is_at(Stage::HeldBack) => self.drive.throttle(entry.held_back()),
            // Or the shutdown was given up.
            _ => self.drive.unthrottle(),
        }
        if self.is_at(Stage::Over) && (self.drive.settle() || self.patience.is_over()) {
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
        let entry = self.hand_over();
        self.drive.delegate(Some(Box::new(move |result| {
            if let Some(entry) = entry {
                entry.tell_from_background(&result);
            }
            // Nobody need be waiting.
            let _ = send.send(result);
        })));
        self.told = true;
        self.delegated = Some(result);
    }

    /// Its place with the listener, for the background: a shutdown does not wait for it
    /// beyond its deadline.
    fn hand_over(&mut self) -> Option<Entry> {
        let entry = self.entry.take();
        if let Some(entry) = &entry {
            entry.leave_to_background();
        }
        entry
    }

    /// Has nobody woken for it: from here on it is looked at.
    pub(super) fn unwatch(&mut self) {
        self.drive.unwatch();
    }

    /// Looks how far it has come, instead of waiting.
    pub(super) fn look(&mut self) {
        if let Some(report) = self.drive.look() {
            let _ = self.tell(Ok(report));
        }
    }

    /// Whether nothing remains to be done, not even for a peer that may still be
    /// sending.
    pub(super) fn is_over(&self) -> bool {
        self.drive.is_over() && self.delegated.is_none()
    }

    /// Goes on with nobody waiting for it, cheaply where it is over soon.
    pub(super) fn leave(self, runtime: Option<&Handle>) {
        let lobby = match &self.entry {
            Some(entry) if !entry.is_at(Stage::LastCall) => entry.lobby(),
            _ => return self.spawn(runtime),
        };
        if let Err(ending) = lobby.enter(self, runtime) {
            ending.spawn(runtime);
        }
    }

    pub(super) fn is_on_a_roll(&self) -> bool {
        self.entry.is_some()
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

    fn tell(&mut self, result: Outcome) -> Outcome {
        let result = result.and_then(outcome);
        self.told = true;
        if let Some(entry) = &self.entry {
            entry.tell(&result);
        }
        result
    }

    fn wake_later(&self, cx: &mut Context<'_>) {
        if let Some(entry) = &self.entry {
            entry.wake_later(cx);
        }
    }

    fn is_at(&self, stage: Stage) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.is_at(stage))
    }

    /// Waits, after the report, until the peer has closed or its time is over.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.drive.poll_over(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(entry) = &self.entry else {
            return Poll::Pending;
        };
        entry.wake_later(cx);
        let quiet = self.drive.is_quiet();
        if entry.hold(quiet) == Hold::GivenUp {
            // Its descriptor is needed for a connection that somebody waits for.
            self.drive.release();
            return Poll::Ready(());
        }
        if !entry.is_at(Stage::LastCall) {
            return Poll::Pending;
        }
        // A shutdown waits for peers that are still sending, no others.
        if quiet {
            self.drive.release();
        } else if entry.is_at(Stage::Over) {
            self.drive.leave();
        } else {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

impl Future for Ending {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.told {
            match self.poll_report(cx) {
                // Told is all that is to be done with it.
                Poll::Ready(Ok(report)) => drop(self.tell(Ok(report))),
                // Dropped, it goes on in the background.
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.poll_hold(cx)
    }
}

impl Drop for Ending {
    /// What is not over goes on in the background, whose report is still told.
    fn drop(&mut self) {
        if self.told || self.drive.is_over() {
            return;
        }
        let sink = self
            .hand_over()
            .map(|entry| -> Sink { Box::new(move |result| entry.tell_from_background(&result)) });
        self.drive.delegate(sink);
    }
}
