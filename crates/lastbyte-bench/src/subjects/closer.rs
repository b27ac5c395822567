//! lastbyte::Closer: all at once, on its one thread.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use lastbyte::{CloserBackend, Fate, Policy};

use nix::unistd::Pid;

use super::{Batch, Fates, Pace, Run, serve_with, wait};
use crate::clock;

pub(super) struct Closer {
    closer: lastbyte::Closer,
    by_receipt: bool,
}

const DEADLINE: Duration = Duration::from_secs(5);

impl Closer {
    pub(super) fn start(backend: CloserBackend, by_receipt: bool) -> io::Result<Self> {
        let closer = lastbyte::Closer::builder().backend(backend).build()?;
        if closer.backend() != backend {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the kernel has no io_uring for us",
            ));
        }
        Ok(Self { closer, by_receipt })
    }

    fn policy(&self, wait: Policy) -> Policy {
        if self.by_receipt {
            Policy::off().with_receipt(true)
        } else {
            wait
        }
    }

    /// Every report has been given and every descriptor closed.
    fn finish(&self, count: &Count) -> io::Result<Fates> {
        while count.left.load(Ordering::Acquire) > 0 {
            std::thread::park();
        }
        let _ = self.closer.wait_idle(DEADLINE);
        let fates = Fates {
            delivered: count.delivered.load(Ordering::Relaxed),
            overdue: count.overdue.load(Ordering::Relaxed),
        };
        Ok(fates)
    }
}

struct Count {
    left: AtomicUsize,
    delivered: AtomicUsize,
    overdue: AtomicUsize,
    waits: Thread,
}

impl Count {
    fn of(n: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(n),
            delivered: AtomicUsize::new(0),
            overdue: AtomicUsize::new(0),
            waits: std::thread::current(),
        })
    }

    fn note(&self, result: Result<lastbyte::Report, lastbyte::CloseError>) {
        let fate = match &result {
            Ok(report) => Some(report.fate),
            Err(error) => error.fate(),
        };
        match fate {
            Some(Fate::Delivered | Fate::Confirmed) => &self.delivered,
            Some(Fate::TimedOut) => &self.overdue,
            // Neither: the sum tells.
            _ => return self.one_less(),
        }
        .fetch_add(1, Ordering::Relaxed);
        self.one_less();
    }

    fn one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waits.unpark();
        }
    }
}

impl Run for Closer {
    fn close_all(&mut self, mut batch: Batch<'_>) -> io::Result<Fates> {
        let streams = std::mem::take(&mut batch.streams);
        let count = Count::of(streams.len());
        for (i, stream) in streams.into_iter().enumerate() {
            let count = Arc::clone(&count);
            let policy = self.policy(batch.policy(i));
            self.closer
                .close(stream, policy, move |result| count.note(result))?;
        }
        (batch.in_flight)();
        self.finish(&count)
    }

    fn close_paced(&mut self, streams: Vec<TcpStream>, pace: &Pace) -> io::Result<bool> {
        let count = Count::of(streams.len());
        for (i, stream) in streams.into_iter().enumerate() {
            let count = Arc::clone(&count);
            let told = pace.clone();
            pace.wait_for(i);
            self.closer
                .close(stream, self.policy(wait(DEADLINE)), move |result| {
                    told.told(i);
                    count.note(result);
                })?;
        }
        self.finish(&count)?;
        Ok(true)
    }

    fn serve(&mut self, listener: &TcpListener, n: usize) -> io::Result<usize> {
        let count = Count::of(n);
        serve_with(listener, n, |stream| {
            let count = Arc::clone(&count);
            self.closer
                .close(stream, self.policy(wait(DEADLINE)), move |result| {
                    count.note(result);
                })?;
            Ok(())
        })?;
        let fates = self.finish(&count)?;
        match fates.delivered {
            delivered if delivered == n => clock::threads(Pid::this()),
            delivered => Err(io::Error::other(format!("{delivered} of {n} delivered"))),
        }
    }
}
