//! How a task waits: by edges of the connection, by an alarm, or by both.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::tokio::runtime::Handle;

use super::Task;
use crate::driver::{Driver, Progress};
use crate::on_tokio::socket::Socket;
use crate::on_tokio::timer;
use crate::on_tokio::watch::{Watch, poll_own};
use crate::report::Report;
use crate::sys::{self, HasSocket, Look};

/// Between two looks at a connection that cannot be watched, the first and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(80);

/// What real time a connection is given where a paused clock comes to a deadline at
/// once: longer than a delayed acknowledgement takes.
const REAL_TIME: Duration = Duration::from_millis(100);

/// Wake-ups in a row from the registration's own readiness, after which that is
/// taken to stay for good.
const ENOUGH: u8 = 3;

impl Task {
    /// Waits for the report. Where the runtime cannot wait for it, the error says why,
    /// and the connection is still here.
    pub(super) fn poll_first_report(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Report>> {
        loop {
            if let Some(report) = ready!(self.poll_progress(cx))?.report {
                return Poll::Ready(Ok(report));
            }
        }
    }

    /// Once there is a report, waits until the descriptor is closed.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.driver.is_some() {
            if ready!(self.poll_progress(cx)).is_err() {
                self.leave(None);
            }
        }
        Poll::Ready(())
    }

    /// Until the ending is over.
    fn socket(&self) -> Option<&Socket> {
        self.driver.as_ref().and_then(Driver::owner)
    }

    /// Waits until a step brings a report or the end.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        loop {
            if let Poll::Ready(progress) = self.poll_edges(cx) {
                return Poll::Ready(progress);
            }
            ready!(self.poll_alarm(cx))?;
            ready!(self.poll_real_time(cx));
            let progress = self.step(Look::Full);
            if progress.is_news() {
                return Poll::Ready(Ok(progress));
            }
        }
    }

    pub(super) fn step(&mut self, how: Look) -> Progress {
        let progress = match &mut self.driver {
            Some(driver) => driver.step(how),
            None => Progress {
                report: None,
                over: true,
            },
        };
        if progress.over {
            self.driver = None;
        }
        progress
    }

    fn poll_edges(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        let mut woken = 0;
        loop {
            let how = match &self.watch {
                Watch::Own => {
                    let Some(socket) = self.socket() else {
                        return Poll::Ready(Ok(self.step(Look::Full)));
                    };
                    match socket.watched() {
                        Some(stream) if woken < ENOUGH => {
                            let how = ready!(poll_own(stream, cx))?;
                            woken += 1;
                            // Where it is ready again at once, something is wrong
                            // that a quick look does not see.
                            if woken > 1 { Look::Full } else { how }
                        }
                        Some(_) => {
                            self.nest();
                            continue;
                        }
                        None => {
                            self.own(|socket| Some(socket.into_watched()));
                            if self.socket().is_some_and(|s| s.watched().is_none()) {
                                self.nest();
                            }
                            continue;
                        }
                    }
                }
                Watch::Nested(edges) => ready!(edges.poll(cx))?,
                // The alarm looks.
                Watch::Unwatched { .. } => return Poll::Pending,
            };
            let progress = self.step(how);
            if progress.is_news() {
                return Poll::Ready(Ok(progress));
            }
        }
    }

    /// Watches the connection in an epoll instance of its own, or not at all.
    fn nest(&mut self) {
        let Some(socket) = self.socket() else { return };
        self.watch = Watch::nest(socket.borrowed()).unwrap_or(Watch::Unwatched { looks: 0 });
        // An unwatched one is looked at before that.
        self.due = None;
    }

    /// Ready when the time for a step has come.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(due) = self.next_look() else {
            return Poll::Pending;
        };
        if self.due != Some(due) {
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(::tokio::time::Instant::from_std(due)),
                None => self.alarm = Some(timer::alarm(due).ok_or(io::ErrorKind::Unsupported)?),
            }
            self.due = Some(due);
        }
        let Some(alarm) = &mut self.alarm else {
            return Poll::Pending;
        };
        ready!(alarm.as_mut().poll(cx));
        if let Watch::Unwatched { looks } = &mut self.watch {
            *looks += 1;
            self.due = None;
            // There may be a descriptor by now.
            if let Some(watch) = self.socket().and_then(|s| Watch::nest(s.borrowed()).ok()) {
                self.watch = watch;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Returns when a step is due, and a look even if nothing is known to have happened.
    fn next_look(&self) -> Option<Instant> {
        let due = self.driver.as_ref().and_then(Driver::due);
        let Watch::Unwatched { looks } = self.watch else {
            return due;
        };
        if self.due.is_some() {
            return self.due;
        }
        let look = timer::now()
            + (FIRST_LOOK * (1 << looks.min(8))).min(sys::LOOKS_EVERY.unwrap_or(LAST_LOOK));
        Some(due.map_or(look, |due| due.min(look)))
    }

    /// A paused clock comes to a deadline as soon as nothing else is to be done, while
    /// what was sent is still on its way. Ready at once by any other clock; by such a
    /// one, when the network has had a moment of real time.
    fn poll_real_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(settling) = &mut self.settling {
            // An error would mean that the runtime ends.
            let _ = ready!(Pin::new(settling).poll(cx));
            self.settling = None;
            return Poll::Ready(());
        }
        let due = self.driver.as_ref().and_then(Driver::due);
        let real = self.began.elapsed();
        let ahead = self
            .driver
            .as_ref()
            .is_some_and(|driver| driver.elapsed() > real + REAL_TIME);
        if !ahead || self.settled == due {
            return Poll::Ready(());
        }
        self.settled = due;
        let Ok(runtime) = Handle::try_current() else {
            return Poll::Ready(());
        };
        // Keeps the clock where it is, meanwhile.
        let settling = runtime.spawn_blocking(|| std::thread::sleep(REAL_TIME));
        self.settling = Some(settling);
        self.poll_real_time(cx)
    }
}

impl Progress {
    const fn is_news(&self) -> bool {
        self.report.is_some() || self.over
    }
}
