//! The kernel's notice of each TCP socket's end, as [`lastbyte_tcp::destroyed`] reads it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use lastbyte_tcp::destroyed::{Buffer, Subscriber};
use lastbyte_tcp::diag::Socket;
use lastbyte_tcp::info::Counters;

/// Notices wait here until they are read; memory is taken only while they do.
const ROOM: usize = 8 << 20;

/// A subscription to the notices.
pub(crate) struct Destroyed {
    subscriber: Subscriber,
    namespace: Option<u64>,
    buffer: Buffer,
}

/// A socket's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// As SO_COOKIE had it.
    pub(crate) cookie: u64,
    /// write_seq − snd_una at its end: what was never acknowledged, a FIN counted.
    pub(crate) queued: u64,
    /// Its counters, where the kernel has all of them.
    pub(crate) counters: Option<Counters>,
}

/// Notices were lost: the kernel had more than the buffer holds.
#[derive(Debug)]
pub(crate) struct Overrun;

impl Destroyed {
    pub(crate) fn subscribe() -> io::Result<Self> {
        let subscriber = Subscriber::subscribe(ROOM)?;
        Ok(Self {
            namespace: subscriber.namespace(),
            subscriber,
            buffer: Buffer::new(),
        })
    }

    /// The network namespace that the notices are of, where the kernel tells.
    pub(crate) fn namespace(&self) -> Option<u64> {
        self.namespace
    }

    /// Gives each waiting notice to `each`.
    pub(crate) fn read(&mut self, mut each: impl FnMut(Notice)) -> Result<(), Overrun> {
        let each = |socket: Socket<'_>| each(Notice::of(&socket));
        match self.subscriber.drain(&mut self.buffer, usize::MAX, each) {
            Ok(drained) if drained.dropped == 0 => Ok(()),
            // What a socket that cannot be read would have said is as lost.
            Ok(_) | Err(_) => Err(Overrun),
        }
    }
}

impl Notice {
    fn of(socket: &Socket<'_>) -> Self {
        Self {
            cookie: socket.cookie(),
            queued: socket.wqueue().into(),
            counters: socket.info().and_then(|info| info.counters()),
        }
    }
}

impl AsFd for Destroyed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.subscriber.as_fd()
    }
}
