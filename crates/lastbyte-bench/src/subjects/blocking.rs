//! lastbyte::close on the calling thread.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use nix::unistd::Pid;

use super::{Batch, Fates, Pace, Run, serve_with, wait};
use crate::clock;

pub(super) struct Blocking;

const DEADLINE: Duration = Duration::from_secs(5);

impl Run for Blocking {
    fn close_all(&mut self, batch: Batch<'_>) -> io::Result<Fates> {
        (batch.in_flight)();
        let delivered = batch.streams.len();
        for stream in batch.streams {
            lastbyte::close(stream, wait(DEADLINE))?;
        }
        Ok(Fates {
            delivered,
            overdue: 0,
        })
    }

    fn close_paced(&mut self, streams: Vec<TcpStream>, pace: &Pace) -> io::Result<bool> {
        for (i, stream) in streams.into_iter().enumerate() {
            pace.wait_for(i);
            lastbyte::close(stream, wait(DEADLINE))?;
            pace.told(i);
        }
        Ok(true)
    }

    fn serve(&mut self, listener: &TcpListener, n: usize) -> io::Result<usize> {
        serve_with(listener, n, |stream| {
            lastbyte::close(stream, wait(DEADLINE))?;
            Ok(())
        })?;
        clock::threads(Pid::this())
    }
}
