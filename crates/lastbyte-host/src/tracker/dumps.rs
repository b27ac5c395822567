//! What the dumps of living sockets show: a sample of each, and which ports listen.

use super::{SAMPLES, Tracker};
use crate::evidence::history::Nanos;
use crate::evidence::last_sample::LastSample;
use crate::evidence::payload::control_bytes;
use crate::parse::inet_diag::Socket;
use crate::process::Process;
use crate::tuple::State;

impl Tracker {
    /// A dump begins: what it does not show again is forgotten at its end.
    pub(crate) fn begin_round(&mut self, at: Nanos) {
        self.round_began = at;
        self.round = self.round.wrapping_add(1);
    }

    /// A row of the dump.
    pub(crate) fn row(&mut self, at: Nanos, socket: &Socket) {
        self.listener(socket);
        let before = self.samples.get(&socket.cookie).map(|sample| &**sample);
        if before.is_none() && self.samples.len() >= SAMPLES {
            self.counts.unfollowed += 1;
            return;
        }
        let sample = LastSample::new(at, (self.round, self.round_began), socket, before);
        self.samples.insert(socket.cookie, Box::new(sample));
    }

    /// A listener, seen between two dumps.
    pub(crate) fn listener(&mut self, socket: &Socket) {
        if socket.state == State::Listen {
            self.set_listening(socket.space, socket.tuple.local.port);
        }
    }

    /// The dump is over. `owner` tells who holds an inode, and by which
    /// descriptor.
    pub(crate) fn end_round(&mut self, mut owner: impl FnMut(u32) -> Option<(Process, u32)>) {
        let round = self.round;
        // One round's grace: the destroy notice of a socket that just left the table
        // may still be on its way, and a socket that ended but is held open
        // leaves the table long before.
        let joined = self.joined;
        self.samples.retain(|_, sample| {
            round.wrapping_sub(sample.round) <= 1
                || sample.at >= joined
                || sample.inode != 0 && round.wrapping_sub(sample.round) <= 60
        });
        for sample in self
            .samples
            .values_mut()
            .filter(|sample| sample.round == round)
        {
            if sample.inode != 0 {
                sample.owner = owner(sample.inode).or(sample.owner);
            }
        }
    }

    /// Whether a living socket has a descriptor but no known owner.
    #[must_use]
    pub(crate) fn owners_wanted(&self) -> bool {
        self.samples
            .values()
            .any(|s| s.round == self.round && s.inode != 0 && s.owner.is_none())
    }

    /// Whether which ports listen would tell more of some of these destroy notices: only
    /// one of SYN and FIN is among what was acknowledged.
    #[must_use]
    pub(crate) fn wants_listeners(&self, notices: &[(Nanos, Socket)]) -> bool {
        notices.iter().any(|(_, socket)| {
            let counts = socket.info.and_then(|info| info.counts);
            let control = counts.and_then(|counts| control_bytes(&counts, socket.wqueue));
            let sample = self.samples.get(&socket.cookie);
            let known = self.listens_in(socket.space, socket.tuple.local.port)
                || self.dead.contains_key(&socket.cookie)
                || sample.is_some_and(|sample| sample.role.is_some());
            control == Some(1) && !known
        })
    }

    /// Whether a port was seen listening, in any network namespace that is watched.
    #[must_use]
    pub(crate) fn listens(&self, port: u16) -> bool {
        self.listening.values().any(|ports| has(ports, port))
    }

    /// Whether a port was seen listening in a network namespace.
    #[must_use]
    pub(crate) fn listens_in(&self, space: u32, port: u16) -> bool {
        self.listening
            .get(&space)
            .is_some_and(|ports| has(ports, port))
    }

    pub(super) fn set_listening(&mut self, space: u32, port: u16) {
        let ports = self.listening.entry(space);
        let ports = ports.or_insert_with(|| Box::new([0; 1024]));
        ports[usize::from(port) / 64] |= 1 << (port % 64);
    }
}

fn has(ports: &[u64; 1024], port: u16) -> bool {
    ports[usize::from(port) / 64] & (1 << (port % 64)) != 0
}
