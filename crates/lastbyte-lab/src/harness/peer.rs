//! The other end, which can stop reading, vanish, come back, reset, half-close
//! and speak late.

use std::fmt;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use lastbyte::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{SockFilter, SockRef, Socket};

use super::pattern::pattern;
use super::{Stamp, TcpInfo};

/// The peer's end of a connection. Dropping it resets what is left of the
/// connection, so that nothing outlives a row.
#[derive(Debug)]
pub struct Peer {
    socket: Option<Socket>,
    /// Where in the sender's pattern reading has come to.
    read: u64,
}

/// What the peer's application got.
#[derive(Clone, Debug)]
pub struct Got {
    /// Bytes in all, since the connection began.
    pub bytes: u64,
    /// Whether they were the bytes that were sent.
    pub intact: bool,
    /// How it ended.
    pub end: End,
}

/// How the peer's reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// End of file: a FIN.
    Eof,
    /// An error from recv(2).
    Error(Errno),
    /// Nothing more came within the limit.
    Silence,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Eof => f.write_str("EOF"),
            End::Error(e) => write!(f, "{e}"),
            End::Silence => f.write_str("nothing more"),
        }
    }
}

impl Peer {
    /// The connection that this socket is an end of.
    #[must_use]
    pub const fn new(socket: Socket) -> Self {
        Self {
            socket: Some(socket),
            read: 0,
        }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        self.socket
            .as_ref()
            .expect("only `drop` and `reset`, which consume, take the socket")
    }

    /// Lets nothing in any more: every packet for this socket is dropped before
    /// TCP sees it, and so never acknowledged.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn blackhole(&self) -> io::Result<()> {
        let nothing = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
        self.socket().attach_filter(&[nothing]).map_err(|error| {
            if error.raw_os_error() == Some(libc::EPERM) {
                io::Error::new(io::ErrorKind::PermissionDenied, FilterRefused)
            } else {
                error
            }
        })
    }

    /// Ends [`blackhole`](Self::blackhole); the next retransmission gets in.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn heal(&self) -> io::Result<()> {
        self.socket().detach_filter()
    }

    /// Ends the connection with an RST.
    pub fn reset(self) {
        drop(self);
    }

    /// Ends the connection as a program does: close(2), FIN if all was read.
    pub fn close(mut self) {
        drop(self.socket.take());
    }

    /// Sends FIN and goes on reading.
    ///
    /// # Errors
    /// Those of shutdown(2).
    pub fn half_close(&self) -> io::Result<()> {
        self.socket().shutdown(Shutdown::Write)
    }

    /// Sends `bytes` bytes, as many as get out within a second.
    ///
    /// Returns the number and the error that stopped it.
    pub fn send(&self, bytes: usize) -> (usize, Option<Errno>) {
        let block = vec![b'p'; bytes];
        let mut sent = 0;
        while sent < bytes {
            match self
                .socket()
                .send_with_flags(&block[sent..], libc::MSG_NOSIGNAL)
            {
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return (sent, e.raw_os_error().map(Errno::from_raw)),
            }
        }
        (sent, None)
    }

    /// Sends `bytes` bytes and waits until the other side's kernel has them.
    ///
    /// # Errors
    /// Those of send(2), and `TimedOut` after two seconds.
    pub fn send_all(&self, bytes: usize) -> io::Result<()> {
        match self.send(bytes) {
            (n, _) if n == bytes => self.settled(),
            (_, error) => Err(error.map_or(io::ErrorKind::TimedOut.into(), io::Error::from)),
        }
    }

    /// Waits until the other side's TCP has acknowledged all that we sent; what
    /// it acknowledged is in its receive queue.
    ///
    /// # Errors
    /// `TimedOut` after two seconds; those of ioctl(2).
    pub fn settled(&self) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(2);
        // No event tells of it at a level-triggered descriptor; the loop is short.
        while outstanding(self.socket())? > 0 {
            if Instant::now() > until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Reads until the end, or until nothing has come for `limit`.
    pub fn read_all(&mut self, limit: Duration) -> Got {
        self.read_some(u64::MAX, limit)
    }

    /// Reads `most` further bytes, or until the end, or until nothing has come
    /// for `limit`.
    pub fn read_some(&mut self, most: u64, limit: Duration) -> Got {
        let mut block = vec![0; 1 << 16];
        let mut left = most;
        let mut intact = true;
        let end = loop {
            if left == 0 {
                break End::Silence;
            }
            if !self.readable(limit) {
                break End::Silence;
            }
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            let mut socket = self.socket();
            match socket.read(&mut block[..room]) {
                Ok(0) => break End::Eof,
                Ok(n) => {
                    intact &= (self.read..)
                        .zip(&block[..n])
                        .all(|(at, &byte)| byte == pattern(at));
                    self.read += n as u64;
                    left -= n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break End::Error(Errno::from_raw(e.raw_os_error().unwrap_or(0))),
            }
        };
        Got {
            bytes: self.read,
            intact,
            end,
        }
    }

    fn readable(&self, limit: Duration) -> bool {
        self.ready(PollFlags::POLLIN, limit)
    }

    /// Waits until the connection has failed, whatever is still to be read, and
    /// says when that was noticed.
    #[must_use]
    pub fn wait_error(&self, limit: Duration) -> Option<Stamp> {
        // POLLERR is always watched for.
        self.ready(PollFlags::empty(), limit).then(Stamp::now)
    }

    fn ready(&self, events: PollFlags, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.socket().as_fd(), events)];
            match poll(&mut fds, timeout) {
                Err(nix::Error::EINTR) => {}
                Err(_) | Ok(0) => return false,
                Ok(_) => return true,
            }
        }
    }

    /// The peer's kernel's account.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn info(&self) -> io::Result<TcpInfo> {
        TcpInfo::of(self.socket())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            // Fails on a socket that is already closed, where it changes nothing.
            let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        }
    }
}

/// SIOCOUTQ: bytes in the send queue that the other side has not acknowledged, +1
/// while a FIN of ours is not. Not lastbyte-tcp's, as an independent witness.
///
/// # Errors
/// Those of ioctl(2).
fn outstanding(socket: &impl AsFd) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (= TIOCOUTQ) writes one int.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// The kernel lets this user attach no filter to a socket.
#[derive(Debug)]
pub(crate) struct FilterRefused;

impl fmt::Display for FilterRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "its peer falls silent by a filter on its socket, and attaching one is not \
             permitted here (it takes a namespace of our own, or CAP_NET_ADMIN)",
        )
    }
}

impl std::error::Error for FilterRefused {}
