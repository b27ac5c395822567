//! The kernel's notice of each TCP socket's end: sock_diag(7), the multicast
//! groups `SKNLGRP_INET_TCP_DESTROY` and its IPv6 sister. Anyone may listen;
//! what comes is of this network namespace.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::info::{self, Info};

/// linux/sock_diag.h
const SKNLGRP_INET_TCP_DESTROY: u32 = 1;
const SKNLGRP_INET6_TCP_DESTROY: u32 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// linux/inet_diag.h
const INET_DIAG_INFO: u16 = 2;

const HEADER: usize = 16;
/// `struct inet_diag_msg`
const BODY: usize = 72;

/// A subscription to the notices.
pub(crate) struct Destroyed {
    socket: OwnedFd,
    /// As [`namespace`](super::look::namespace) tells.
    namespace: Option<u64>,
    buffers: Box<[Buffer; BATCH]>,
}

/// Room for a notice, of which the kernel sends one in a datagram. What is cut off
/// reads as missing.
type Buffer = [u8; 1024];

/// Notices taken with one call.
const BATCH: usize = 64;

/// A socket's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// As SO_COOKIE had it.
    pub(crate) cookie: u64,
    /// write_seq − snd_una at its end: what was never acknowledged, a FIN counted.
    pub(crate) queued: u64,
    /// Its counters, unless they were cleared.
    pub(crate) counters: Option<Counters>,
}

/// The counters that tell what became of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) acked: u64,
    pub(crate) transmitted: u64,
    pub(crate) unsent: u64,
    pub(crate) data_segments_in: u32,
}

/// Notices were lost: the kernel had more than the buffer holds.
#[derive(Debug)]
pub(crate) struct Overrun;

impl Destroyed {
    pub(crate) fn subscribe() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just created, and owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let room = 8 << 20;
        // Beyond the system's limit it takes a privilege; as much as there is.
        for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
            let _ = super::option::set::<i32>(socket.as_fd(), libc::SOL_SOCKET, option, &room);
        }
        // SAFETY: all zero is a valid sockaddr_nl.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        // Group n is bit n − 1.
        address.nl_groups =
            1 << (SKNLGRP_INET_TCP_DESTROY - 1) | 1 << (SKNLGRP_INET6_TCP_DESTROY - 1);
        // SAFETY: reads one sockaddr_nl of the length passed.
        let rc = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if rc == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            namespace: super::look::namespace(socket.as_fd()),
            socket,
            buffers: Box::new([[0; 1024]; BATCH]),
        })
    }

    /// The network namespace that the notices are of, where the kernel tells.
    pub(crate) fn namespace(&self) -> Option<u64> {
        self.namespace
    }

    /// Gives each waiting notice to `each`.
    pub(crate) fn read(&mut self, mut each: impl FnMut(Notice)) -> Result<(), Overrun> {
        let mut overrun = false;
        loop {
            match self.receive() {
                Ok(received) => {
                    for (buffer, length) in self.buffers.iter().zip(received.lengths()) {
                        notices(&buffer[..length.min(buffer.len())], &mut each);
                    }
                    // What came since wakes the caller again.
                    if received.count < BATCH {
                        break;
                    }
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    // Told once for any number that were lost.
                    Some(libc::ENOBUFS) => overrun = true,
                    _ => break,
                },
            }
        }
        if overrun { Err(Overrun) } else { Ok(()) }
    }

    /// One recvmmsg(2) into the buffers.
    fn receive(&mut self) -> io::Result<Received> {
        let mut places = self.buffers.each_mut().map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        });
        let mut headers = places.each_mut().map(|place| {
            // SAFETY: all zero is a valid mmsghdr, of nothing.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = place;
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        // SAFETY: each header has one place, each place is a whole buffer of ours,
        // and all outlive the call; no time-out is passed.
        let n = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                0,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        Ok(Received {
            lengths: headers.map(|header| header.msg_len),
            count,
        })
    }
}

/// What came with one call.
struct Received {
    lengths: [libc::c_uint; BATCH],
    count: usize,
}

impl Received {
    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.lengths[..self.count].iter().map(|&n| n as usize)
    }
}

impl AsFd for Destroyed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The notices in a datagram; what is none, or cut short, is passed over.
fn notices(mut bytes: &[u8], each: &mut impl FnMut(Notice)) {
    while let Some(length) = u32_at(bytes, 0).map(|n| n as usize) {
        let Some(message) = bytes.get(..length).filter(|m| m.len() >= HEADER) else {
            return;
        };
        if u16_at(message, 4) == Some(SOCK_DIAG_BY_FAMILY) {
            if let Some(notice) = notice(&message[HEADER..]) {
                each(notice);
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn notice(body: &[u8]) -> Option<Notice> {
    // family, state, timer, retrans; then the id, its cookie last; expires,
    // rqueue, wqueue.
    let cookie = u64::from(u32_at(body, 44)?) | u64::from(u32_at(body, 48)?) << 32;
    let queued = u64::from(u32_at(body, 60)?);
    let mut counters = None;
    let mut attributes = body.get(BODY..)?;
    while let Some(length) = u16_at(attributes, 0).map(usize::from) {
        let Some(attribute) = attributes.get(..length).filter(|a| a.len() >= 4) else {
            break;
        };
        if u16_at(attribute, 2) == Some(INET_DIAG_INFO) {
            counters = counters_of(&attribute[4..]);
        }
        attributes = attributes
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Some(Notice {
        cookie,
        queued,
        counters,
    })
}

fn counters_of(info: &[u8]) -> Option<Counters> {
    let info = Info::from_bytes(info.get(..info::LENGTH)?);
    Some(Counters {
        acked: info.acked()?,
        transmitted: info.transmitted()?,
        unsent: info.unsent()?,
        data_segments_in: info.data_segments_in()?,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(cookie: u64, queued: u32, info: &[u8]) -> Vec<u8> {
        let mut body = vec![0; BODY];
        body[44..48].copy_from_slice(&(cookie as u32).to_ne_bytes());
        body[48..52].copy_from_slice(&((cookie >> 32) as u32).to_ne_bytes());
        body[60..64].copy_from_slice(&queued.to_ne_bytes());
        body.extend((4 + info.len() as u16).to_ne_bytes());
        body.extend(INET_DIAG_INFO.to_ne_bytes());
        body.extend(info);
        let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message.resize(HEADER, 0);
        message.extend(body);
        message
    }

    fn all(bytes: &[u8]) -> Vec<Notice> {
        let mut all = Vec::new();
        notices(bytes, &mut |notice| all.push(notice));
        all
    }

    #[test]
    fn two_in_a_datagram() {
        let mut info = [0; info::LENGTH];
        info[120..128].copy_from_slice(&101u64.to_ne_bytes());
        info[200..208].copy_from_slice(&100u64.to_ne_bytes());
        let mut bytes = message(7 << 32 | 9, 0, &info);
        bytes.extend(message(8, 31, &[1, 2, 3, 4]));
        let seen = all(&bytes);
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].cookie, 7 << 32 | 9);
        assert_eq!(
            seen[0].counters.map(|c| (c.acked, c.transmitted)),
            Some((101, 100))
        );
        assert_eq!((seen[1].cookie, seen[1].queued), (8, 31));
        assert_eq!(seen[1].counters, None);
    }

    proptest! {
        /// No bytes make it panic or go on for ever.
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = all(&bytes);
        }

        #[test]
        fn any_bytes_in_a_message(mut info in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..500) {
            info.truncate(396);
            let mut bytes = message(1, 2, &info);
            bytes.truncate(cut.min(bytes.len()));
            let _ = all(&bytes);
        }
    }
}
