//! inet_diag: what the kernel's table of sockets says, and how to ask ([sock_diag(7)],
//! `include/uapi/linux/inet_diag.h`).
//!
//! A [`Request`] is one netlink message to a socket of `NETLINK_SOCK_DIAG`
//! (`netlink::sock_diag`). Each answer, and each [destroy notice](crate::destroyed), is a
//! [`Socket`].
//!
//! [sock_diag(7)]: https://man7.org/linux/man-pages/man7/sock_diag.7.html

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::info::TcpInfo;
use crate::state::State;
use crate::{bytes, netlink};

/// `SOCK_DIAG_BY_FAMILY`: the type of every message that carries a [`Socket`].
pub const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// `AF_INET`, in Linux's numbering.
pub const IPV4: u8 = 2;
/// `AF_INET6`, in Linux's numbering.
pub const IPV6: u8 = 10;

/// The length of `struct inet_diag_msg`.
const LENGTH: usize = 72;
const IPPROTO_TCP: u8 = 6;

// Attributes, and from 1 on the bits of a request for them.
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKMEMINFO: u16 = 7;
const INET_DIAG_PROTOCOL: u16 = 10;
const INET_DIAG_ULP_INFO: u16 = 19;

/// Where the cookie is in a netlink message, header included: a filter on a socket of
/// destroy notices reads it there.
pub const COOKIE_IN_MESSAGE: u32 = (netlink::HEADER + COOKIE) as u32;
const COOKIE: usize = 44;

/// One TCP socket, as an answer or a destroy notice shows it: `struct inet_diag_msg` and
/// its attributes.
///
/// It borrows the message and reads a field when it is asked for. Counts are in the
/// kernel's own counting, where a FIN is one.
#[derive(Clone, Copy)]
pub struct Socket<'a> {
    head: &'a [u8; LENGTH],
    attributes: &'a [u8],
}

impl<'a> Socket<'a> {
    /// Takes a message's payload. Returns `None` where it is cut off before the
    /// attributes, or of another family than IPv4 and IPv6.
    #[inline]
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let (head, attributes) = payload.split_first_chunk()?;
        let socket = Self { head, attributes };
        matches!(socket.family(), IPV4 | IPV6).then_some(socket)
    }

    /// Returns the address family, [`IPV4`] or [`IPV6`]. IPv4 connections of an IPv6
    /// socket are of [`IPV6`], with mapped addresses.
    #[inline]
    #[must_use]
    pub fn family(&self) -> u8 {
        self.head[0]
    }

    /// Returns the state; in a destroy notice it is always [`State::Closed`]. Returns
    /// `None` where the number is no state of RFC 9293, such as `TCP_BOUND_INACTIVE`
    /// (Linux 6.7).
    #[inline]
    #[must_use]
    pub fn state(&self) -> Option<State> {
        State::from_raw(self.head[1].into())
    }

    /// Returns this side's address and port. The address is unspecified where the socket
    /// is bound to none.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.address(8), self.port(4))
    }

    /// Returns the peer's address and port. The port is 0 of a socket that listens, never
    /// connected, or was disconnected, as a close with `SO_LINGER` on and 0 does.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.address(24), self.port(6))
    }

    /// Returns the index of the interface that the socket is bound to, 0 if none.
    #[inline]
    #[must_use]
    pub fn interface(&self) -> u32 {
        self.word(40)
    }

    /// Returns the socket's number for its whole life, never used twice: what `SO_COOKIE`
    /// gives (Linux 4.12 for getsockopt).
    #[inline]
    #[must_use]
    pub fn cookie(&self) -> u64 {
        u64::from(self.word(COOKIE)) | u64::from(self.word(COOKIE + 4)) << 32
    }

    /// Returns the milliseconds until the socket's timer fires, `idiag_expires`; of a
    /// socket in TIME_WAIT, until it is gone. 0 where no timer runs.
    #[inline]
    #[must_use]
    pub fn expires_ms(&self) -> u32 {
        self.word(52)
    }

    /// Returns what was received and never read, `idiag_rqueue`: bytes, and one for the
    /// peer's FIN. Of a listening socket it is the connections not yet accepted.
    #[inline]
    #[must_use]
    pub fn rqueue(&self) -> u32 {
        self.word(56)
    }

    /// Returns what was queued and never acknowledged, `idiag_wqueue`: bytes, and one for
    /// our FIN. Of a listening socket it is the length that listen(2) was given.
    #[inline]
    #[must_use]
    pub fn wqueue(&self) -> u32 {
        self.word(60)
    }

    /// Returns the user who made the socket, in the reader's user namespace.
    #[inline]
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.word(64)
    }

    /// Returns the inode that `/proc/PID/fd` shows, 0 once no descriptor is left.
    #[inline]
    #[must_use]
    pub fn inode(&self) -> u32 {
        self.word(68)
    }

    /// Iterates over the attributes: pairs of type (`INET_DIAG_*`) and value.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        netlink::attributes(self.attributes)
    }

    /// Returns the value of the last attribute of a type.
    fn attribute(&self, wanted: u16) -> Option<&'a [u8]> {
        let wanted = |(kind, value)| (kind == wanted).then_some(value);
        self.attributes().filter_map(wanted).last()
    }

    /// Returns the counters, where the message has them: a destroy notice does, a dump
    /// where it was asked for, a TIME_WAIT socket never.
    #[must_use]
    pub fn info(&self) -> Option<TcpInfo> {
        self.attribute(INET_DIAG_INFO).and_then(TcpInfo::from_bytes)
    }

    /// Returns whether the socket is TCP's. Where the message does not say (before Linux
    /// 5.9, and of a destroy notice) it is: requests and notices are by protocol.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        self.attribute(INET_DIAG_PROTOCOL)
            .is_none_or(|value| value.first() == Some(&IPPROTO_TCP))
    }

    /// Returns whether the socket is a subflow of an MPTCP connection. Only messages that
    /// carry the upper layer's protocol show it, which destroy notices do not.
    #[must_use]
    pub fn is_mptcp_subflow(&self) -> bool {
        const INET_ULP_INFO_NAME: u16 = 1;
        self.attribute(INET_DIAG_ULP_INFO).is_some_and(|ulp| {
            netlink::attributes(ulp)
                .any(|(kind, name)| kind == INET_ULP_INFO_NAME && name.starts_with(b"mptcp\0"))
        })
    }

    /// Returns whether the send buffer has no room left (`sk_wmem_queued`, `sk_sndbuf`),
    /// where the message has the buffers' sizes: then send() takes no more until
    /// something is acknowledged.
    #[must_use]
    pub fn send_buffer_full(&self) -> Option<bool> {
        // Places in the array, SK_MEMINFO_* of include/uapi/linux/sock_diag.h.
        const SNDBUF: usize = 3;
        const WMEM_QUEUED: usize = 5;
        let sizes = self.attribute(INET_DIAG_SKMEMINFO)?;
        let queued = bytes::u32(sizes, 4 * WMEM_QUEUED)?;
        Some(queued >= bytes::u32(sizes, 4 * SNDBUF)?)
    }

    #[inline]
    fn word(&self, at: usize) -> u32 {
        let head = self.head;
        u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
    }

    #[inline]
    fn port(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.head[at], self.head[at + 1]])
    }

    #[inline]
    fn address(&self, at: usize) -> IpAddr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.head[at..at + 16]);
        match (self.family(), octets) {
            (IPV4, [a, b, c, d, ..]) => Ipv4Addr::new(a, b, c, d).into(),
            _ => Ipv6Addr::from(octets).into(),
        }
    }
}

impl fmt::Debug for Socket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("local", &self.local())
            .field("remote", &self.remote())
            .field("state", &self.state())
            .field("cookie", &self.cookie())
            .field("rqueue", &self.rqueue())
            .field("wqueue", &self.wqueue())
            .field("inode", &self.inode())
            .finish_non_exhaustive()
    }
}

/// A question to inet_diag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Every TCP socket of one address family in one of the states, with or without its
    /// counters and buffers. The answers end with [`netlink::DONE`].
    Dump {
        /// [`IPV4`] or [`IPV6`].
        family: u8,
        /// A mask of [`State::bit`]s.
        states: u32,
        /// Whether to add `struct tcp_info` and the sizes of the buffers.
        info: bool,
    },
    /// The one TCP socket with these ends, in any state. The answer is one message, or
    /// [`netlink::ERROR`] with `ENOENT` where there is none. Both ends must be of one
    /// address family.
    Find {
        /// This side's address and port.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
}

/// The length of an encoded [`Request`]: `struct nlmsghdr` and `struct inet_diag_req_v2`.
pub const REQUEST: usize = 72;

impl Request {
    /// Returns the bytes to send. The kernel repeats `sequence` in every answer.
    #[must_use]
    pub fn encode(&self, sequence: u32) -> [u8; REQUEST] {
        const NLM_F_REQUEST: u16 = 1;
        const NLM_F_DUMP: u16 = 0x300;
        let (flags, family, states, info) = match *self {
            Self::Dump {
                family,
                states,
                info,
            } => (NLM_F_REQUEST | NLM_F_DUMP, family, states, info),
            Self::Find { local, .. } if local.is_ipv4() => (NLM_F_REQUEST, IPV4, u32::MAX, false),
            Self::Find { .. } => (NLM_F_REQUEST, IPV6, u32::MAX, false),
        };
        let mut out = [0; REQUEST];
        out[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
        out[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        out[6..8].copy_from_slice(&flags.to_ne_bytes());
        out[8..12].copy_from_slice(&sequence.to_ne_bytes());
        out[16] = family;
        out[17] = IPPROTO_TCP;
        if info {
            out[18] = 1 << (INET_DIAG_INFO - 1) | 1 << (INET_DIAG_SKMEMINFO - 1);
        }
        out[20..24].copy_from_slice(&states.to_ne_bytes());
        if let Self::Find { local, remote } = self {
            out[24..26].copy_from_slice(&local.port().to_be_bytes());
            out[26..28].copy_from_slice(&remote.port().to_be_bytes());
            put(&mut out[28..44], local.ip());
            put(&mut out[44..60], remote.ip());
            // INET_DIAG_NOCOOKIE: whichever socket it is.
            out[64..72].fill(0xff);
        }
        out
    }
}

fn put(field: &mut [u8], ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => field[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => field[..16].copy_from_slice(&ip.octets()),
    }
}

#[cfg(test)]
mod tests;
