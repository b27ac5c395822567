//! What is done with every report, whichever form of close it comes from.

use std::fmt;

use crate::connection::Connection;
use crate::contain::contain;
use crate::error::CloseError;
use crate::report::Report;
use crate::sys::{BorrowedSocket, Leaked};

type Hook = Box<dyn Fn(&Connection, &Result<Report, CloseError>) + Send + Sync>;

static HOOK: Leaked<Hook> = Leaked::none();

/// Calls `hook` with what became of each connection that this process closes by this
/// library, whatever the form: [`close`](crate::close()), [`Closing`](crate::Closing),
/// [`Closer`](crate::Closer), the [background closer](crate::background), and those of
/// `lastbyte::on_tokio`.
///
/// It runs where that becomes known, before the caller gets it, and should be quick. A
/// panic in it is contained. A close with [`Linger::Off`](crate::Linger::Off) that goes
/// on in the background is reported twice: `detached` when it returns, and its fate when
/// that is known; the connection's id is the same. An error without a report is a
/// connection whose end could not be seen. Closes that were refused, or that gave the socket back, are not reported.
///
/// With feature `tracing` there is an event for each as well, target `lastbyte`: at
/// level INFO where the ending failed, at DEBUG where it did not.
///
/// # Errors
/// [`HookError`]: a process has one hook, and the first one stays.
///
/// ```
/// # use std::net::{TcpListener, TcpStream};
/// use lastbyte::Linger;
///
/// # fn main() -> std::io::Result<()> {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// lastbyte::on_report(|connection, result| match result {
///     Ok(report) => println!("{connection}: {report}"),
///     Err(error) => eprintln!("{connection}: {error}"),
/// }).expect("it is the first one");
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// lastbyte::close(stream, Linger::Abort)?; // the hook sees it, and so does the caller
/// # Ok(()) }
/// ```
pub fn on_report<F>(hook: F) -> Result<(), HookError>
where
    F: Fn(&Connection, &Result<Report, CloseError>) + Send + Sync + 'static,
{
    match HOOK.replace(None, Box::new(Box::new(hook))) {
        Ok(_) => Ok(()),
        Err(_) => Err(HookError(())),
    }
}

/// Says that there is a hook already: see [`on_report`].
#[derive(Debug)]
pub struct HookError(());

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process has a report hook already, and it stays")
    }
}

impl std::error::Error for HookError {}

/// Which connection this is, where a hook wants to know. It is asked for at the beginning
/// of a close: at its end the connection no longer has an address.
pub(crate) fn connection(socket: BorrowedSocket<'_>) -> Option<Connection> {
    wanted().then(|| Connection::of(&socket))
}

/// Publishes what became of a connection.
pub(crate) fn publish(connection: Option<Connection>, report: &Report) {
    if wanted() {
        publish_result(connection, &report.into_result());
    }
}

/// Publishes that the end of a connection was not seen, if it is that.
pub(crate) fn publish_unseen(connection: Option<Connection>, result: &Result<Report, CloseError>) {
    if result.as_ref().is_err_and(CloseError::is_unseen) && wanted() {
        publish_result(connection, result);
    }
}

fn publish_result(connection: Option<Connection>, result: &Result<Report, CloseError>) {
    // It is `None` if the hook came after the close had begun.
    let connection = connection.unwrap_or_default();
    if let Some(hook) = HOOK.get() {
        contain(|| hook(&connection, result));
    }
    trace(&connection, result);
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
fn trace(connection: &Connection, result: &Result<Report, CloseError>) {
    let report = match result {
        Ok(report) => report,
        Err(error) => match error.report() {
            Some(report) => report,
            None => {
                tracing::info!(
                    target: "lastbyte",
                    id = connection.id,
                    local = connection.local.map(tracing::field::display),
                    peer = connection.peer.map(tracing::field::display),
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
                id = connection.id,
                local = connection.local.map(tracing::field::display),
                peer = connection.peer.map(tracing::field::display),
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
fn trace(_: &Connection, _: &Result<Report, CloseError>) {}
