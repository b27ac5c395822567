//! The state of a connection: SIO_TCP_INFO (Windows 10 1703), or its row in the TCP table.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use lastbyte_tcp::State;
use windows_sys::Win32::Networking::WinSock::{SIO_TCP_INFO, TCP_INFO_v0, WSAIoctl};

use super::socket::{BorrowedSocket, number};
use super::table::{self, Age};

/// Whether the system has refused SIO_TCP_INFO once: it will again.
static WITHOUT_INFO: AtomicBool = AtomicBool::new(false);

/// The state of the connection between these addresses.
pub(super) fn state(
    socket: BorrowedSocket<'_>,
    (local, peer): (SocketAddr, SocketAddr),
    age: Age,
) -> io::Result<State> {
    match by_info(socket) {
        Some(state) => Ok(state),
        None => table::state(local, peer, age),
    }
}

fn by_info(socket: BorrowedSocket<'_>) -> Option<State> {
    if WITHOUT_INFO.load(Ordering::Relaxed) {
        return None;
    }
    let version = 0u32;
    let mut info = TCP_INFO_v0::default();
    let mut written = 0;
    // SAFETY: the version is read and the info written, each of the length passed; no overlapped
    // operation.
    let rc = unsafe {
        WSAIoctl(
            number(socket),
            SIO_TCP_INFO,
            ptr::from_ref(&version).cast(),
            size_of::<u32>() as u32,
            (&raw mut info).cast(),
            size_of::<TCP_INFO_v0>() as u32,
            &mut written,
            ptr::null_mut(),
            None,
        )
    };
    if rc != 0 {
        let error = io::Error::last_os_error().raw_os_error();
        if matches!(error, Some(super::code::EOPNOTSUPP | super::code::EINVAL)) {
            WITHOUT_INFO.store(true, Ordering::Relaxed);
        }
        return None;
    }
    Some(of_tcpstate(info.State))
}

/// The values of TCPSTATE.
fn of_tcpstate(state: i32) -> State {
    match state {
        1 => State::Listen,
        2 => State::SynSent,
        3 => State::SynReceived,
        4 => State::Established,
        5 => State::FinWait1,
        6 => State::FinWait2,
        7 => State::CloseWait,
        8 => State::Closing,
        9 => State::LastAck,
        10 => State::TimeWait,
        _ => State::Closed,
    }
}
