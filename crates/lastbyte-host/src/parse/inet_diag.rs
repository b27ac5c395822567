//! `struct inet_diag_msg` ([sock_diag(7)], `include/uapi/linux/inet_diag.h`), as
//! dumps and the destroy multicast carry it.
//!
//! [sock_diag(7)]: https://man7.org/linux/man-pages/man7/sock_diag.7.html

use lastbyte_tcp::info::Counters;
use lastbyte_tcp::{TcpInfo, diag};

use crate::tuple::{State, Tuple};

/// One TCP socket, as the kernel's table or its destroy notice shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// The network namespace it is in, by the watch's own number: 0 until whoever read
    /// the message says.
    pub space: u32,
    /// The ends.
    pub tuple: Tuple,
    /// The state; always `CLOSE` in a destroy notice.
    pub state: State,
    /// The socket's number for its whole life, never used twice.
    pub cookie: u64,
    /// `idiag_rqueue`: received and never read, the peer's unread FIN included;
    /// of a listener, connections not yet accepted.
    pub rqueue: u32,
    /// `idiag_wqueue`: sent and never acknowledged, our FIN included; of a
    /// listener, its backlog.
    pub wqueue: u32,
    /// `idiag_expires`: milliseconds until the timer fires; of a TIME_WAIT
    /// socket, until it is gone.
    pub expires_ms: u32,
    /// Who made it.
    pub uid: u32,
    /// The inode that `/proc/PID/fd` shows; 0 once no descriptor is left.
    pub inode: u32,
    /// Whether the send buffer had no room left (`sk_wmem_queued`, `sk_sndbuf`),
    /// where the message tells: then send() takes no more until something is
    /// acknowledged.
    pub full: Option<bool>,
    /// Whether it is a subflow of an MPTCP connection; destroy notices never tell.
    pub mptcp: bool,
    /// The counters, where the message has them.
    pub info: Option<Info>,
}

impl Socket {
    /// The lengths of the receive queue and of the send queue.
    #[must_use]
    pub(crate) const fn queues(&self) -> (u32, u32) {
        (self.rqueue, self.wqueue)
    }

    /// Reads one message's payload. `None` when it is cut off, of an unknown
    /// family or state, or not of TCP.
    #[must_use]
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        diag::Socket::parse(payload).and_then(|socket| Self::of(&socket))
    }

    /// Keeps what is needed of a socket that the kernel has reported. `None` when it is
    /// of an unknown state, or not of TCP.
    #[must_use]
    pub(crate) fn of(socket: &diag::Socket<'_>) -> Option<Self> {
        if !socket.is_tcp() {
            return None;
        }
        Some(Self {
            space: 0,
            tuple: Tuple {
                local: socket.local().into(),
                remote: socket.remote().into(),
            },
            state: socket.state()?,
            cookie: socket.cookie(),
            expires_ms: socket.expires_ms(),
            rqueue: socket.rqueue(),
            wqueue: socket.wqueue(),
            uid: socket.uid(),
            inode: socket.inode(),
            full: socket.send_buffer_full(),
            mptcp: socket.is_mptcp_subflow(),
            info: socket.info().map(|info| Info::of(&info)),
        })
    }
}

/// What is kept of `struct tcp_info`: many sockets wait in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    /// Milliseconds since data was last sent.
    pub last_data_sent_ms: u32,
    /// Milliseconds since an ACK last arrived.
    pub last_ack_recv_ms: u32,
    /// The counters, all or none (since Linux 4.19).
    pub counts: Option<Counters>,
    /// The window that the peer last advertised (since Linux 5.4).
    pub snd_wnd: Option<u32>,
}

impl Info {
    fn of(info: &TcpInfo) -> Self {
        Self {
            last_data_sent_ms: info.last_data_sent_ms(),
            last_ack_recv_ms: info.last_ack_received_ms(),
            counts: info.counters(),
            snd_wnd: info.send_window(),
        }
    }
}
