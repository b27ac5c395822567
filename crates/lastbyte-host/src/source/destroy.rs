//! The kernel's destroy notices of one network namespace
//! ([`lastbyte_tcp::destroyed`]).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use lastbyte_tcp::destroyed::{Buffer, Drained, Subscriber};

use super::doing;
use crate::parse::inet_diag::Socket;

/// Asked for: with privilege room for some 100 000 destroy notices. Memory is taken only
/// as far as they come.
const WANTED_BUFFER: usize = 64 << 20;
/// Sockets to share the notices at most: each costs the kernel a look at every notice.
const SHARES: usize = 8;
/// Notices read at once: whoever sends as fast as they are read must not keep the reader
/// from all else.
const AT_ONCE: usize = 8192;

/// The subscription: one socket, or several that share the notices where one alone has
/// little room.
#[derive(Debug)]
pub(crate) struct Destroyed {
    shares: Vec<Subscriber>,
    buffer: Buffer,
}

impl Destroyed {
    /// Subscribes, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// No netlink (`EPROTONOSUPPORT`: the kernel lacks `CONFIG_INET_DIAG`), or no
    /// descriptor left.
    pub(crate) fn subscribe() -> io::Result<Self> {
        let shares = Subscriber::subscribe_shared(WANTED_BUFFER, SHARES)
            .map_err(doing("cannot subscribe to the destroy notices"))?;
        Ok(Self {
            shares,
            buffer: Buffer::new(),
        })
    }

    /// The receive buffers in bytes, as the kernel counts them.
    #[must_use]
    pub(crate) fn room(&self) -> usize {
        self.shares.iter().map(Subscriber::room).sum()
    }

    /// The sockets, to wait for.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.shares.iter().map(AsFd::as_fd)
    }

    /// Reads what has come, or a good part of it, without waiting.
    ///
    /// # Errors
    ///
    /// Only a broken descriptor's.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(Socket)) -> io::Result<Drained> {
        let mut drained = Drained::default();
        let at_once = AT_ONCE / self.shares.len();
        for share in &mut self.shares {
            let one = share
                .drain(&mut self.buffer, at_once, |socket| {
                    if let Some(socket) = Socket::of(&socket) {
                        each(socket);
                    }
                })
                .map_err(doing("cannot read the destroy notices"))?;
            drained.add(one);
        }
        Ok(drained)
    }
}
