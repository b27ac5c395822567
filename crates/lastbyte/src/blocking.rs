//! One ending on the calling thread.

use std::io;
use std::time::Instant;

use crate::closer::background;
use crate::closing::Closing;
use crate::detach::detach;
use crate::driver::Prepared;
use crate::error::{CloseError, Refusal};
use crate::linger::Linger;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::{self, Edges, Event, HasSocket, Look, OwnedSocket, code};

/// Closes a TCP connection, and returns the report of what became of its bytes.
///
/// | policy | returns | with |
/// |---|---|---|
/// | [`Linger::Off`] | at once | `detached`, or `delivered` where that is known already; what is queued is delivered in the background, unread and late input notwithstanding |
/// | [`Linger::Abort`] | at once | `aborted`, and the exact number of bytes discarded |
/// | [`Linger::Wait`], blocking socket | when data and FIN are acknowledged, or the time is over | `delivered`, or an error with the bytes lost |
/// | [`Linger::Wait`], O_NONBLOCK socket | at once | the same if it is known already; else an error that [would block](CloseError::would_block) and carries a [`Closing`] to be polled |
///
/// It ends the *connection*: duplicates of the descriptor
/// ([`try_clone`](std::net::TcpStream::try_clone), fork) see it closed too.
///
/// The wait costs one epoll instance and no thread; it sleeps until the ACK
/// arrives. Signals do not cut it short. Where input kept arriving during the
/// wait, the descriptor is left to the [background closer](crate::background)
/// after the report, so that a peer that is still sending is not reset.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{TcpListener, TcpStream};
/// use std::time::Duration;
/// use lastbyte::{Fate, Linger};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut stream = TcpStream::connect(listener.local_addr()?)?;
/// let (mut peer, _) = listener.accept()?;
/// stream.write_all(b"the last byte")?;
///
/// let report = lastbyte::close(stream, Linger::Wait(Duration::from_secs(5)))?;
/// assert_eq!(report.fate, Fate::Delivered);
/// assert_eq!((report.acked, report.lost), (Some(13), Some(0)));
/// # let mut all = String::new();
/// # peer.read_to_string(&mut all)?;
/// # Ok(()) }
/// ```
///
/// # Blocking
/// With [`Linger::Wait`] and a blocking socket it blocks the calling thread, up to the
/// time given; with [`Linger::Endless`] without limit. All else returns at once. Async
/// code uses [`Closing`], [`Closer::finish`](crate::Closer::finish) or `on_tokio::close`.
///
/// # Errors
/// - `EWOULDBLOCK`: the time ran out, or the stall time; what was not
///   acknowledged is lost and the connection was reset. Or the socket is
///   non-blocking and the close goes on.
/// - `ECONNRESET`: the peer reset the connection before everything was
///   acknowledged.
/// - What the kernel gave up with: `ETIMEDOUT`, `EHOSTUNREACH`, `ECONNABORTED` …; no
///   errno at all where a read or write of the program's has taken it before.
/// - What kept a close that was to wait from seeing how it goes on (`EPERM` in a
///   sandbox): the kernel's own close was done instead, the fate is `detached`, and
///   no count is known.
/// - Refused, the socket given back untouched: [`Refusal`](crate::Refusal).
/// - No resources (`EMFILE`, `ENOMEM` …), the socket given back untouched.
///
/// # Sources
/// close(2), shutdown(2), socket(7) `SO_LINGER`, RFC 9293 §3.6, RFC 1122
/// §4.2.2.13.
#[doc(alias("SO_LINGER", "closesocket", "shutdown", "graceful", "lingering close"))]
pub fn close<S, P>(socket: S, policy: P) -> Result<Report, CloseError>
where
    S: Into<OwnedSocket>,
    P: Into<Policy>,
{
    close_owned(socket.into(), &policy.into())
}

fn close_owned(socket: OwnedSocket, policy: &Policy) -> Result<Report, CloseError> {
    let began = Instant::now();
    match policy.linger() {
        Linger::Off => detach(Prepared::new(socket, policy, began)?),
        Linger::Abort => {
            let (_, progress) = Prepared::new(socket, policy, began)?.start();
            progress
                .report
                .expect("an abort reports at once")
                .into_result()
        }
        Linger::Wait(_) | Linger::Endless { .. } => {
            let nonblocking = match sys::is_nonblocking(socket.borrowed()) {
                Ok(nonblocking) => nonblocking,
                Err(error) => return Err(unusable(error, socket)),
            };
            if nonblocking {
                let mut closing = Closing::begin_at(socket, policy, began)?;
                return match closing.try_finish() {
                    Err(error) if error.would_block() => {
                        Err(CloseError::still_closing(Some(closing)))
                    }
                    done => done,
                };
            }
            wait(Prepared::new(socket, policy, began)?)
        }
    }
}

fn wait(prepared: Prepared) -> Result<Report, CloseError> {
    let edges = match Edges::new() {
        Ok(edges) => edges,
        Err(error) => return Err(CloseError::resources(error, prepared.into_socket())),
    };
    if let Err(error) = edges.add(prepared.socket(), 0) {
        return Err(CloseError::resources(error, prepared.into_socket()));
    }
    let (mut driver, mut progress) = prepared.start();
    let report = loop {
        if let Some(report) = progress.report {
            break report;
        }
        let mut events = [Event::NONE];
        let how = match edges.wait(&mut events, driver.due_in()) {
            // Nothing happened: a timer, which wants to see everything.
            Ok([]) => Look::Full,
            Ok([event, ..]) => event.look(),
            // The kernel refuses to wait (it cannot, on a descriptor of ours):
            // the background closer has a descriptor of its own to wait with.
            Err(error) => {
                background::adopt_or_release(driver);
                return Err(CloseError::lost_sight(error));
            }
        };
        progress = driver.step(how);
    };
    if !progress.over {
        background::adopt_or_release(driver);
    }
    report.into_result()
}

/// The error where the socket does not show whether the program wants to wait.
fn unusable(error: io::Error, socket: OwnedSocket) -> CloseError {
    match error.raw_os_error() {
        Some(code::EBADF) => CloseError::refused(Refusal::BadDescriptor, socket),
        _ => CloseError::resources(error, socket),
    }
}
