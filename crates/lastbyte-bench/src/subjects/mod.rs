//! Who closes.

mod asynchronous;
mod blocking;
mod by_hand;
mod closer;
mod foreign;
mod kernel;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lastbyte::{CloserBackend, Policy};

use crate::clock;
use crate::scenario::Scenario;
pub(crate) use foreign::Foreign;

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
    /// tokio, drop: fate unknown. What a server on tokio costs without more.
    TokioPlain,
    /// tokio: shutdown, read to EOF, time-out.
    TokioByHand,
    /// tokio: shutdown, SIOCOUTQ every 10 ms, time-out.
    TokioPolls,
    /// epoll: shutdown, wait for the FIN's ACK, close.
    EpollByHand,
    /// lastbyte::close, one after the other.
    Blocking,
    /// lastbyte::Closer, a wait with a deadline.
    CloserEpoll,
    /// The same over io_uring.
    CloserUring,
    /// lastbyte::Closer: off, and the kernel's notice as the receipt.
    CloserOffReceipt,
    /// lastbyte::on_tokio::close.
    Tokio,
    /// Go: SetLinger, Close.
    Go,
    /// Node: end, and the event `close`.
    Node,
    /// Python's asyncio: close, wait_closed.
    Asyncio,
}

/// A subject in action.
pub(crate) trait Run {
    /// Closes all, each with its deadline, and returns when every fate that will
    /// be known is known.
    fn close_all(&mut self, batch: Batch<'_>) -> io::Result<Fates>;

    /// Closes each at its time and notes when its fate was told. False where
    /// this subject cannot: it would block, or is never told.
    fn close_paced(&mut self, _: Vec<TcpStream>, _: &Pace) -> io::Result<bool> {
        Ok(false)
    }

    /// Answers `n` requests, one per connection, and returns when every fate that
    /// will be known is known: how many threads that took.
    fn serve(&mut self, listener: &TcpListener, n: usize) -> io::Result<usize>;
}

/// Connections to close at once.
pub(crate) struct Batch<'a> {
    pub(crate) scenario: Scenario,
    pub(crate) streams: Vec<TcpStream>,
    /// To be called when all are in flight.
    pub(crate) in_flight: &'a mut dyn FnMut(),
}

impl Batch<'_> {
    fn policy(&self, i: usize) -> Policy {
        wait(self.scenario.deadline(i))
    }
}

/// How a batch came out, where that is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fates {
    pub(crate) delivered: usize,
    pub(crate) overdue: usize,
}

/// As by hand: the descriptor is closed at delivery, not held for a peer that
/// might still be sending.
fn wait(deadline: Duration) -> Policy {
    Policy::wait(deadline).with_drain_time(Duration::ZERO)
}

/// Times to close at, and where to note when the fates were told.
#[derive(Clone)]
pub(crate) struct Pace {
    start: Instant,
    every: Duration,
    told: Arc<Vec<AtomicU64>>,
}

impl Pace {
    pub(crate) fn new(n: usize, every: Duration) -> Self {
        Self {
            start: Instant::now() + Duration::from_millis(20),
            every,
            told: Arc::new((0..n).map(|_| AtomicU64::new(0)).collect()),
        }
    }

    /// Waits for the time of the `i`th.
    fn wait_for(&self, i: usize) {
        let due = self.start + self.every * i as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }

    /// The `i`th fate was told just now.
    fn told(&self, i: usize) {
        self.told[i].store(clock::monotonic(), Ordering::Release);
    }

    /// By CLOCK_MONOTONIC, 0 where it was not.
    pub(crate) fn when_told(&self) -> Vec<u64> {
        let told = self.told.iter();
        told.map(|at| at.load(Ordering::Acquire)).collect()
    }
}

impl Subject {
    pub(crate) const ALL: [Subject; 15] = [
        Subject::Plain,
        Subject::KernelLinger1,
        Subject::KernelLinger64,
        Subject::TokioPlain,
        Subject::TokioByHand,
        Subject::TokioPolls,
        Subject::EpollByHand,
        Subject::Blocking,
        Subject::CloserEpoll,
        Subject::CloserUring,
        Subject::CloserOffReceipt,
        Subject::Tokio,
        Subject::Go,
        Subject::Node,
        Subject::Asyncio,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Subject::Plain => "plain",
            Subject::KernelLinger1 => "kernel_linger_1",
            Subject::KernelLinger64 => "kernel_linger_64",
            Subject::TokioPlain => "tokio_plain",
            Subject::TokioByHand => "tokio_by_hand",
            Subject::TokioPolls => "tokio_polls",
            Subject::EpollByHand => "epoll_by_hand",
            Subject::Blocking => "blocking",
            Subject::CloserEpoll => "closer_epoll",
            Subject::CloserUring => "closer_uring",
            Subject::CloserOffReceipt => "closer_off_receipt",
            Subject::Tokio => "tokio",
            Subject::Go => "go",
            Subject::Node => "node",
            Subject::Asyncio => "asyncio",
        }
    }

    /// Whether it is told what became of its bytes, or at least that the wait for
    /// the ACK is over (SO_LINGER, which does not say how it ended).
    pub(crate) const fn waits(self) -> bool {
        !matches!(
            self,
            Subject::Plain | Subject::TokioPlain | Subject::Asyncio
        )
    }

    /// Whether it closes one connection after the other, so that a delayed ACK
    /// holds up the next.
    const fn is_serial(self) -> bool {
        matches!(self, Subject::KernelLinger1 | Subject::Blocking)
    }

    /// What waits on threads cannot be asked for thousands of delayed ACKs.
    pub(crate) const fn at_most(self, scenario: Scenario) -> usize {
        match (scenario, self) {
            (Scenario::Server, _) => usize::MAX,
            (_, s) if s.is_serial() => 40,
            (_, Subject::KernelLinger64 | Subject::Go) => 640,
            _ => usize::MAX,
        }
    }

    pub(crate) const fn takes_part(self, scenario: Scenario) -> bool {
        match (scenario, self) {
            // Those that read to EOF want a peer that closes.
            (Scenario::PeerCloses | Scenario::Server, _) => true,
            (_, Subject::TokioByHand | Subject::Node) => false,
            // They have no deadlines, or not thousands of them.
            (Scenario::SlowReaders, s) => matches!(
                s,
                Subject::Plain
                    | Subject::TokioPolls
                    | Subject::EpollByHand
                    | Subject::CloserEpoll
                    | Subject::CloserUring
                    | Subject::Tokio
            ),
            (Scenario::Empty | Scenario::DelayedAck, s) => !matches!(s, Subject::TokioPlain),
        }
    }

    pub(crate) fn start(self) -> io::Result<Box<dyn Run>> {
        Ok(match self {
            Subject::Plain => Box::new(kernel::Plain),
            Subject::KernelLinger1 => Box::new(kernel::Linger { threads: 1 }),
            Subject::KernelLinger64 => Box::new(kernel::Linger { threads: 64 }),
            Subject::TokioPlain => Box::new(asynchronous::Tokio::start(asynchronous::End::Drop)?),
            Subject::TokioByHand => {
                Box::new(asynchronous::Tokio::start(asynchronous::End::ByHand)?)
            }
            Subject::TokioPolls => Box::new(asynchronous::Tokio::start(asynchronous::End::Polls)?),
            Subject::EpollByHand => Box::new(by_hand::Epoll::start()?),
            Subject::Blocking => Box::new(blocking::Blocking),
            Subject::CloserEpoll => Box::new(closer::Closer::start(CloserBackend::Epoll, false)?),
            Subject::CloserUring => Box::new(closer::Closer::start(CloserBackend::IoUring, false)?),
            Subject::CloserOffReceipt => {
                Box::new(closer::Closer::start(CloserBackend::Epoll, true)?)
            }
            Subject::Tokio => Box::new(asynchronous::Tokio::start(asynchronous::End::Lastbyte)?),
            Subject::Go | Subject::Node | Subject::Asyncio => {
                return Err(io::Error::other("it is a program of its own"));
            }
        })
    }

    /// The program of a subject that is not in this process; `None` for one that
    /// is.
    pub(crate) fn start_foreign(self) -> Option<io::Result<Foreign>> {
        let language = match self {
            Subject::Go => foreign::Language::Go,
            Subject::Node => foreign::Language::Node,
            Subject::Asyncio => foreign::Language::Python,
            _ => return None,
        };
        Some(Foreign::start(language))
    }
}

/// Reads a request and answers it.
fn answer(mut stream: &TcpStream) -> io::Result<()> {
    use std::io::{Read, Write};
    let mut request = crate::scenario::REQUEST;
    stream.read_exact(&mut request)?;
    stream.write_all(&crate::scenario::RESPONSE)
}

/// Serves on the calling thread; `close` ends each connection.
fn serve_with(
    listener: &TcpListener,
    n: usize,
    mut close: impl FnMut(TcpStream) -> io::Result<()>,
) -> io::Result<()> {
    for _ in 0..n {
        let (stream, _) = listener.accept()?;
        answer(&stream)?;
        close(stream)?;
    }
    Ok(())
}
