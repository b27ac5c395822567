//! poll(2), SIOCOUTQ and SIGPIPE.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Ready;

pub(crate) use nix::libc::EIO;

/// Whether the system counts what is not acknowledged, so that a stall shows.
pub(crate) const SHOWS_STALLS: bool = true;

/// Waits until the connection takes more, or, with `for_input`, has some. Returns nothing
/// where `timeout` is over.
pub(crate) fn wait(
    stream: &TcpStream,
    for_input: bool,
    timeout: Option<Duration>,
) -> io::Result<Option<Ready>> {
    let mut events = PollFlags::POLLOUT;
    events.set(PollFlags::POLLIN, for_input);
    let timeout = timeout.map_or(PollTimeout::NONE, |time| {
        PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)
    });
    let mut fds = [PollFd::new(stream.as_fd(), events)];
    match poll(&mut fds, timeout) {
        Ok(0) => Ok(None),
        Ok(_) | Err(nix::Error::EINTR) => {
            let ready = fds[0].revents().unwrap_or(PollFlags::POLLERR);
            Ok(Some(Ready {
                room: ready
                    .intersects(PollFlags::POLLOUT | PollFlags::POLLERR | PollFlags::POLLHUP),
                input: ready.contains(PollFlags::POLLIN),
            }))
        }
        Err(error) => Err(error.into()),
    }
}

/// Bytes that the peer has not acknowledged.
pub(crate) fn unacknowledged(stream: &TcpStream) -> io::Result<u64> {
    lastbyte_tcp::queue::unacknowledged(stream.as_fd())
}

/// Ends by SIGPIPE, which Rust's runtime keeps from the command.
pub(crate) fn end_for_want_of_a_reader() {
    use nix::sys::signal::{SigHandler, Signal, raise, signal};
    // SAFETY: the default disposition has no handler that could be unsound.
    let restored = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    // Where that fails, the status remains, and shells show it for the signal.
    let _ = restored.and_then(|_| raise(Signal::SIGPIPE));
}
