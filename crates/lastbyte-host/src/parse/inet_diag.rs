//! `struct inet_diag_msg` ([sock_diag(7)], `include/uapi/linux/inet_diag.h`), as
//! dumps and the destroy multicast carry it.
//!
//! [sock_diag(7)]: https://man7.org/linux/man-pages/man7/sock_diag.7.html

use std::net::{IpAddr, Ipv6Addr};

use super::{bytes, netlink, tcp_info::TcpInfo};
use crate::tuple::{Endpoint, State, Tuple};

const LENGTH: usize = 72;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKMEMINFO: u16 = 7;
const INET_DIAG_PROTOCOL: u16 = 10;
const INET_DIAG_ULP_INFO: u16 = 19;

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
    pub info: Option<TcpInfo>,
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
        let family = bytes::u8(payload, 0)?;
        let state = State::from_raw(bytes::u8(payload, 1)?.into())?;
        let cookie =
            u64::from(bytes::u32(payload, 44)?) | u64::from(bytes::u32(payload, 48)?) << 32;
        let tuple = Tuple {
            local: Endpoint::new(address(family, payload, 8)?, bytes::be16(payload, 4)?),
            remote: Endpoint::new(address(family, payload, 24)?, bytes::be16(payload, 6)?),
        };
        let (mut info, mut full, mut mptcp) = (None, None, false);
        for (kind, value) in netlink::attributes(payload.get(LENGTH..)?) {
            match kind {
                INET_DIAG_INFO => info = TcpInfo::parse(value),
                INET_DIAG_SKMEMINFO => full = no_room(value),
                INET_DIAG_ULP_INFO => mptcp = is_mptcp(value),
                INET_DIAG_PROTOCOL if value.first() != Some(&6) => return None,
                _ => {}
            }
        }
        Some(Self {
            space: 0,
            tuple,
            state,
            cookie,
            expires_ms: bytes::u32(payload, 52)?,
            rqueue: bytes::u32(payload, 56)?,
            wqueue: bytes::u32(payload, 60)?,
            uid: bytes::u32(payload, 64)?,
            inode: bytes::u32(payload, 68)?,
            full,
            mptcp,
            info,
        })
    }
}

/// From the nested attributes of a socket's upper-layer protocol.
fn is_mptcp(ulp: &[u8]) -> bool {
    const INET_ULP_INFO_NAME: u16 = 1;
    netlink::attributes(ulp)
        .any(|(kind, value)| kind == INET_ULP_INFO_NAME && value.starts_with(b"mptcp\0"))
}

/// From the array that `SK_MEMINFO_*` of `linux/sock_diag.h` number.
fn no_room(meminfo: &[u8]) -> Option<bool> {
    const SNDBUF: usize = 3;
    const WMEM_QUEUED: usize = 5;
    let queued = bytes::u32(meminfo, 4 * WMEM_QUEUED)?;
    Some(queued >= bytes::u32(meminfo, 4 * SNDBUF)?)
}

fn address(family: u8, payload: &[u8], at: usize) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(bytes::array::<4>(payload, at)?.into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(bytes::array::<16>(payload, at)?).into()),
        _ => None,
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// Every socket of one address family (`AF_INET`, `AF_INET6`) in one of the
    /// states of the mask, with its counters when `info`.
    Dump {
        /// `AF_INET` or `AF_INET6`.
        family: u8,
        /// [`State::bit`]s.
        states: u32,
        /// Whether to include `struct tcp_info` and the state of the buffers.
        info: bool,
    },
    /// The one socket with these ends.
    Find(Tuple),
}

impl Request {
    /// The bytes to send: `nlmsghdr` and `inet_diag_req_v2`.
    #[must_use]
    pub(crate) fn encode(&self, sequence: u32) -> [u8; 72] {
        const SOCK_DIAG_BY_FAMILY: u16 = 20;
        const NLM_F_REQUEST: u16 = 1;
        const NLM_F_DUMP: u16 = 0x300;
        let mut out = [0; 72];
        let (flags, family, states, info) = match *self {
            Self::Dump {
                family,
                states,
                info,
            } => (NLM_F_REQUEST | NLM_F_DUMP, family, states, info),
            Self::Find(tuple) => (NLM_F_REQUEST, family_of(tuple.local.ip), u32::MAX, false),
        };
        out[0..4].copy_from_slice(&72u32.to_ne_bytes());
        out[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        out[6..8].copy_from_slice(&flags.to_ne_bytes());
        out[8..12].copy_from_slice(&sequence.to_ne_bytes());
        out[16] = family;
        out[17] = 6; // IPPROTO_TCP
        if info {
            out[18] = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_SKMEMINFO - 1);
        }
        out[20..24].copy_from_slice(&states.to_ne_bytes());
        if let Self::Find(tuple) = self {
            out[24..26].copy_from_slice(&tuple.local.port.to_be_bytes());
            out[26..28].copy_from_slice(&tuple.remote.port.to_be_bytes());
            put(&mut out[28..44], tuple.local.ip);
            put(&mut out[44..60], tuple.remote.ip);
            // INET_DIAG_NOCOOKIE: whichever socket it is.
            out[64..72].fill(0xff);
        }
        out
    }
}

fn family_of(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

fn put(field: &mut [u8], ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => field[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => field[..16].copy_from_slice(&ip.octets()),
    }
}
