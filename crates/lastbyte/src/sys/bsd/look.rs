//! Looking at a TCP connection.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;

use super::super::{Look, NoLook};
use super::option::get;
use super::queue::{Info, unread};
use super::uncounted::{self, ended};
use super::view::view;
use crate::ending::{Input, NoCount, Observation, Pending, TcpState};
use crate::errno::Errno;
use crate::error::Refusal;

/// Checks that this is a connection that can be ended, and looks at all but its input. Nothing is
/// changed.
pub(crate) fn first_look(socket: BorrowedFd<'_>) -> Result<Observation, NoLook> {
    match is_tcp(socket) {
        Ok(true) => first_look_at_tcp(socket),
        Ok(false) => Err(NoLook::Refused(Refusal::NotTcp)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EBADF) => Err(NoLook::Refused(Refusal::BadDescriptor)),
            Some(libc::ENOTSOCK) => Err(NoLook::Refused(Refusal::NotASocket)),
            _ => Err(NoLook::Failed(error)),
        },
    }
}

/// Whether this is a TCP socket: a stream that answers as TCP does. Not all of these systems
/// have SO_PROTOCOL.
pub(crate) fn is_tcp(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let (kind, _) = get::<c_int>(socket, libc::SOL_SOCKET, libc::SO_TYPE)?;
    Ok(kind == libc::SOCK_STREAM && Info::of(socket).is_ok())
}

/// As [`first_look`], at what is known to be a TCP socket.
pub(crate) fn first_look_at_tcp(socket: BorrowedFd<'_>) -> Result<Observation, NoLook> {
    let refuse = |refusal| Err(NoLook::Refused(refusal));
    let info = Info::of(socket).map_err(NoLook::Failed)?;
    match info.state {
        TcpState::Listen => refuse(Refusal::Listening),
        TcpState::SynSent => refuse(Refusal::Connecting),
        TcpState::Closed => {
            let stream = view(socket);
            match stream.peek(&mut [0]) {
                // Never connected, or not any more for so long that no error is left.
                Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => {
                    refuse(Refusal::NotConnected)
                }
                _ => Ok(gone(socket, &stream, None)),
            }
        }
        _ => Ok(standing(&info, None)),
    }
}

/// Looks at the connection, discarding up to `allowance` bytes of input on the way. Every look is
/// a full one.
pub(crate) fn look(socket: BorrowedFd<'_>, allowance: u64, _how: Look) -> Observation {
    let (input, error) = discard(socket, allowance);
    if let Some(error) = error {
        return ended(Pending::Error(error), Some(input));
    }
    match Info::of(socket) {
        Ok(Info {
            state: TcpState::Closed,
            ..
        }) => gone(socket, &view(socket), Some(input)),
        Ok(info) => standing(&info, Some(input)),
        Err(error) => Observation {
            queued: Err(NoCount::Refused(errno(&error))),
            input: Some(input),
            detail: None,
        },
    }
}

/// Reads and throws away up to `allowance` bytes. An error that reading gave is returned.
fn discard(socket: BorrowedFd<'_>, allowance: u64) -> (Input, Option<Errno>) {
    let mut input = Input {
        drained: 0,
        left: Some(0),
        ended: false,
    };
    let mut buffer = [0u8; 16 * 1024];
    let error = loop {
        let left = usize::try_from(allowance - input.drained).unwrap_or(usize::MAX);
        // Without an allowance it shows the end and an error, and takes nothing.
        let (room, flags) = match left {
            0 => (1, libc::MSG_PEEK),
            left => (left.min(buffer.len()), 0),
        };
        // SAFETY: `buffer` has room for `room` bytes.
        let n = unsafe {
            libc::recv(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                room,
                flags | libc::MSG_DONTWAIT,
            )
        };
        match usize::try_from(n) {
            Ok(0) => {
                input.ended = true;
                return (input, None);
            }
            Ok(_) if left == 0 => break None,
            Ok(n) => input.drained += n as u64,
            Err(_) => match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) | None => return (input, None),
                Some(raw) => break Some(Errno::from_raw(raw)),
            },
        }
    };
    input.left = unread(socket);
    (input, error)
}

/// A connection that the kernel has no more. An error that came after the look at the input
/// shows here.
fn gone(socket: BorrowedFd<'_>, stream: &TcpStream, input: Option<Input>) -> Observation {
    let error = match stream.take_error() {
        Ok(Some(error)) => Pending::Error(errno(&error)),
        Ok(None) => Pending::None,
        Err(_) => Pending::Unknown,
    };
    let input = input.or_else(|| {
        Some(Input {
            drained: 0,
            left: unread(socket),
            ended: false,
        })
    });
    ended(error, input)
}

fn standing(info: &Info, input: Option<Input>) -> Observation {
    let queued = info.queued_with_fin().ok_or(NoCount::Uncounted);
    uncounted::standing(info.state, queued, input)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
