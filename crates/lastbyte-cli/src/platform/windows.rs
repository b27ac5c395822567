//! WSAPoll. Windows counts nothing of the send queue, and has no SIGPIPE.

use std::io;
use std::net::TcpStream;
use std::os::windows::io::AsRawSocket;
use std::time::Duration;

use windows_sys::Win32::Networking::WinSock::{POLLRDNORM, POLLWRNORM, SOCKET, WSAPOLLFD, WSAPoll};

use super::Ready;

/// ERROR_IO_DEVICE.
pub(crate) const EIO: i32 = 1117;

/// Whether the system counts what is not acknowledged, so that a stall shows.
pub(crate) const SHOWS_STALLS: bool = false;

/// Waits until the connection takes more, or, with `for_input`, has some. Returns nothing
/// where `timeout` is over.
pub(crate) fn wait(
    stream: &TcpStream,
    for_input: bool,
    timeout: Option<Duration>,
) -> io::Result<Option<Ready>> {
    let mut poll = WSAPOLLFD {
        fd: stream.as_raw_socket() as SOCKET,
        events: POLLWRNORM | if for_input { POLLRDNORM } else { 0 },
        revents: 0,
    };
    let millis = timeout.map_or(-1, |time| {
        i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    // SAFETY: one live entry.
    match unsafe { WSAPoll(&mut poll, 1, millis) } {
        0 => Ok(None),
        n if n > 0 => Ok(Some(Ready {
            // POLLERR and POLLHUP too: a write says what is wrong.
            room: poll.revents & !POLLRDNORM != 0,
            input: poll.revents & POLLRDNORM != 0,
        })),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Bytes that the peer has not acknowledged.
pub(crate) fn unacknowledged(_stream: &TcpStream) -> io::Result<u64> {
    // Nobody compares them: there is no stall time here.
    Ok(0)
}

/// The status alone says it.
pub(crate) fn end_for_want_of_a_reader() {}
