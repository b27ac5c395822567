//! lwIP in this process: its sockets, and the packets between its two interfaces.
//!
//! There is one stack in a process, for as long as the process lives.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lastbyte::Errno;

use crate::harness::{Packet, Stamp, Wire};

/// The addresses of the two sides, as stack.c sets them, and the port of the listener.
const CONNECTS: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const ACCEPTS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);
const LISTENER: u16 = 7;
/// How long a full send queue is given before nothing more will go in.
const FULL: Duration = Duration::from_millis(300);

static PACKETS: Mutex<Vec<Packet>> = Mutex::new(Vec::new());
static STARTED: OnceLock<Result<(), Errno>> = OnceLock::new();

// SAFETY: the functions of stack.c, with the types that stand there.
unsafe extern "C" {
    fn lastbyte_lwip_version() -> *const c_char;
    fn lastbyte_lwip_start(packet: extern "C" fn(*const u8, usize, usize)) -> c_int;
    fn lastbyte_lwip_pair(connected: *mut c_int, accepted: *mut c_int) -> c_int;
    fn lastbyte_lwip_set_linger(socket: c_int, onoff: c_int, seconds: c_int) -> c_int;
    fn lastbyte_lwip_linger(socket: c_int, onoff: *mut c_int, seconds: *mut c_int) -> c_int;
    fn lastbyte_lwip_nonblocking(socket: c_int, on: c_int) -> c_int;
    fn lastbyte_lwip_send(socket: c_int, bytes: *const c_void, count: usize) -> c_int;
    fn lastbyte_lwip_recv(socket: c_int, bytes: *mut c_void, count: usize, wait_ms: c_int)
    -> c_int;
    fn lastbyte_lwip_writable(socket: c_int, wait_ms: c_int) -> c_int;
    fn lastbyte_lwip_shutdown_sending(socket: c_int) -> c_int;
    fn lastbyte_lwip_close(socket: c_int) -> c_int;
    fn lastbyte_lwip_lose(port: c_uint);
    fn lastbyte_lwip_state(local: c_uint, remote: c_uint) -> c_int;
}

extern "C" fn packet(bytes: *const u8, captured: usize, full: usize) {
    // SAFETY: lwIP's output hands over a buffer of its own of that length.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, captured) };
    packets().extend(Packet::parse(Stamp::now(), bytes, full));
}

fn packets() -> MutexGuard<'static, Vec<Packet>> {
    PACKETS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn checked(returned: c_int) -> Result<usize, Errno> {
    usize::try_from(returned).map_err(|_| Errno::from_raw(returned.wrapping_neg()))
}

/// The version, as lwIP's header names it.
pub(super) fn version() -> String {
    // SAFETY: a string literal of the C file.
    let text = unsafe { CStr::from_ptr(lastbyte_lwip_version()) };
    text.to_string_lossy().into_owned()
}

/// Starts the stack, if it does not run yet.
pub(super) fn start() -> Result<(), Errno> {
    // SAFETY: called once; the callback lives as long as the process.
    *STARTED.get_or_init(|| checked(unsafe { lastbyte_lwip_start(packet) }).map(drop))
}

/// What a closed connection looks like to its peer: the bytes until the end, and the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) bytes: usize,
    /// Whether they were the bytes that were sent, in their order.
    pub(super) intact: bool,
    /// `None` is EOF; `EWOULDBLOCK` is silence.
    pub(super) end: Option<Errno>,
}

impl std::fmt::Display for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.end {
            None => f.write_str("EOF"),
            Some(Errno::EWOULDBLOCK) => f.write_str("silence"),
            Some(error) => write!(f, "{error}"),
        }
    }
}

/// A socket of lwIP's. It is closed by [`close`](Self::close) alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket(c_int);

/// A close, as its caller saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) called: Stamp,
    pub(super) returned: Stamp,
    pub(super) error: Option<Errno>,
}

impl Closed {
    pub(super) fn took(&self) -> f64 {
        self.returned - self.called
    }
}

impl Socket {
    pub(super) fn linger(self) -> Result<(i32, i32), Errno> {
        let (mut onoff, mut seconds) = (0, 0);
        // SAFETY: both places live through the call.
        checked(unsafe { lastbyte_lwip_linger(self.0, &mut onoff, &mut seconds) })?;
        Ok((onoff, seconds))
    }

    pub(super) fn set_linger(self, (onoff, seconds): (i32, i32)) -> Result<(), Errno> {
        // SAFETY: no pointers; a number that is no socket is refused.
        checked(unsafe { lastbyte_lwip_set_linger(self.0, onoff, seconds) }).map(drop)
    }

    pub(super) fn set_nonblocking(self, on: bool) -> Result<(), Errno> {
        // SAFETY: as above.
        checked(unsafe { lastbyte_lwip_nonblocking(self.0, on.into()) }).map(drop)
    }

    /// Writes up to `most` bytes, as many as window and send queue take. The socket is
    /// blocking afterwards.
    pub(super) fn fill(self, most: usize) -> Result<usize, Errno> {
        self.set_nonblocking(true)?;
        let mut written = 0;
        while written < most {
            let count = (most - written).min(4096);
            let bytes: Vec<u8> = (written..written + count).map(pattern).collect();
            // SAFETY: the buffer has that many bytes and lives through the call.
            match checked(unsafe { lastbyte_lwip_send(self.0, bytes.as_ptr().cast(), count) }) {
                Ok(sent) => written += sent,
                Err(Errno::EWOULDBLOCK) if self.has_room() => {}
                Err(Errno::EWOULDBLOCK) => break,
                Err(error) => return Err(error),
            }
        }
        self.set_nonblocking(false)?;
        Ok(written)
    }

    fn has_room(self) -> bool {
        // SAFETY: no pointers.
        unsafe { lastbyte_lwip_writable(self.0, FULL.as_millis() as c_int) == 1 }
    }

    /// Reads until the end, or until nothing comes for `patience`.
    pub(super) fn read_all(self, patience: Duration) -> Got {
        self.read(usize::MAX, patience)
    }

    /// Reads up to `most` bytes.
    pub(super) fn read(self, most: usize, patience: Duration) -> Got {
        let mut got = Got {
            bytes: 0,
            intact: true,
            end: Some(Errno::EWOULDBLOCK),
        };
        let mut buffer = vec![0; 1 << 16];
        let wait = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
        while got.bytes < most {
            let count = buffer.len().min(most - got.bytes);
            // SAFETY: the buffer has that many bytes and lives through the call.
            let read =
                unsafe { lastbyte_lwip_recv(self.0, buffer.as_mut_ptr().cast(), count, wait) };
            match checked(read) {
                Ok(0) => {
                    got.end = None;
                    break;
                }
                Ok(read) => {
                    let expected = (got.bytes..got.bytes + read).map(pattern);
                    got.intact &= buffer[..read].iter().copied().eq(expected);
                    got.bytes += read;
                }
                Err(error) => {
                    got.end = Some(error);
                    break;
                }
            }
        }
        got
    }

    pub(super) fn shut_down_sending(self) -> Result<(), Errno> {
        // SAFETY: no pointers.
        checked(unsafe { lastbyte_lwip_shutdown_sending(self.0) }).map(drop)
    }

    pub(super) fn close(self) -> Closed {
        let called = Stamp::now();
        // SAFETY: no pointers; the number is not used again where the close succeeds.
        let closed = checked(unsafe { lastbyte_lwip_close(self.0) });
        Closed {
            called,
            returned: Stamp::now(),
            error: closed.err(),
        }
    }

    /// Closes on a thread of its own. `None` where that takes longer than `limit`.
    pub(super) fn close_within(self, limit: Duration) -> Option<Closed> {
        self.begin_close().recv_timeout(limit).ok()
    }

    /// Closes on a thread of its own, which sends how that went.
    pub(super) fn begin_close(self) -> std::sync::mpsc::Receiver<Closed> {
        let (send, closed) = std::sync::mpsc::channel();
        thread::spawn(move || send.send(self.close()));
        closed
    }

    /// Closes with an RST.
    pub(super) fn reset(self) {
        // A socket that refuses that is closed all the same.
        let _ = self.set_linger((1, 0));
        self.close();
    }
}

/// The byte that is sent at a place of the stream.
fn pattern(place: usize) -> u8 {
    (place % 251) as u8
}

/// A connection within the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// The side that is closed.
    pub(super) ours: Socket,
    pub(super) peer: Socket,
    /// The port of the side that connected.
    port: u16,
    we_accept: bool,
}

impl Pair {
    pub(super) fn new(we_accept: bool) -> Result<Self, Errno> {
        let (mut connected, mut accepted) = (0, 0);
        // SAFETY: both places live through the call.
        let port = checked(unsafe { lastbyte_lwip_pair(&mut connected, &mut accepted) })?;
        let (connected, accepted) = (Socket(connected), Socket(accepted));
        let (ours, peer) = match we_accept {
            true => (accepted, connected),
            false => (connected, accepted),
        };
        Ok(Self {
            ours,
            peer,
            port: port as u16,
            we_accept,
        })
    }

    fn our_ports(&self) -> (u16, u16) {
        match self.we_accept {
            true => (LISTENER, self.port),
            false => (self.port, LISTENER),
        }
    }

    /// Loses every packet of this connection from now on; or none of any.
    pub(super) fn lose(&self, lose: bool) {
        // SAFETY: no pointers.
        unsafe { lastbyte_lwip_lose(if lose { self.port.into() } else { 0 }) }
    }

    /// Our side's state; `None` where the stack holds none.
    pub(super) fn state(&self) -> Option<&'static str> {
        const NAMES: [&str; 11] = [
            "CLOSED",
            "LISTEN",
            "SYN_SENT",
            "SYN_RECV",
            "ESTABLISHED",
            "FIN_WAIT1",
            "FIN_WAIT2",
            "CLOSE_WAIT",
            "CLOSING",
            "LAST_ACK",
            "TIME_WAIT",
        ];
        let (local, remote) = self.our_ports();
        // SAFETY: no pointers.
        let state = unsafe { lastbyte_lwip_state(local.into(), remote.into()) };
        NAMES.get(usize::try_from(state).ok()?).copied()
    }

    /// Waits until our side is in `state`. Returns `false` after two seconds.
    ///
    /// No event tells of it, so the stack is asked a millisecond apart.
    pub(super) fn await_state(&self, state: &str) -> bool {
        let until = Instant::now() + Duration::from_secs(2);
        while self.state() != Some(state) {
            if Instant::now() > until {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// The packets of this connection until now.
    pub(super) fn wire(&self) -> Wire {
        let of_it =
            |packet: &Packet| [packet.source.port(), packet.target.port()].contains(&self.port);
        let address = if self.we_accept { ACCEPTS } else { CONNECTS };
        let ours = SocketAddr::from((address, self.our_ports().0));
        Wire::new(ours, packets().iter().copied().filter(of_it).collect())
    }
}
