//! One ending on tokio's reactor.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;
use ::tokio::net::TcpStream;
use ::tokio::time::Sleep;

use crate::closer::background;
use crate::error::CloseError;
use crate::live::{Live, Progress, Ready};
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::{self, Edges, Event, Look, NoLook};

/// A connection, and whether the reactor watches it already.
pub(super) enum Socket {
    Stream(TcpStream),
    /// By a listener that is known to be one of TCP.
    Accepted(TcpStream),
    Fd(OwnedFd),
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
        match TcpStream::from_std(fd.into()) {
            Ok(stream) => Socket::Accepted(stream),
            Err(_) => Socket::Fd(spare),
        }
    }

    /// The descriptor, out of the reactor.
    fn into_fd(self) -> io::Result<OwnedFd> {
        Ok(match self {
            Socket::Stream(stream) | Socket::Accepted(stream) => stream.into_std()?.into(),
            Socket::Fd(fd) => fd,
        })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Stream(stream) | Socket::Accepted(stream) => stream.as_fd(),
            Socket::Fd(fd) => fd.as_fd(),
        }
    }
}

/// An ending under way. Dropped unfinished, it goes on in the background.
pub(super) struct Drive {
    /// Until the ending is over or left to the background.
    live: Option<Live<Socket>>,
    watch: Watch,
    alarm: Option<Pin<Box<Sleep>>>,
    /// What the alarm is set to.
    due: Option<Instant>,
}

/// Where the edges of the connection show.
enum Watch {
    /// In the registration that the stream has had with the reactor all along.
    ///
    /// tokio never takes back that a side is closed. Once both FINs have passed,
    /// such a registration is ready for good, long before ours is acknowledged.
    Own,
    /// In an epoll instance between the connection and the reactor.
    Nested(AsyncFd<Edges>),
}

/// Wake-ups in a row from the registration's own readiness, after which that is
/// taken to stay for good.
const ENOUGH: u8 = 3;

impl Drive {
    /// Begins to close: sends what is queued and FIN. A report that is known by
    /// then comes along.
    pub(super) fn begin(
        socket: Socket,
        policy: &Policy,
        began: Instant,
    ) -> Result<(Self, Option<Report>), CloseError> {
        if let Some(stream) = socket.watched() {
            // Whatever happens from here on is news.
            clear(stream);
        }
        let ready = match &socket {
            Socket::Accepted(_) => Ready::inspect_tcp(socket, policy, began),
            _ => Ready::inspect(socket, policy, began),
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err((no_look, socket)) => return Err(refused(no_look, socket)),
        };
        let (live, progress) = ready.start();
        let mut drive = Self {
            live: Some(live),
            watch: Watch::Own,
            alarm: None,
            due: None,
        };
        drive.note(&progress);
        Ok((drive, progress.report))
    }

    /// Whether the descriptor is closed, or somebody else's affair.
    pub(super) fn is_over(&self) -> bool {
        self.live.is_none()
    }

    /// Waits for the report.
    pub(super) fn poll_report(&mut self, cx: &mut Context<'_>) -> Poll<Result<Report, CloseError>> {
        loop {
            match ready!(self.poll_progress(cx)) {
                Ok(Progress {
                    report: Some(report),
                    ..
                }) => return Poll::Ready(Ok(report)),
                Ok(_) => {}
                Err(error) => {
                    self.leave();
                    return Poll::Ready(Err(CloseError::lost_sight(error)));
                }
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

    /// Puts the connection back into the reactor, if it may be; what has happened
    /// meanwhile shows at once.
    pub(super) fn watch(&mut self) {
        self.own(|socket| Some(socket.into_watched()));
    }

    fn own(&mut self, own: impl FnOnce(Socket) -> Option<Socket>) {
        self.live = self.live.take().and_then(|live| live.map(own));
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
        let live = self.live.as_mut()?;
        live.cut_short();
        self.step(Look::Full).report
    }

    /// Holds back what was not transmitted yet. See [`sys::throttle`].
    pub(super) fn throttle(&self) {
        if let Some(live) = &self.live {
            sys::throttle(live.socket());
        }
    }

    /// Whether all that was transmitted has been acknowledged; if so, it stays at
    /// that. See [`Live::settle`].
    pub(super) fn settle(&mut self) -> bool {
        self.live.as_mut().is_none_or(Live::settle)
    }

    /// Whether nothing suggests that the peer will send more.
    pub(super) fn is_quiet(&self) -> bool {
        self.live.as_ref().is_none_or(Live::is_quiet)
    }

    /// Closes the descriptor now, in the ordinary way.
    pub(super) fn release(&mut self) {
        if let Some(mut live) = self.live.take() {
            live.release();
        }
    }

    /// Leaves the rest to the background closer.
    pub(super) fn leave(&mut self) {
        if let Some(live) = self
            .live
            .take()
            .and_then(|live| live.map(|socket| socket.into_fd().ok()))
        {
            background::adopt_or_release(live);
        }
    }

    /// Until the ending is over.
    fn socket(&self) -> Option<&Socket> {
        self.live.as_ref().and_then(Live::owner)
    }

    fn note(&mut self, progress: &Progress) {
        if progress.over {
            self.live = None;
        }
    }

    /// Waits until a step brings a report or the end.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        loop {
            if let Poll::Ready(progress) = self.poll_edges(cx) {
                return Poll::Ready(progress);
            }
            if self.poll_alarm(cx).is_pending() {
                return Poll::Pending;
            }
            let progress = self.step(Look::Full);
            if progress.is_news() {
                return Poll::Ready(Ok(progress));
            }
        }
    }

    fn step(&mut self, how: Look) -> Progress {
        let progress = match &mut self.live {
            Some(live) => live.step(how),
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
                        _ => {
                            self.watch = nest(socket)?;
                            continue;
                        }
                    }
                }
                Watch::Nested(edges) => ready!(poll_nested(edges, cx))?,
            };
            let progress = self.step(how);
            if progress.is_news() {
                return Poll::Ready(Ok(progress));
            }
        }
    }

    /// Ready when the time for a step has come.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.live.as_ref().and_then(Live::due) else {
            return Poll::Pending;
        };
        let at = ::tokio::time::Instant::from_std(due);
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(::tokio::time::sleep_until(at)));
        if self.due != Some(due) {
            if self.due.is_some() {
                alarm.as_mut().reset(at);
            }
            self.due = Some(due);
        }
        alarm.as_mut().poll(cx)
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

/// Ready when something happened; how closely to look.
fn poll_nested(edges: &AsyncFd<Edges>, cx: &mut Context<'_>) -> Poll<io::Result<Look>> {
    loop {
        let mut guard = ready!(edges.poll_read_ready(cx))?;
        let mut events = [Event::NONE];
        match edges.get_ref().wait(&mut events, Some(Duration::ZERO))? {
            [] => guard.clear_ready(),
            [event, ..] => return Poll::Ready(Ok(event.look())),
        }
    }
}

#[allow(
    deprecated,
    reason = "its successor is unsafe, and not in the oldest tokio that we support"
)]
fn nest(socket: &Socket) -> io::Result<Watch> {
    let edges = Edges::new()?;
    edges.add(socket.as_fd(), 0)?;
    AsyncFd::with_interest(edges, Interest::READABLE).map(Watch::Nested)
}

fn refused(no_look: NoLook, socket: Socket) -> CloseError {
    match (no_look, socket.into_fd()) {
        (NoLook::Refused(refusal), Ok(fd)) => CloseError::refused(refusal, fd),
        (NoLook::Failed(error), Ok(fd)) => CloseError::resources(error, fd),
        (_, Err(error)) => CloseError::lost_sight(error),
    }
}
