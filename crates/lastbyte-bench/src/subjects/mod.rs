//! Who closes.

mod blocking;
mod by_hand;
mod closer;
mod kernel;

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use lastbyte::Backend;

use crate::scenario::Scenario;

/// The deadline that every subject gives a connection.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Subject {
    /// close(2), fate unknown.
    Plain,
    /// SO_LINGER and close(2), one thread.
    #[value(name = "kernel_linger_1")]
    KernelLinger1,
    /// The same on 64 threads.
    #[value(name = "kernel_linger_64")]
    KernelLinger64,
    /// tokio: shutdown, read to EOF, time-out.
    TokioByHand,
    /// epoll: shutdown, wait for the FIN's ACK, close.
    EpollByHand,
    /// lastbyte::close, one after the other.
    Blocking,
    /// lastbyte::Closer, a wait with a deadline.
    CloserEpoll,
    /// The same over io_uring.
    CloserUring,
}

/// A subject in action.
pub(crate) trait Run {
    /// Closes all, and returns when every fate that will be known is known.
    fn close_all(&mut self, streams: Vec<TcpStream>) -> io::Result<()>;
}

impl Subject {
    pub(crate) const ALL: [Subject; 8] = [
        Subject::Plain,
        Subject::KernelLinger1,
        Subject::KernelLinger64,
        Subject::TokioByHand,
        Subject::EpollByHand,
        Subject::Blocking,
        Subject::CloserEpoll,
        Subject::CloserUring,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Subject::Plain => "plain",
            Subject::KernelLinger1 => "kernel_linger_1",
            Subject::KernelLinger64 => "kernel_linger_64",
            Subject::TokioByHand => "tokio_by_hand",
            Subject::EpollByHand => "epoll_by_hand",
            Subject::Blocking => "blocking",
            Subject::CloserEpoll => "closer_epoll",
            Subject::CloserUring => "closer_uring",
        }
    }

    pub(crate) const fn knows_the_fate(self) -> bool {
        !matches!(
            self,
            Subject::Plain | Subject::KernelLinger1 | Subject::KernelLinger64
        )
    }

    /// What closes one after the other cannot be asked for thousands.
    pub(crate) const fn at_most(self) -> usize {
        match self {
            Subject::KernelLinger1 | Subject::Blocking => 20,
            Subject::KernelLinger64 => 640,
            _ => usize::MAX,
        }
    }

    pub(crate) fn takes_part(self, scenario: Scenario) -> bool {
        match scenario {
            Scenario::SlowReaders => self.at_most() == usize::MAX && self != Subject::TokioByHand,
            _ => true,
        }
    }

    pub(crate) fn start(self) -> io::Result<Box<dyn Run>> {
        Ok(match self {
            Subject::Plain => Box::new(kernel::Plain),
            Subject::KernelLinger1 => Box::new(kernel::Linger { threads: 1 }),
            Subject::KernelLinger64 => Box::new(kernel::Linger { threads: 64 }),
            Subject::TokioByHand => Box::new(by_hand::Tokio::start()?),
            Subject::EpollByHand => Box::new(by_hand::Epoll),
            Subject::Blocking => Box::new(blocking::Blocking),
            Subject::CloserEpoll => Box::new(closer::Closer::start(Backend::Epoll)?),
            Subject::CloserUring => Box::new(closer::Closer::start(Backend::IoUring)?),
        })
    }
}
