//! Input that nobody will read: discarding it, and counting what is left.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use lastbyte_tcp::queue;
use libc::c_int;

use super::option::{get, set};
use crate::ending::Input;
use crate::errno::Errno;

/// Reads and throws away up to `allowance` bytes, without copying: on TCP,
/// MSG_TRUNC discards (tcp(7)). An error that reading gave is taken off the
/// socket with that, and returned.
pub(super) fn discard(socket: BorrowedFd<'_>, allowance: u64) -> (Input, Option<Errno>) {
    let mut input = Input {
        drained: 0,
        left: Some(0),
        ended: false,
    };
    let mut copy = None;
    if allowance > 0 {
        match take_urgent(socket) {
            Urgent::Taken => input.drained = 1,
            Urgent::None => {}
            Urgent::OutOfReach => {
                input.left = unread(socket);
                return (input, None);
            }
        }
    }
    while input.drained < allowance {
        let left = usize::try_from(allowance - input.drained).unwrap_or(usize::MAX);
        match recv(socket, left, &mut copy) {
            Ok(0) => {
                input.ended = true;
                return (input, None);
            }
            Ok(n) => input.drained += n as u64,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) | None => return (input, None),
                Some(raw) => {
                    input.left = unread(socket);
                    return (input, Some(Errno::from_raw(raw)));
                }
            },
        }
    }
    input.left = unread(socket);
    (input, None)
}

enum Urgent {
    Taken,
    None,
    /// It is there, of a connection that was reset. Reading would skip it uncounted.
    OutOfReach,
}

/// Takes an urgent byte that nobody has read. Reading past its place skips it and
/// does not count it (`tcp_recvmsg_locked`, net/ipv4/tcp.c).
fn take_urgent(socket: BorrowedFd<'_>) -> Urgent {
    match receive_urgent(socket, 0) {
        Ok(1) => Urgent::Taken,
        // Whether it was read is asked first, then whether the connection still
        // stands (`tcp_recv_urg`, net/ipv4/tcp.c).
        Err(libc::ENOTCONN) => Urgent::OutOfReach,
        _ => Urgent::None,
    }
}

fn receive_urgent(socket: BorrowedFd<'_>, flags: c_int) -> Result<isize, c_int> {
    let mut byte = 0u8;
    let flags = flags | libc::MSG_OOB | libc::MSG_DONTWAIT;
    // SAFETY: `byte` has room for one.
    let n = unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, flags) };
    if n >= 0 {
        return Ok(n);
    }
    Err(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// Bytes in the receive queue that nobody has read, urgent ones included. `None`
/// where the kernel does not tell.
pub(super) fn unread(socket: BorrowedFd<'_>) -> Option<u64> {
    let length = queue_length(socket)?;
    // An urgent byte that the program has read is still in its place.
    let taken = length.all > length.before_mark && !urgent_waits(socket)?;
    length.all.checked_sub(u64::from(taken))
}

pub(super) struct QueueLength {
    /// Up to an urgent byte, where SIOCINQ stops (`tcp_inq`, include/net/tcp.h).
    before_mark: u64,
    pub(super) all: u64,
}

/// The length of the receive queue.
pub(super) fn queue_length(socket: BorrowedFd<'_>) -> Option<QueueLength> {
    let before_mark = queue::unread(socket).ok()?;
    let inline = get::<c_int>(socket, libc::SOL_SOCKET, libc::SO_OOBINLINE).ok()?;
    if inline.0 != 0 {
        let all = before_mark;
        return Some(QueueLength { before_mark, all });
    }
    // Inline, an urgent byte is one like any other.
    set::<c_int>(socket, libc::SOL_SOCKET, libc::SO_OOBINLINE, &1).ok()?;
    let all = queue::unread(socket).ok();
    set::<c_int>(socket, libc::SOL_SOCKET, libc::SO_OOBINLINE, &0).ok()?;
    Some(QueueLength {
        before_mark,
        all: all?,
    })
}

/// Returns whether the receive queue holds nothing with which a close would reset the
/// connection. `None` where the kernel does not tell.
pub(super) fn is_empty(socket: BorrowedFd<'_>) -> Option<bool> {
    // At the urgent byte, read or not, SIOCINQ says 0.
    Some(queue::unread(socket).ok()? == 0 && !queue::at_mark(socket).ok()?)
}

/// Returns whether nobody has read the urgent byte. `None` where the kernel does not tell.
fn urgent_waits(socket: BorrowedFd<'_>) -> Option<bool> {
    match receive_urgent(socket, libc::MSG_PEEK) {
        Ok(1) | Err(libc::ENOTCONN) => Some(true),
        Err(libc::EINVAL) => Some(false),
        _ => None,
    }
}

/// Where a protocol layered on TCP (kernel TLS) insists on a place to copy to.
type Scratch = Option<Box<[u8; 16384]>>;

fn recv(socket: BorrowedFd<'_>, max: usize, copy: &mut Scratch) -> io::Result<usize> {
    // Within what a single recv() may return on every word size.
    let max = max.min(1 << 30);
    let (into, len, flags) = match copy {
        None => (std::ptr::null_mut(), max, libc::MSG_TRUNC),
        Some(scratch) => (scratch.as_mut_ptr(), max.min(scratch.len()), 0),
    };
    // SAFETY: with MSG_TRUNC TCP writes nothing, and the kernel would answer
    // EFAULT rather than write to null; else `into` has room for `len` bytes.
    let n = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            into.cast(),
            len,
            flags | libc::MSG_DONTWAIT,
        )
    };
    match usize::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) => {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::EFAULT) && copy.is_none() {
                *copy = Some(Box::new([0; 16384]));
                return recv(socket, max, copy);
            }
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    /// An RST that comes between two calls of a look makes the urgent byte out of
    /// reach; reading then skips it.
    #[test]
    fn an_urgent_byte_of_a_reset_connection_is_left_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let peer = TcpStream::connect(address).expect("it listens");
        let (ours, _) = listener.accept().expect("it connected");
        // SAFETY: one byte, which is alive.
        let sent = unsafe { libc::send(peer.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(sent, 1);
        let on = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        set(peer.as_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &on).expect("a plain option");
        drop(peer);
        let mut poll = libc::pollfd {
            fd: ours.as_raw_fd(),
            events: libc::POLLHUP,
            revents: 0,
        };
        // SAFETY: one pollfd, alive during the call.
        assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 20_000) }, 1);
        let (input, _) = discard(ours.as_fd(), 1 << 20);
        assert_eq!((input.drained, input.left), (0, Some(1)));
        // And so it is for whoever looks again.
        let (input, _) = discard(ours.as_fd(), 1 << 20);
        assert_eq!((input.drained, input.left), (0, Some(1)));
    }
}
