//! From a reader into a connection, until the input ends or the connection does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lastbyte::Errno;

use crate::platform::{self, unacknowledged};

/// Bytes read and offered to the kernel at once.
const BLOCK: usize = 1 << 16;

/// How far a transfer came.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// Bytes that write() accepted.
    pub(crate) written: u64,
    /// Bytes that were read and never accepted.
    pub(crate) unwritten: u64,
    /// Bytes of the peer's that came meanwhile, and were discarded.
    pub(crate) received: u64,
    /// When the last byte was accepted.
    pub(crate) last_write: Instant,
    /// What ended it before the input did.
    pub(crate) stopped: Option<Stopped>,
}

/// Why a transfer stopped before its input was through.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The input could not be read.
    Input(io::Error),
    /// The connection took no more.
    Connection(Errno),
    /// The peer acknowledged nothing for the stall time.
    Stalled,
}

/// Writes all of `input`. Bytes the peer sends are discarded: unread they would
/// fill the queue, and a peer that answers as it reads would stop reading.
///
/// Leaves the connection non-blocking.
pub(crate) fn transfer(
    input: &mut dyn Read,
    stream: &TcpStream,
    stall: Option<Duration>,
    progress: &dyn Fn(u64),
) -> io::Result<Transfer> {
    stream.set_nonblocking(true)?;
    let mut state = Transfer {
        written: 0,
        unwritten: 0,
        received: 0,
        last_write: Instant::now(),
        stopped: None,
    };
    let mut block = vec![0; BLOCK];
    loop {
        let read = match input.read(&mut block) {
            Ok(0) => return Ok(state),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                state.stopped = Some(Stopped::Input(e));
                return Ok(state);
            }
        };
        let before = state.written;
        let stopped = write_all(&block[..read], stream, stall, &mut state);
        progress(state.written);
        if let Err(stopped) = stopped {
            state.unwritten = read as u64 - (state.written - before);
            state.stopped = Some(stopped);
            return Ok(state);
        }
    }
}

fn write_all(
    mut bytes: &[u8],
    mut stream: &TcpStream,
    stall: Option<Duration>,
    state: &mut Transfer,
) -> Result<(), Stopped> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(n) => {
                bytes = &bytes[n..];
                state.written += n as u64;
                state.last_write = Instant::now();
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => make_room(stream, stall, state)?,
            Err(e) => return Err(broken(&e)),
        }
    }
    Ok(())
}

/// Waits until the connection takes more.
fn make_room(
    stream: &TcpStream,
    stall: Option<Duration>,
    state: &mut Transfer,
) -> Result<(), Stopped> {
    let mut for_input = true;
    let mut queued = unacknowledged(stream).map_err(|e| broken(&e))?;
    loop {
        let Some(ready) = platform::wait(stream, for_input, stall).map_err(|e| broken(&e))? else {
            // Room comes in large pieces; an ACK is progress all the same.
            let now = unacknowledged(stream).map_err(|e| broken(&e))?;
            if now == queued {
                return Err(Stopped::Stalled);
            }
            queued = now;
            continue;
        };
        if ready.input && !discard(stream, state)? {
            for_input = false;
        }
        if ready.room {
            return Ok(());
        }
    }
}

/// Reads what is there. Whether more may come.
fn discard(mut stream: &TcpStream, state: &mut Transfer) -> Result<bool, Stopped> {
    let mut block = vec![0; BLOCK];
    match stream.read(&mut block) {
        Ok(0) => Ok(false),
        Ok(n) => {
            state.received += n as u64;
            Ok(true)
        }
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(true)
        }
        // It is told once: the next write would only say EPIPE.
        Err(e) => Err(broken(&e)),
    }
}

fn broken(error: &io::Error) -> Stopped {
    Stopped::Connection(Errno::from_raw(
        error.raw_os_error().unwrap_or(platform::EIO),
    ))
}
