//! The lengths of a TCP socket's queues, by ioctl(2) ([tcp(7)], `tcp_ioctl` in
//! `net/ipv4/tcp.c`).
//!
//! The numbers count sequence numbers or bytes as each item says. Before the handshake
//! is over ([`State::in_handshake`](crate::State::in_handshake)) the kernel answers 0 for
//! the send queue whatever is in it, and for a listening socket it answers `EINVAL`.
//!
//! [tcp(7)]: https://man7.org/linux/man-pages/man7/tcp.7.html

#[cfg(all(feature = "std", target_os = "linux"))]
pub use calls::*;

#[cfg(target_os = "linux")]
pub use requests::*;

/// The numbers of the requests, for a caller who makes the system call himself.
#[cfg(target_os = "linux")]
mod requests {
    /// What the peer has not acknowledged (`SIOCOUTQ`, which is `TIOCOUTQ`): sequence
    /// numbers, so that a FIN that is queued or in flight counts as one.
    pub const SIOCOUTQ: libc::Ioctl = libc::TIOCOUTQ;

    /// What was never transmitted (`SIOCOUTQNSD`, `include/uapi/linux/sockios.h`):
    /// sequence numbers, so that a FIN that waits counts as one.
    pub const SIOCOUTQNSD: libc::Ioctl = 0x894b;

    /// What can be read before an urgent byte (`SIOCINQ`, which is `FIONREAD`; `tcp_inq`,
    /// `include/net/tcp.h`): bytes, the peer's FIN not counted.
    pub const SIOCINQ: libc::Ioctl = libc::FIONREAD;

    /// Whether an urgent byte comes next (`SIOCATMARK`, sockatmark(3)): 1 or 0.
    pub const SIOCATMARK: libc::Ioctl = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        0x4004_7307_u32 as libc::Ioctl
    } else {
        0x8905
    };
}

#[cfg(all(feature = "std", target_os = "linux"))]
mod calls {
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use super::requests::{SIOCATMARK, SIOCINQ, SIOCOUTQ, SIOCOUTQNSD};

    /// Returns how much the peer has not acknowledged ([`SIOCOUTQ`]), in sequence
    /// numbers: payload bytes, and one for a FIN that is queued or in flight.
    ///
    /// # Errors
    ///
    /// `EINVAL` of a listening socket; `EIO` where the kernel answers with what is no
    /// count.
    #[inline]
    pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u64> {
        length(socket, SIOCOUTQ)
    }

    /// Returns how much was never transmitted ([`SIOCOUTQNSD`]), in sequence numbers:
    /// payload bytes, and one for a FIN that waits.
    ///
    /// # Errors
    ///
    /// As of [`unacknowledged`].
    #[inline]
    pub fn unsent(socket: BorrowedFd<'_>) -> io::Result<u64> {
        length(socket, SIOCOUTQNSD)
    }

    /// Returns how many bytes can be read before an urgent byte ([`SIOCINQ`]): all that
    /// are unread where there is none. The peer's FIN does not count. At an urgent byte
    /// the answer is 0, whether it was read or not.
    ///
    /// # Errors
    ///
    /// As of [`unacknowledged`].
    #[inline]
    pub fn unread(socket: BorrowedFd<'_>) -> io::Result<u64> {
        length(socket, SIOCINQ)
    }

    /// Returns whether an urgent byte comes next ([`SIOCATMARK`]).
    ///
    /// # Errors
    ///
    /// What ioctl(2) answers.
    #[inline]
    pub fn at_mark(socket: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(ioctl(socket, SIOCATMARK)? != 0)
    }

    #[inline]
    fn length(socket: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<u64> {
        // It is not negative; if ever, it is no count.
        u64::try_from(ioctl(socket, request)?).map_err(|_| io::Error::from_raw_os_error(libc::EIO))
    }

    #[inline]
    fn ioctl(socket: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<libc::c_int> {
        let mut value: libc::c_int = 0;
        // SAFETY: each of the four requests writes one int, see tcp(7) and sockatmark(3);
        // `value` outlives the call.
        let answer = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut value) };
        if answer == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(value)
    }

    #[cfg(test)]
    #[cfg(not(miri))]
    mod tests {
        use std::io::{Read, Write};
        use std::net::{TcpListener, TcpStream};
        use std::os::fd::AsFd;

        use super::*;

        fn pair() -> (TcpStream, TcpStream) {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
            let address = listener.local_addr().expect("it is bound");
            let ours = TcpStream::connect(address).expect("it listens");
            let (theirs, _) = listener.accept().expect("it connected");
            (ours, theirs)
        }

        #[test]
        fn what_arrived_is_unread_until_it_is_read() {
            let (mut ours, mut theirs) = pair();
            ours.write_all(b"abcde").expect("an open connection");
            theirs.peek(&mut [0]).expect("it arrives");
            assert_eq!(unread(theirs.as_fd()).expect("a connection"), 5);
            theirs.read_exact(&mut [0; 3]).expect("it is there");
            assert_eq!(unread(theirs.as_fd()).expect("a connection"), 2);
            assert!(!at_mark(theirs.as_fd()).expect("a connection"));
        }

        #[test]
        fn a_full_queue_is_unacknowledged_and_partly_unsent() {
            let (mut ours, theirs) = pair();
            ours.set_nonblocking(true).expect("a plain option");
            let mut written = 0;
            // The peer reads nothing: its buffer fills, then ours.
            while let Ok(n) = ours.write(&[0; 65536]) {
                written += n as u64;
            }
            let (all, waits) = (unacknowledged(ours.as_fd()), unsent(ours.as_fd()));
            let (all, waits) = (all.expect("a connection"), waits.expect("a connection"));
            assert!(
                0 < waits && waits <= all && all < written,
                "{waits} {all} {written}"
            );
            drop(theirs);
        }

        #[test]
        fn an_urgent_byte_comes_next() {
            let (ours, theirs) = pair();
            // SAFETY: one byte, which is alive.
            let sent =
                unsafe { libc::send(ours.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
            assert_eq!(sent, 1);
            let mut poll = libc::pollfd {
                fd: theirs.as_raw_fd(),
                events: libc::POLLPRI,
                revents: 0,
            };
            // SAFETY: one pollfd, alive during the call.
            assert_eq!(unsafe { libc::poll(&raw mut poll, 1, 20_000) }, 1);
            assert!(at_mark(theirs.as_fd()).expect("a connection"));
            assert_eq!(unread(theirs.as_fd()).expect("a connection"), 0);
        }

        #[test]
        fn a_listener_has_no_queue_of_bytes() {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
            for ask in [unacknowledged, unsent, unread] {
                let error = ask(listener.as_fd()).expect_err("no connection");
                assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
            }
        }
    }
}
