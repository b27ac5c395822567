//! What the kernel offers: close(2), alone and with SO_LINGER.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::unistd::Pid;

use super::{Batch, Fates, Pace, Run, answer, serve_with};
use crate::clock;

pub(super) struct Plain;

impl Run for Plain {
    fn close_all(&mut self, batch: Batch<'_>) -> io::Result<Fates> {
        drop(batch.streams);
        (batch.in_flight)();
        Ok(Fates::default())
    }

    fn serve(&mut self, listener: &TcpListener, n: usize) -> io::Result<usize> {
        serve_with(listener, n, |stream| {
            drop(stream);
            Ok(())
        })?;
        clock::threads(Pid::this())
    }
}

pub(super) struct Linger {
    pub(super) threads: usize,
}

const DEADLINE: Duration = Duration::from_secs(5);

impl Run for Linger {
    fn close_all(&mut self, batch: Batch<'_>) -> io::Result<Fates> {
        for (i, stream) in batch.streams.iter().enumerate() {
            lastbyte::Linger::Wait(batch.scenario.deadline(i)).set(stream)?;
        }
        let streams = Mutex::new(batch.streams);
        std::thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(|| close_each(&streams));
            }
            (batch.in_flight)();
            close_each(&streams);
        });
        Ok(Fates::default())
    }

    fn close_paced(&mut self, streams: Vec<TcpStream>, pace: &Pace) -> io::Result<bool> {
        if self.threads > 1 {
            return Ok(false);
        }
        for (i, stream) in streams.into_iter().enumerate() {
            lastbyte::Linger::Wait(DEADLINE).set(&stream)?;
            pace.wait_for(i);
            drop(stream);
            pace.told(i);
        }
        Ok(true)
    }

    fn serve(&mut self, listener: &TcpListener, n: usize) -> io::Result<usize> {
        let taken = AtomicUsize::new(0);
        let work = || {
            while taken.fetch_add(1, Ordering::Relaxed) < n {
                let (stream, _) = listener.accept()?;
                answer(&stream)?;
                lastbyte::Linger::Wait(DEADLINE).set(&stream)?;
            }
            Ok::<_, io::Error>(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..self.threads).map(|_| scope.spawn(work)).collect();
            let count = clock::threads(Pid::this())?;
            work()?;
            for thread in threads {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))?;
            }
            Ok(count)
        })
    }
}

fn close_each(streams: &Mutex<Vec<TcpStream>>) {
    loop {
        // Dropped outside of the lock: this is the close.
        let next = streams.lock().ok().and_then(|mut all| all.pop());
        let Some(_stream) = next else { break };
    }
}
