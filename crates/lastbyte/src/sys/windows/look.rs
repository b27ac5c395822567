//! Looking at a TCP connection.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};

use windows_sys::Win32::Networking::WinSock::{
    FIONREAD, IPPROTO_TCP, POLLRDNORM, SO_ACCEPTCONN, SO_PROTOCOL_INFOW, WSAPOLLFD,
    WSAPROTOCOL_INFOW, WSAPoll, ioctlsocket,
};

use super::super::{Look, NoLook};
use super::code;
use super::option::get;
use super::socket::{BorrowedSocket, number, view};
use super::state::state;
use super::table::{self, Age};
use super::uncounted::{ended, standing};
use crate::ending::{Input, NoCount, Observation, Pending, TcpState};
use crate::errno::Errno;
use crate::error::Refusal;

/// Checks that this is a connection that can be ended, and looks at all but its input. Nothing
/// is changed.
pub(crate) fn first_look(socket: BorrowedSocket<'_>) -> Result<Observation, NoLook> {
    match is_tcp(socket) {
        Ok(true) => first_look_at_tcp(socket),
        Ok(false) => Err(NoLook::Refused(Refusal::NotTcp)),
        Err(error) => match error.raw_os_error() {
            Some(code::EBADF) => Err(NoLook::Refused(Refusal::BadDescriptor)),
            Some(code::ENOTSOCK) => Err(NoLook::Refused(Refusal::NotASocket)),
            _ => Err(NoLook::Failed(error)),
        },
    }
}

/// Whether this is a TCP socket.
pub(crate) fn is_tcp(socket: BorrowedSocket<'_>) -> io::Result<bool> {
    let info = get::<WSAPROTOCOL_INFOW>(socket, SO_PROTOCOL_INFOW)?;
    Ok(info.iProtocol == IPPROTO_TCP)
}

/// As [`first_look`], at what is known to be a TCP socket.
pub(crate) fn first_look_at_tcp(socket: BorrowedSocket<'_>) -> Result<Observation, NoLook> {
    let listens = get::<i32>(socket, SO_ACCEPTCONN).map_err(NoLook::Failed)?;
    if listens != 0 {
        return Err(NoLook::Refused(Refusal::Listening));
    }
    let stream = view(socket);
    let Some(between) = addresses(&stream) else {
        return without_peer(socket, &stream);
    };
    let state = state(socket, between, Age::Now).map_err(NoLook::Failed)?;
    Ok(match state {
        // Reading does not block then.
        TcpState::Closed => gone(socket, &stream, None),
        state => standing(state, Err(NoCount::Uncounted), None),
    })
}

fn addresses(stream: &TcpStream) -> Option<(SocketAddr, SocketAddr)> {
    Some((stream.local_addr().ok()?, stream.peer_addr().ok()?))
}

/// It was never connected, or is not yet, or is gone.
fn without_peer(socket: BorrowedSocket<'_>, stream: &TcpStream) -> Result<Observation, NoLook> {
    // Reading does not block where there is no connection.
    match stream.peek(&mut [0]) {
        Err(error) if error.raw_os_error() == Some(code::ENOTCONN) => {
            let local = stream
                .local_addr()
                .map_err(|_| NoLook::Refused(Refusal::NotConnected))?;
            Err(NoLook::Refused(match table::connects(local) {
                Ok(true) => Refusal::Connecting,
                Ok(false) | Err(_) => Refusal::NotConnected,
            }))
        }
        Ok(_) | Err(_) => Ok(gone(socket, stream, None)),
    }
}

/// Looks at the connection, discarding up to `allowance` bytes of input on the way. Every look
/// is a full one.
pub(crate) fn look(socket: BorrowedSocket<'_>, allowance: u64, _how: Look) -> Observation {
    let stream = view(socket);
    // The close has begun, and reading must not block it. Where it is not possible, it is not
    // read.
    let allowance = match stream.set_nonblocking(true) {
        Ok(()) => Some(allowance),
        Err(_) => None,
    };
    let Some(allowance) = allowance else {
        return Observation {
            queued: Err(NoCount::Refused(Errno::from_raw(code::EINVAL))),
            input: None,
            detail: None,
        };
    };
    let (input, error) = discard(socket, &stream, allowance);
    if let Some(error) = error {
        return ended(Pending::Error(error), Some(input));
    }
    let state = match addresses(&stream) {
        Some(between) => state(socket, between, Age::Recent),
        // Gone: the address of the peer is.
        None => Ok(TcpState::Closed),
    };
    match state {
        Ok(TcpState::Closed) => gone(socket, &stream, Some(input)),
        Ok(state) => standing(state, Err(NoCount::Uncounted), Some(input)),
        Err(error) => Observation {
            queued: Err(NoCount::Refused(errno(&error))),
            input: Some(input),
            detail: None,
        },
    }
}

/// Reads and throws away up to `allowance` bytes. An error that reading gave is returned.
fn discard(
    socket: BorrowedSocket<'_>,
    stream: &TcpStream,
    allowance: u64,
) -> (Input, Option<Errno>) {
    let mut input = Input {
        drained: 0,
        left: Some(0),
        ended: false,
    };
    let mut buffer = [0; 16 * 1024];
    let error = loop {
        let left = usize::try_from(allowance - input.drained).unwrap_or(usize::MAX);
        let read = match left {
            // Shows the end and an error, and takes nothing.
            0 => match stream.peek(&mut [0]) {
                Ok(0) => Ok(0),
                Ok(_) => break None,
                Err(error) => Err(error),
            },
            left => {
                let room = left.min(buffer.len());
                let mut stream = stream;
                stream.read(&mut buffer[..room])
            }
        };
        match read {
            Ok(0) => {
                input.ended = true;
                return (input, None);
            }
            Ok(n) => input.drained += n as u64,
            Err(error) => match error.raw_os_error() {
                Some(code::EINTR) => {}
                Some(code::EWOULDBLOCK) => return (input, None),
                _ => break Some(errno(&error)),
            },
        }
    };
    input.left = unread(socket);
    (input, error)
}

/// Bytes in the receive queue. `None` where the system does not tell.
fn unread(socket: BorrowedSocket<'_>) -> Option<u64> {
    let mut count = 0;
    // SAFETY: one live u32 is written.
    let rc = unsafe { ioctlsocket(number(socket), FIONREAD, &mut count) };
    (rc == 0).then_some(count.into())
}

/// A connection that the system has no more. An error that came after the look at the input
/// shows here.
fn gone(socket: BorrowedSocket<'_>, stream: &TcpStream, input: Option<Input>) -> Observation {
    if !reading_returns(socket) {
        // It still stands, and its row was not found.
        return Observation {
            queued: Err(NoCount::Refused(Errno::from_raw(code::EOPNOTSUPP))),
            input,
            detail: None,
        };
    }
    let reading = match stream.peek(&mut [0]) {
        Err(error) if !is_passing(&error) => Some(errno(&error)),
        Ok(_) | Err(_) => None,
    };
    let error = match (reading, stream.take_error()) {
        (Some(error), _) => Pending::Error(error),
        (None, Ok(Some(error))) => Pending::Error(errno(&error)),
        (None, Ok(None)) => Pending::None,
        (None, Err(_)) => Pending::Unknown,
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

/// Whether a read returns at once, as it does of a connection that is gone.
fn reading_returns(socket: BorrowedSocket<'_>) -> bool {
    let mut poll = WSAPOLLFD {
        fd: number(socket),
        events: POLLRDNORM,
        revents: 0,
    };
    // SAFETY: one live entry, and no wait.
    unsafe { WSAPoll(&mut poll, 1, 0) != 0 }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(code::EWOULDBLOCK | code::EINTR | code::EPIPE | code::ENOTCONN)
    )
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(code::EINVAL))
}
