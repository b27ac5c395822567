//! lastbyte::Closer: all at once, on its one thread.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{DEADLINE, Run};

pub(super) struct Closer(lastbyte::Closer);

impl Closer {
    pub(super) fn start() -> io::Result<Self> {
        lastbyte::Closer::new().map(Self)
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
