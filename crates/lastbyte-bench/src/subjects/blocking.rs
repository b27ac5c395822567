//! lastbyte::close on the calling thread.

use std::io;
use std::net::TcpStream;

use super::{DEADLINE, Run};

pub(super) struct Blocking;

impl Run for Blocking {
    fn close_all(&mut self, streams: Vec<TcpStream>) -> io::Result<()> {
        for stream in streams {
            lastbyte::close(stream, lastbyte::Linger::Wait(DEADLINE))?;
        }
        Ok(())
    }
}
