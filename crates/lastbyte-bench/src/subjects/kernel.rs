//! What the kernel offers: close(2), alone and with SO_LINGER.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use super::{DEADLINE, Run};

pub(super) struct Plain;

impl Run for Plain {
    fn close_all(&mut self, streams: Vec<TcpStream>) -> io::Result<()> {
        drop(streams);
        Ok(())
    }
}

pub(super) struct Linger {
    pub(super) threads: usize,
}

impl Run for Linger {
    fn close_all(&mut self, streams: Vec<TcpStream>) -> io::Result<()> {
        for stream in &streams {
            lastbyte::Linger::Wait(DEADLINE).set(stream)?;
        }
        let streams = Mutex::new(streams);
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    loop {
                        // Dropped outside of the lock: this is the close.
                        let next = streams.lock().ok().and_then(|mut all| all.pop());
                        let Some(_stream) = next else { break };
                    }
                });
            }
        });
        Ok(())
    }
}
