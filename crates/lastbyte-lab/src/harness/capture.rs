//! Every TCP packet on the loopback interface, sorted by connection.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::ring::Ring;
use super::{Packet, Stamp, Wire};

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conn {
    /// The end whose close is being looked at.
    pub ours: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
}

impl Conn {
    /// The same for both directions.
    fn flow(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
        (a.min(b), a.max(b))
    }
}

/// A running capture. Recording begins with [`start`](Self::start) and ends with
/// the drop.
#[derive(Debug)]
pub struct Capture {
    shared: Arc<Mutex<State>>,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    flows: HashMap<(SocketAddr, SocketAddr), Vec<Packet>>,
    dropped: u64,
}

impl State {
    fn drain(&mut self) {
        let Self { ring, flows, .. } = self;
        ring.drain(|at, bytes, full| {
            let Some(packet) = Packet::parse(at, bytes, full) else {
                return;
            };
            let flow = flows
                .entry(Conn::flow(packet.source, packet.target))
                .or_default();
            // The same ports again: a new connection, unless it is the first SYN again.
            let opens = packet.flags.syn && !packet.flags.ack;
            let again = |p: &Packet| p.source == packet.source && p.seq == packet.seq;
            if opens && flow.first().is_some_and(|first| !again(first)) {
                flow.clear();
            }
            flow.push(packet);
        });
        // A failed question would hide drops; count it as one.
        self.dropped += self.ring.dropped().map_or(1, u64::from);
    }
}

impl Capture {
    /// Begins to record.
    ///
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW in this network namespace.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Mutex::new(State {
            ring: Ring::open()?,
            flows: HashMap::new(),
            dropped: 0,
        }));
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let thread = std::thread::Builder::new().name("capture".into()).spawn({
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            // A second handle for polling: the first is behind the lock.
            let ring = lock(&shared).ring.as_fd().try_clone_to_owned()?;
            move || {
                loop {
                    let mut fds = [
                        PollFd::new(ring.as_fd(), PollFlags::POLLIN),
                        PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                    ];
                    match poll(&mut fds, PollTimeout::NONE) {
                        Err(nix::Error::EINTR) => continue,
                        Err(_) => return,
                        Ok(_) => {}
                    }
                    if fds[1].any().unwrap_or(true) {
                        return;
                    }
                    lock(&shared).drain();
                }
            }
        })?;
        Ok(Self {
            shared,
            stop,
            thread: Some(thread),
        })
    }

    /// Returns what has been on the wire of `conn` until now.
    ///
    /// A packet is recorded before the stack of its receiver sees it, so
    /// whatever an effect has been seen of is in here.
    #[must_use]
    pub fn wire(&self, conn: &Conn) -> Wire {
        let mut state = lock(&self.shared);
        state.drain();
        let packets = state
            .flows
            .get(&Conn::flow(conn.ours, conn.peer))
            .cloned()
            .unwrap_or_default();
        Wire::new(conn.ours, packets)
    }

    /// The connections seen so far that began after `since` and whose far end is
    /// `peer`; others may have had its port before.
    #[must_use]
    pub fn conns_to(&self, peer: SocketAddr, since: Stamp) -> Vec<Conn> {
        let mut state = lock(&self.shared);
        state.drain();
        let other_end = |&(a, b): &(SocketAddr, SocketAddr)| match peer {
            at if at == a => Some(b),
            at if at == b => Some(a),
            _ => None,
        };
        let begun = |packets: &[Packet]| packets.first().is_some_and(|first| first.at >= since);
        let recent = state.flows.iter().filter(|(_, packets)| begun(packets));
        let ours = recent.filter_map(|(ends, _)| other_end(ends));
        ours.map(|ours| Conn { ours, peer }).collect()
    }

    /// Packets lost to the capture so far, of whatever connection.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let mut state = lock(&self.shared);
        state.drain();
        state.dropped
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Writing 1 to a counter at 0 cannot fail or block.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
