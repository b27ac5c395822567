//! What is closed: how many connections, in which state, to what kind of peer.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use crate::peer::{Habit, Peer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// Nothing was ever written.
    Empty,
    /// 100 bytes were written, and the peer delays its ACK by 40 ms.
    DelayedAck,
    /// 32 KiB were written to readers that take 4 KiB; two of three read on by
    /// and by, the third never does and meets its deadline.
    SlowReaders,
}

impl Scenario {
    pub(crate) const ALL: [Scenario; 3] =
        [Scenario::Empty, Scenario::DelayedAck, Scenario::SlowReaders];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Scenario::Empty => "empty",
            Scenario::DelayedAck => "delayed_ack",
            Scenario::SlowReaders => "slow_readers",
        }
    }

    const fn habit(self) -> Habit {
        match self {
            Scenario::Empty => Habit::Prompt,
            Scenario::DelayedAck => Habit::Delayed,
            Scenario::SlowReaders => Habit::Slow,
        }
    }

    /// Connections ready to be closed.
    pub(crate) fn prepare(self, peer: &mut Peer, n: usize) -> io::Result<Vec<TcpStream>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        // A second listen(2) widens the backlog, which std makes 128: beyond it
        // the kernel drops SYNs and the peers try again after a second.
        // SAFETY: no pointer is passed.
        unsafe { libc::listen(listener.as_raw_fd(), 4096) };
        peer.connect(listener.local_addr()?, n, self.habit())?;
        let streams = (0..n)
            .map(|_| listener.accept().map(|(stream, _)| stream))
            .collect::<io::Result<Vec<_>>>()?;
        peer.answer()?;
        Ok(streams)
    }

    /// The last thing before the close.
    pub(crate) fn respond(self, mut stream: &TcpStream) -> io::Result<()> {
        match self {
            Scenario::Empty => Ok(()),
            Scenario::DelayedAck => stream.write_all(&[b'x'; 100]),
            Scenario::SlowReaders => stream.write_all(&[b'x'; 32 << 10]),
        }
    }
}
