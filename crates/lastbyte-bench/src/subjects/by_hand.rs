//! Edge-triggered epoll as one would write it for this purpose alone.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll as Edges, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use nix::unistd::Pid;

use super::{Batch, Fates, Pace, Run, serve_with};
use crate::clock;

pub(super) struct Epoll {
    edges: Edges,
    waiting: Mutex<HashMap<u64, Waiting>>,
}

struct Waiting {
    stream: TcpStream,
    deadline: Instant,
    index: usize,
}

const DEADLINE: Duration = Duration::from_secs(5);

impl Epoll {
    pub(super) fn start() -> io::Result<Self> {
        Ok(Self {
            edges: Edges::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            waiting: Mutex::new(HashMap::new()),
        })
    }

    fn begin(&self, stream: TcpStream, index: usize, deadline: Duration) -> io::Result<()> {
        let key = stream.as_raw_fd() as u64;
        let flags = EpollFlags::EPOLLET
            | EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        stream.shutdown(Shutdown::Write)?;
        self.edges.add(&stream, EpollEvent::new(flags, key))?;
        let deadline = Instant::now() + deadline;
        waiting.insert(
            key,
            Waiting {
                stream,
                deadline,
                index,
            },
        );
        Ok(())
    }

    /// Waits until `n` have come to an end. Deadlines are looked for among all,
    /// every 100 ms: the price of not having a timer structure.
    fn finish(&self, n: usize, mut told: impl FnMut(usize)) -> io::Result<Fates> {
        const LOOK: u16 = 100;
        let mut fates = Fates::default();
        let mut events = vec![EpollEvent::empty(); 256];
        let mut looked = Instant::now();
        while fates.delivered + fates.overdue < n {
            let fired = self.edges.wait(&mut events, EpollTimeout::from(LOOK))?;
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for event in &events[..fired] {
                let key = event.data();
                if waiting.get(&key).is_some_and(|w| queued(&w.stream) == 0)
                    && let Some(done) = waiting.remove(&key)
                {
                    told(done.index);
                    fates.delivered += 1;
                }
            }
            if looked.elapsed() >= Duration::from_millis(LOOK.into()) {
                looked = Instant::now();
                let before = waiting.len();
                waiting.retain(|_, w| {
                    let overdue = looked >= w.deadline;
                    if overdue {
                        let _ = lastbyte::Linger::Abort.set(&w.stream);
                    }
                    !overdue
                });
                fates.overdue += before - waiting.len();
            }
        }
        Ok(fates)
    }
}

impl Run for Epoll {
    fn close_all(&mut self, batch: Batch<'_>) -> io::Result<Fates> {
        let n = batch.streams.len();
        for (i, stream) in batch.streams.into_iter().enumerate() {
            self.begin(stream, i, batch.scenario.deadline(i))?;
        }
        (batch.in_flight)();
        self.finish(n, |_| {})
    }

    fn close_paced(&mut self, streams: Vec<TcpStream>, pace: &Pace) -> io::Result<bool> {
        let n = streams.len();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| self.finish(n, |i| pace.told(i)));
            for (i, stream) in streams.into_iter().enumerate() {
                pace.wait_for(i);
                self.begin(stream, i, DEADLINE)?;
            }
            waiter
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the waiting thread panicked")))?;
            Ok(true)
        })
    }

    fn serve(&mut self, listener: &TcpListener, n: usize) -> io::Result<usize> {
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| self.finish(n, |_| {}));
            serve_with(listener, n, |stream| self.begin(stream, 0, DEADLINE))?;
            let count = clock::threads(Pid::this())?;
            waiter
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the waiting thread panicked")))?;
            Ok(count)
        })
    }
}

pub(super) fn queued(stream: &impl AsRawFd) -> i32 {
    let mut queued = 0;
    // SAFETY: SIOCOUTQ writes one int.
    unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &mut queued) };
    queued
}
