//! What is done with every report, whichever form of close it comes from.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use crate::blocking::outcome;
use crate::contain::contain;
use crate::error::CloseError;
use crate::report::Report;
use crate::sys::{self, Leaked};

type Hook = Box<dyn Fn(Option<SocketAddr>, &Result<Report, CloseError>) + Send + Sync>;

static HOOK: Leaked<Hook> = Leaked::none();

/// Calls `hook` with what became of each connection that this process closes by this
/// library, whatever the form: [`close`](crate::close()), [`Closing`](crate::Closing),
/// [`Closer`](crate::Closer), the [background closer](crate::background), and those of
/// `lastbyte::on_tokio`.
///
/// It runs where that becomes known, before the caller is told, and should be quick. A
/// panic in it is contained. A close with [`Linger::Off`](crate::Linger::Off) that goes
/// on in the background is reported twice: `detached` when it returns, and its fate when
/// that is known. An error without a report is a connection whose end could not be seen.
/// The address is the peer's; `None` where the connection was gone before the close.
/// Closes that were refused, or that gave the socket back, are not reported.
///
/// With feature `tracing` there is an event for each as well, target `lastbyte`: at
/// level INFO where the ending failed, at DEBUG where it did not.
///
/// Returns whether the hook was set: a process has one, and the first one stays.
///
/// ```
/// # use std::net::{TcpListener, TcpStream};
/// use lastbyte::Linger;
///
/// # fn main() -> std::io::Result<()> {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// lastbyte::on_report(|peer, result| match result {
///     Ok(report) => println!("{peer:?}: {report}"),
///     Err(error) => eprintln!("{peer:?}: {error}"),
/// });
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// lastbyte::close(stream, Linger::Abort)?; // the hook sees it, and so does the caller
/// # Ok(()) }
/// ```
pub fn on_report<F>(hook: F) -> bool
where
    F: Fn(Option<SocketAddr>, &Result<Report, CloseError>) + Send + Sync + 'static,
{
    HOOK.replace(None, Box::new(Box::new(hook))).is_ok()
}

/// Whose connection this is, where somebody wants to know. Asked at the beginning of
/// a close: at its end the connection no longer has an address.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    if wanted() {
        sys::peer_address(socket)
    } else {
        None
    }
}

/// Publishes what became of a connection.
pub(crate) fn publish(peer: Option<SocketAddr>, report: &Report) {
    if wanted() {
        publish_result(peer, &outcome(*report));
    }
}

/// Publishes that the end of a connection was not seen, if it is that.
pub(crate) fn publish_unseen(peer: Option<SocketAddr>, result: &Result<Report, CloseError>) {
    if result.as_ref().is_err_and(CloseError::is_unseen) && wanted() {
        publish_result(peer, result);
    }
}

fn publish_result(peer: Option<SocketAddr>, result: &Result<Report, CloseError>) {
    if let Some(hook) = HOOK.get() {
        contain(|| hook(peer, result));
    }
    trace(peer, result);
}

fn wanted() -> bool {
    HOOK.get().is_some() || traced()
}

#[cfg(feature = "tracing")]
fn traced() -> bool {
    tracing::enabled!(target: "lastbyte", tracing::Level::INFO)
}

#[cfg(not(feature = "tracing"))]
const fn traced() -> bool {
    false
}

/// One event for each connection that ended.
#[cfg(feature = "tracing")]
fn trace(peer: Option<SocketAddr>, result: &Result<Report, CloseError>) {
    let report = match result {
        Ok(report) => report,
        Err(error) => match error.report() {
            Some(report) => report,
            None => {
                tracing::info!(
                    target: "lastbyte",
                    peer = peer.map(tracing::field::display),
                    %error,
                    "connection ended unseen"
                );
                return;
            }
        },
    };
    // A macro call for each level: tracing wants it constant.
    macro_rules! event {
        ($level:expr) => {
            tracing::event!(
                target: "lastbyte",
                $level,
                peer = peer.map(tracing::field::display),
                fate = report.fate.as_str(),
                acked = report.acked,
                lost = report.lost,
                unsent = report.unsent,
                unread = report.unread,
                rst_sent = report.rst_sent,
                closed_first = report.closed_first.map(crate::Side::as_str),
                elapsed_us = u64::try_from(report.elapsed.as_micros()).unwrap_or(u64::MAX),
                error = report.error.map(tracing::field::display),
                "connection ended"
            )
        };
    }
    if report.fate.is_failure() {
        event!(tracing::Level::INFO);
    } else {
        event!(tracing::Level::DEBUG);
    }
}

#[cfg(not(feature = "tracing"))]
fn trace(_: Option<SocketAddr>, _: &Result<Report, CloseError>) {}
