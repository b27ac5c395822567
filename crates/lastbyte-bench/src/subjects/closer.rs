//! lastbyte::Closer: all at once, on its one thread.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lastbyte::Backend;

use super::{DEADLINE, Run};

pub(super) struct Closer(lastbyte::Closer);

impl Closer {
    pub(super) fn start(backend: Backend) -> io::Result<Self> {
        let closer = lastbyte::Closer::builder().backend(backend).build()?;
        if closer.backend() != backend {
            return Err(io::Error::other(format!("no {backend:?} to be had here")));
        }
        Ok(Self(closer))
    }
}

impl Run for Closer {
    fn close_all(&mut self, streams: Vec<TcpStream>) -> io::Result<()> {
        let left = Arc::new(AtomicUsize::new(streams.len()));
        let main = std::thread::current();
        // As by hand: the descriptor is closed at delivery, not held for a peer
        // that might still be sending.
        let policy = lastbyte::Policy::wait(DEADLINE).drain_for(Duration::ZERO);
        for stream in streams {
            let left = Arc::clone(&left);
            let main = main.clone();
            self.0.close(stream, policy, move |_| {
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    main.unpark();
                }
            })?;
        }
        while left.load(Ordering::Acquire) > 0 {
            std::thread::park();
        }
        self.0.wait_idle(DEADLINE);
        Ok(())
    }
}
