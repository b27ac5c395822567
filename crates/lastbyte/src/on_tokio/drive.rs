//! One ending on tokio's reactor.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::tokio::io::Interest;
use ::tokio::net::TcpStream;
use ::tokio::runtime::Handle;
use ::tokio::task::JoinHandle;
use ::tokio::time::Sleep;

use super::timer;
use crate::closer::{Sink, background};
use crate::driver::{Driver, Prepared, Progress};
use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::{
    self, BorrowedSocket, Edges, HasSocket, Look, Nested, NoLook, OwnedSocket, Throttled,
};

/// A connection, and whether the reactor watches it already.
pub(super) enum Socket {
    Stream(TcpStream),
    /// By a listener that is known to be one of TCP.
    Accepted(TcpStream),
    Fd(OwnedSocket),
}

impl Socket {
    fn watched(&self) -> Option<&TcpStream> {
        match self {
            Socket::Stream(stream) | Socket::Accepted(stream) => Some(stream),
            Socket::Fd(_) => None,
        }
    }

    /// The descriptor, in the reactor; unless that fails, and leaves it as it is.
    fn into_watched(self) -> Self {
        let Socket::Fd(fd) = self else { return self };
        // A failure would close the connection, but not this.
        let Ok(spare) = fd.try_clone() else {
            return Socket::Fd(fd);
        };
        match timer::register(|| TcpStream::from_std(fd.into())) {
            Ok(stream) => Socket::Accepted(stream),
            Err(_) => Socket::Fd(spare),
        }
    }

    /// The descriptor, out of the reactor.
    fn into_fd(self) -> io::Result<OwnedSocket> {
        Ok(match self {
            Socket::Stream(stream) | Socket::Accepted(stream) => stream.into_std()?.into(),
            Socket::Fd(fd) => fd,
        })
    }
}

impl HasSocket for Socket {
    fn borrowed(&self) -> BorrowedSocket<'_> {
        match self {
            Socket::Stream(stream) | Socket::Accepted(stream) => stream.borrowed(),
            Socket::Fd(fd) => fd.borrowed(),
        }
    }
}

/// An ending under way. Dropped unfinished, it goes on in the background.
pub(super) struct Drive {
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
}

/// Where the edges of the connection show.
enum Watch {
    /// In the registration that the stream has had with the reactor all along.
    ///
    /// tokio never takes back that a side is closed. Once both FINs have passed,
    /// such a registration is ready for good, long before ours is acknowledged.
    Own,
    /// In an epoll instance between the connection and the reactor.
    Nested(Nested),
    /// Nowhere, because there was no descriptor to be had. It is looked at from time
    /// to time.
    Unwatched { looks: u32 },
}

/// Between two looks at a connection that cannot be watched, the first and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(80);

/// What real time a connection is given where a paused clock comes to a deadline at
/// once: longer than a delayed acknowledgement takes.
const REAL_TIME: Duration = Duration::from_millis(100);

/// Wake-ups in a row from the registration's own readiness, after which that is
/// taken to stay for good.
const ENOUGH: u8 = 3;

impl Drive {
    /// Begins to close: sends what is queued and FIN. A report that is known by
    /// then comes along.
    ///
    /// Where somebody `awaits` it, what that takes is had before anything is done; it
    /// fails with the socket untouched. Else the background has it where need be.
    pub(super) fn begin(
        socket: Socket,
        policy: &Policy,
        began: Instant,
        awaited: bool,
    ) -> Result<(Self, Option<Report>), CloseError> {
        if let Some(stream) = socket.watched() {
            // Whatever happens from here on is news.
            clear(stream);
        }
        let prepared = match &socket {
            Socket::Accepted(_) => Prepared::inspect_tcp(socket, policy, began),
            _ => Prepared::inspect(socket, policy, began),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err((no_look, socket)) => return Err(refused(no_look, socket)),
        };
        let watch = match awaited.then(|| resources(&prepared)).transpose() {
            Ok(watch) => watch.unwrap_or_else(first_watch),
            Err(error) => return Err(refused(NoLook::Failed(error), prepared.into_socket())),
        };
        let (driver, progress) = prepared.by_clock(timer::now).start();
        let mut drive = Self {
            driver: Some(driver),
            watch,
            alarm: None,
            due: None,
            began,
            settling: None,
            settled: None,
            throttled: None,
        };
        drive.note(&progress);
        Ok((drive, progress.report))
    }

    /// Whether the descriptor is closed, or somebody else's affair.
    pub(super) fn is_over(&self) -> bool {
        self.driver.is_none()
    }

    /// Waits for the report. Where the runtime cannot wait for it, the error says why,
    /// and the connection is still here.
    pub(super) fn poll_report(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Report>> {
        loop {
            if let Some(report) = ready!(self.poll_progress(cx))?.report {
                return Poll::Ready(Ok(report));
            }
        }
    }

    /// Takes the connection out of the reactor: nobody is to be woken for it.
    pub(super) fn unwatch(&mut self) {
        self.own(|socket| socket.into_fd().ok().map(Socket::Fd));
    }

    /// Looks how far it has come, instead of waiting.
    pub(super) fn look(&mut self) -> Option<Report> {
        self.step(Look::Input).report
    }

    fn own(&mut self, own: impl FnOnce(Socket) -> Option<Socket>) {
        self.driver = self.driver.take().and_then(|driver| driver.map(own));
    }

    /// Once there is a report, waits until the descriptor is closed.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_over() {
            if ready!(self.poll_progress(cx)).is_err() {
                self.leave();
            }
        }
        Poll::Ready(())
    }

    /// Ends what has no report yet as if its deadline had come.
    pub(super) fn cut_short(&mut self) -> Option<Report> {
        let driver = self.driver.as_mut()?;
        driver.cut_short();
        self.step(Look::Full).report
    }

    /// Holds back what was not transmitted yet. See [`sys::throttle`].
    pub(super) fn throttle(&mut self, time: Duration) {
        if let (Some(driver), None) = (&self.driver, self.throttled) {
            self.throttled = sys::throttle(driver.socket(), time);
        }
    }

    /// Undoes it.
    pub(super) fn unthrottle(&mut self) {
        if let (Some(driver), Some(before)) = (&self.driver, self.throttled.take()) {
            sys::unthrottle(driver.socket(), before);
        }
    }

    /// Whether all that was transmitted has been acknowledged; if so, it stays at
    /// that. See [`Driver::settle`].
    pub(super) fn settle(&mut self) -> bool {
        self.driver.as_mut().is_none_or(Driver::settle)
    }

    /// Whether nothing suggests that the peer will send more.
    pub(super) fn is_quiet(&self) -> bool {
        self.driver.as_ref().is_none_or(Driver::is_quiet)
    }

    /// Closes the descriptor now, in the ordinary way.
    pub(super) fn release(&mut self) {
        if let Some(mut driver) = self.driver.take() {
            driver.release();
        }
    }

    /// Leaves the rest to the background closer.
    pub(super) fn leave(&mut self) {
        self.delegate(None);
    }

    /// As [`leave`](Self::leave); `sink` is given what becomes of it, where that was
    /// not reported yet.
    pub(super) fn delegate(&mut self, sink: Option<Sink>) {
        self.unthrottle();
        if let Some(driver) = self
            .driver
            .take()
            .and_then(|driver| driver.map(|socket| socket.into_fd().ok()))
        {
            background::adopt_and_tell(driver.by_system_clock(), sink);
        }
    }

    /// Until the ending is over.
    fn socket(&self) -> Option<&Socket> {
        self.driver.as_ref().and_then(Driver::owner)
    }

    fn note(&mut self, progress: &Progress) {
        if progress.over {
            self.driver = None;
        }
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

    fn step(&mut self, how: Look) -> Progress {
        let progress = match &mut self.driver {
            Some(driver) => driver.step(how),
            None => Progress {
                report: None,
                over: true,
            },
        };
        self.note(&progress);
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
        self.watch = nest(socket.borrowed()).unwrap_or(Watch::Unwatched { looks: 0 });
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
            if let Some(watch) = self.socket().and_then(|s| nest(s.borrowed()).ok()) {
                self.watch = watch;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// When a step is due, and a look even if nothing is known to have happened.
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

impl Drop for Drive {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Progress {
    const fn is_news(&self) -> bool {
        self.report.is_some() || self.over
    }
}

/// Ready when something happened to the stream, once; how closely to look.
fn poll_own(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<Look>> {
    // Both, so that either wakes the task.
    let read = stream.poll_read_ready(cx)?;
    let write = stream.poll_write_ready(cx)?;
    if read.is_pending() && write.is_pending() {
        return Poll::Pending;
    }
    // Before the look: what comes after it is ready again.
    clear(stream);
    Poll::Ready(Ok(if read.is_ready() {
        Look::Input
    } else {
        Look::Queue
    }))
}

/// Makes the stream unready until something happens: readiness is edge-triggered.
fn clear(stream: &TcpStream) {
    for interest in [Interest::READABLE, Interest::WRITABLE] {
        let _ = stream.try_io(interest, || {
            Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock))
        });
    }
}

/// The stream's own readiness, where that shows everything.
fn first_watch() -> Watch {
    match sys::LOOKS_EVERY {
        None => Watch::Own,
        Some(_) => Watch::Unwatched { looks: 0 },
    }
}

/// What it takes to wait for a close: time, and where the connection is not in the
/// reactor already a descriptor that is.
fn resources(prepared: &Prepared<Socket>) -> io::Result<Watch> {
    if !prepared.may_wait() {
        return Ok(first_watch());
    }
    timer::needs_time()?;
    if sys::LOOKS_EVERY.is_some() {
        return Ok(first_watch());
    }
    match prepared.owner().watched() {
        Some(_) => Ok(Watch::Own),
        None => nest(prepared.socket()),
    }
}

fn nest(socket: BorrowedSocket<'_>) -> io::Result<Watch> {
    let edges = Edges::new()?;
    edges.add(socket, 0)?;
    timer::register(|| Nested::new(edges)).map(Watch::Nested)
}

fn refused(no_look: NoLook, socket: Socket) -> CloseError {
    match (no_look, socket.into_fd()) {
        (NoLook::Refused(refusal), Ok(fd)) => CloseError::refused(refusal, fd),
        (NoLook::Failed(error), Ok(fd)) => CloseError::resources(error, fd),
        (_, Err(error)) => CloseError::lost_sight(error),
    }
}
