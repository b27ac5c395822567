//! An ending that is told of: to the listener it came from, and to whoever
//! awaits it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use ::tokio::runtime::Handle;

use super::drive::{Drive, Socket};
use super::roll::{Entry, Patience, Stage};
use crate::blocking::outcome;
use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;

/// What a close comes to.
pub(super) type Outcome = Result<Report, CloseError>;

/// As a future: everything to the end, the hold for late input included.
pub(super) struct Ending {
    drive: Drive,
    entry: Option<Entry>,
    told: bool,
    held_back: bool,
    patience: Patience,
}

impl Ending {
    /// Begins to close, and gives the result if it is known by then.
    pub(super) fn begin(
        socket: Socket,
        policy: &Policy,
        entry: Option<Entry>,
        began: Instant,
    ) -> Result<(Self, Option<Outcome>), CloseError> {
        let (drive, report) = match Drive::begin(socket, policy, began) {
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
            held_back: false,
            patience: Patience::default(),
        };
        let result = report.map(|report| ending.tell(Ok(report)));
        Ok((ending, result))
    }

    /// Waits for the result. Given once.
    pub(super) fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut report = self.drive.poll_report(cx);
        if report.is_pending() {
            self.wake_later(cx);
            if self.is_at(Stage::HeldBack) && !std::mem::replace(&mut self.held_back, true) {
                self.drive.throttle();
            }
            if self.is_at(Stage::Over) && (self.drive.settle() || self.patience.is_over()) {
                report = self.drive.cut_short().map(Ok).map_or(report, Poll::Ready);
            }
        }
        Poll::Ready(self.tell(ready!(report)))
    }

    /// Has nobody woken for it: from here on it is looked at.
    pub(super) fn unwatch(&mut self) {
        self.drive.unwatch();
    }

    /// Has somebody woken for it again.
    pub(super) fn watch(&mut self) {
        self.drive.watch();
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
        self.drive.is_over()
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
}

impl Future for Ending {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.told {
            // Told is all that is to be done with it.
            let _ = ready!(self.poll_result(cx));
        }
        if self.drive.poll_over(cx).is_pending() {
            self.wake_later(cx);
            if !self.is_at(Stage::LastCall) {
                return Poll::Pending;
            }
            // A shutdown waits for peers that are still sending, no others.
            if self.drive.is_quiet() {
                self.drive.release();
            } else if self.is_at(Stage::Over) {
                self.drive.leave();
            } else {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.told && self.entry.is_some() {
            let gone = io::Error::other("its runtime ended first");
            let _ = self.tell(Err(CloseError::lost_sight(gone)));
        }
    }
}
