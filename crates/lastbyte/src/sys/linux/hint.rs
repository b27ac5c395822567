//! What the hint that comes with input tells of the peer's FIN.

use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;

use super::input::queue_length;
use super::option::set;
use crate::ending::PeerFin;

/// Returns whether the peer's FIN has arrived, read or not: the hint that comes with data
/// counts it, SIOCINQ does not (`tcp_inq_hint` and `tcp_inq`, net/ipv4/tcp.c and
/// include/net/tcp.h). Linux 4.18.
pub(super) fn peers_fin(socket: BorrowedFd<'_>) -> PeerFin {
    let told = set(socket, libc::IPPROTO_TCP, libc::TCP_INQ, &1)
        .ok()
        .and_then(|()| unread_hint(socket));
    // It was off, as nobody else who reads this connection is left.
    let _ = set(socket, libc::IPPROTO_TCP, libc::TCP_INQ, &0);
    match (told, queue_length(socket)) {
        (Some(hint), Some(length)) if u64::from(hint) == length.all => PeerFin::Missing,
        (Some(hint), Some(length)) if u64::from(hint) == length.all + 1 => PeerFin::Came,
        _ => PeerFin::Unknown,
    }
}

/// The TCP_CM_INQ message of a read that takes nothing.
fn unread_hint(socket: BorrowedFd<'_>) -> Option<u32> {
    let mut byte = 0u8;
    let mut part = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let mut control = [0u64; 8];
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the message points to one byte and to room for control messages,
    // aligned for their headers; all outlive the call.
    let read = unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &raw mut message,
            libc::MSG_PEEK | libc::MSG_DONTWAIT,
        )
    };
    if read < 0 {
        return None;
    }
    // SAFETY: the kernel filled in `message`, whose control buffer is alive.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message).as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::IPPROTO_TCP, libc::TCP_CM_INQ) {
        return None;
    }
    // SAFETY: a TCP_CM_INQ message holds one int, which need not be aligned.
    let hint = unsafe { libc::CMSG_DATA(header).cast::<c_int>().read_unaligned() };
    u32::try_from(hint).ok()
}
