//! An independent witness: TCP_INFO by libc's structure and not by lastbyte-tcp, so that
//! what lastbyte reads can be checked against it.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};

use procfs::net::TcpState;

/// The state's name in RFC 9293 §3.3.2.
#[must_use]
pub const fn state_name(state: &TcpState) -> &'static str {
    match state {
        TcpState::Established => "ESTABLISHED",
        TcpState::SynSent => "SYN_SENT",
        TcpState::SynRecv | TcpState::NewSynRecv => "SYN_RECEIVED",
        TcpState::FinWait1 => "FIN_WAIT1",
        TcpState::FinWait2 => "FIN_WAIT2",
        TcpState::TimeWait => "TIME_WAIT",
        TcpState::Close => "CLOSED",
        TcpState::CloseWait => "CLOSE_WAIT",
        TcpState::LastAck => "LAST_ACK",
        TcpState::Listen => "LISTEN",
        TcpState::Closing => "CLOSING",
    }
}

/// The fields of TCP_INFO that rows ask for.
#[derive(Clone, Debug)]
pub struct TcpInfo {
    /// The state, `None` for a number that no header names.
    pub state: Option<TcpState>,
    /// In-order bytes received, +1 once a FIN came.
    pub bytes_received: u64,
}

impl TcpInfo {
    /// Reads it.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
        let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes into `info`, which is that
        // long and outlives the call.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &mut len,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all fields are integers; zeroed first, so what an older kernel
        // did not write is zero.
        let info = unsafe { info.assume_init() };
        Ok(Self {
            state: TcpState::from_u8(info.tcpi_state),
            bytes_received: info.tcpi_bytes_received,
        })
    }
}
