//! One ending on tokio's reactor. Its report goes to the listener that the connection
//! came from, and to whoever awaits it.

mod waiting;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::tokio::runtime::Handle;
use ::tokio::sync::oneshot;
use ::tokio::task::JoinHandle;
use ::tokio::time::Sleep;

use super::registry::{Hold, Registration, SettleTimer, Stage};
use super::socket::{Socket, refused};
use super::timer;
use super::watch::{Watch, clear};
use crate::closer::{InputCount, Sink, background};
use crate::driver::{Driver, Prepared};
use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::{self, Look, NoLook, Throttled};

/// The result of a close.
pub(super) type Outcome = Result<Report, CloseError>;

/// An ending under way; as a future, everything to its end, the hold for late input
/// included. Dropped unfinished, it goes on in the background.
pub(super) struct Task {
    /// Until the ending is over or left to the background.
    driver: Option<Driver<Socket>>,
    watch: Watch,
    alarm: Option<Pin<Box<Sleep>>>,
    /// What the alarm is set to.
    due: Option<Instant>,
    /// When it began by the system's clock: the runtime's may be paused.
    began: Instant,
    /// While the network is given real time, before a paused clock's deadline counts;
    /// and for which deadline it was.
    settling: Option<JoinHandle<()>>,
    settled: Option<Instant>,
    /// The pacing from before transmission was held back.
    throttled: Option<Throttled>,
    /// Until it is over, or left to the background.
    registration: Option<Registration>,
    reported: bool,
    settle_timer: SettleTimer,
    /// The background closer's result, where the runtime cannot wait.
    delegated: Option<oneshot::Receiver<Outcome>>,
}

impl Task {
    /// Begins to close: sends what is queued and FIN. A result that is known by then comes
    /// along.
    ///
    /// Where somebody `awaits` it, what that takes is had before anything is done; it
    /// fails with the socket untouched. Else the background has it where need be.
    pub(super) fn begin(
        socket: Socket,
        policy: &Policy,
        registration: Option<Registration>,
        began: Instant,
        awaited: bool,
    ) -> Result<(Self, Option<Outcome>), CloseError> {
        if let Some(stream) = socket.watched() {
            // Whatever happens from here on is news.
            clear(stream);
        }
        let (prepared, watch) = match prepare(socket, policy, began, awaited) {
            Ok(begun) => begun,
            Err(error) => {
                let result = Err(error);
                if let Some(registration) = &registration {
                    registration.record(&result);
                }
                return result.map(|_| unreachable!("made an error just above"));
            }
        };
        let (driver, progress) = prepared.by_clock(timer::now).start();
        let mut task = Self {
            driver: (!progress.over).then_some(driver),
            watch,
            alarm: None,
            due: None,
            began,
            settling: None,
            settled: None,
            throttled: None,
            registration,
            reported: false,
            settle_timer: SettleTimer::default(),
            delegated: None,
        };
        let result = progress.report.map(|report| task.record(Ok(report)));
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
        let report = self.poll_first_report(cx);
        if report.is_ready() {
            return report;
        }
        self.wake_later(cx);
        match &self.registration {
            Some(registration) if registration.is_at(Stage::Throttled) => {
                let time = registration.throttle_time();
                self.throttle(time);
            }
            // Or the shutdown was given up.
            _ => self.unthrottle(),
        }
        if self.is_at(Stage::Deadline) && (self.settle() || self.settle_timer.is_over()) {
            return self
                .cut_short()
                .map_or(report, |report| Poll::Ready(Ok(report)));
        }
        report
    }

    /// Has the background closer go on with it, and deliver the result.
    fn delegate(&mut self) {
        let (send, result) = oneshot::channel();
        let registration = self.hand_over();
        self.leave(Some(Box::new(move |result| {
            if let Some(registration) = registration {
                registration.record_from_background(&result);
            }
            // Nobody need be waiting.
            let _ = send.send(result);
            InputCount::UNWANTED
        })));
        self.reported = true;
        self.delegated = Some(result);
    }

    /// Gives up the registration, for the background closer: a shutdown does not wait for it
    /// beyond its deadline.
    fn hand_over(&mut self) -> Option<Registration> {
        let registration = self.registration.take();
        if let Some(registration) = &registration {
            registration.leave_to_background();
        }
        registration
    }

    /// Takes the connection out of the reactor: from now on the ending is polled by
    /// [`look`](Self::look), and nothing wakes a task for it.
    pub(super) fn unwatch(&mut self) {
        self.own(|socket| socket.into_fd().ok().map(Socket::Fd));
    }

    fn own(&mut self, own: impl FnOnce(Socket) -> Option<Socket>) {
        self.driver = self.driver.take().and_then(|driver| driver.map(own));
    }

    /// Looks how far it has come, instead of waiting.
    pub(super) fn look(&mut self) {
        if let Some(report) = self.step(Look::Input).report {
            let _ = self.record(Ok(report));
        }
    }

    /// Returns whether nothing remains to be done, not even for a peer that may still be
    /// sending.
    pub(super) fn is_over(&self) -> bool {
        self.driver.is_none() && self.delegated.is_none()
    }

    /// Returns whether its listener is shutting down, or it has none: then nothing is gained by
    /// putting it off.
    pub(super) fn is_urgent(&self) -> bool {
        self.registration.is_none() || self.is_at(Stage::LastAccepts)
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registration.is_some()
    }

    /// Goes on as a task, or in the background where no runtime takes it.
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

    /// Ends what has no report yet as if its deadline had come.
    fn cut_short(&mut self) -> Option<Report> {
        let driver = self.driver.as_mut()?;
        driver.cut_short();
        self.step(Look::Full).report
    }

    /// Holds back what was not transmitted yet. See [`sys::throttle`].
    fn throttle(&mut self, time: Duration) {
        if let (Some(driver), None) = (&self.driver, self.throttled) {
            self.throttled = sys::throttle(driver.socket(), time);
        }
    }

    /// Undoes it.
    fn unthrottle(&mut self) {
        if let (Some(driver), Some(before)) = (&self.driver, self.throttled.take()) {
            sys::unthrottle(driver.socket(), before);
        }
    }

    /// Returns whether all that was transmitted has been acknowledged; if so, it stays at
    /// that. See [`Driver::settle`].
    fn settle(&mut self) -> bool {
        self.driver.as_mut().is_none_or(Driver::settle)
    }

    /// Returns whether nothing suggests that the peer will send more.
    fn is_quiet(&self) -> bool {
        self.driver.as_ref().is_none_or(Driver::is_quiet)
    }

    /// Closes the descriptor now, in the ordinary way.
    fn release(&mut self) {
        if let Some(mut driver) = self.driver.take() {
            driver.release();
        }
    }

    /// Leaves the rest to the background closer. `sink` is given what becomes of it, where
    /// that was not reported yet.
    fn leave(&mut self, sink: Option<Sink>) {
        self.unthrottle();
        if let Some(driver) = self
            .driver
            .take()
            .and_then(|driver| driver.map(|socket| socket.into_fd().ok()))
        {
            background::adopt_and_report(driver.by_system_clock(), sink);
        }
    }

    /// Waits, after the report, until the peer has closed or its time is over.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_over(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(registration) = &self.registration else {
            return Poll::Pending;
        };
        registration.wake_later(cx);
        let quiet = self.is_quiet();
        if registration.hold(quiet) == Hold::GivenUp {
            // Its descriptor is needed for a connection that somebody waits for.
            self.release();
            return Poll::Ready(());
        }
        if !registration.is_at(Stage::LastAccepts) {
            return Poll::Pending;
        }
        // A shutdown waits for peers that are still sending, no others.
        if quiet {
            self.release();
        } else if registration.is_at(Stage::Deadline) {
            self.leave(None);
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
                // Nobody awaits it.
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
    /// What is not over goes on in the background, whose report is still recorded.
    fn drop(&mut self) {
        if self.driver.is_none() {
            return;
        }
        let registration = if self.reported {
            None
        } else {
            self.hand_over()
        };
        let sink = registration.map(|registration| -> Sink {
            Box::new(move |result| {
                registration.record_from_background(&result);
                InputCount::UNWANTED
            })
        });
        self.leave(sink);
    }
}

type Begun = (Prepared<Socket>, Watch);

/// Looks at the connection, and gets what it takes to wait for it if it is `awaited`.
fn prepare(
    socket: Socket,
    policy: &Policy,
    began: Instant,
    awaited: bool,
) -> Result<Begun, CloseError> {
    let prepared = match &socket {
        Socket::Accepted(_) => Prepared::inspect_tcp(socket, policy, began),
        _ => Prepared::inspect(socket, policy, began),
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err((no_look, socket)) => return Err(refused(no_look, socket)),
    };
    match awaited.then(|| Watch::prepare(&prepared)).transpose() {
        Ok(watch) => Ok((prepared, watch.unwrap_or(Watch::first()))),
        Err(error) => Err(refused(NoLook::Failed(error), prepared.into_socket())),
    }
}
