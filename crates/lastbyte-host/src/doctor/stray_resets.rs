//! RSTs that answered segments of connections that this host does not know.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::tuple::Tuple;

/// Ends of connections, and RSTs, that are remembered.
const LIMIT: usize = 1 << 15;

/// What was seen of them.
///
/// Two sources have to agree: the kernel's tracepoint says that it had no socket for a
/// segment (or only a listener), and the RST itself, seen on its way out, says that the
/// segment was no SYN. A refused connect is one and not the other, and an RST that is
/// merely forwarded is the other and not the one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strays {
    /// Whether both sources are open.
    pub watched: bool,
    /// RSTs on their way out that answered a segment with an ACK.
    sent: HashMap<Tuple, u64>,
    /// What the tracepoint told, each with how often.
    without_socket: HashMap<Tuple, u64>,
    /// Connections that ended during the look: those are known.
    ended: HashSet<Tuple>,
    ended_order: VecDeque<Tuple>,
    /// More was seen than is remembered.
    overflowed: bool,
}

impl Strays {
    /// An RST left this host in answer to a segment that carried an ACK.
    pub(crate) fn sent(&mut self, tuple: Tuple) {
        self.overflowed |= !add(&mut self.sent, tuple);
    }

    /// The kernel had no socket for a segment of these ends; with the remote end unknown
    /// it had a listener only.
    pub(crate) fn without_socket(&mut self, tuple: Tuple) {
        self.overflowed |= !add(&mut self.without_socket, tuple);
    }

    /// A connection ended.
    pub(crate) fn ended(&mut self, tuple: &Tuple) {
        if !self.watched || !self.ended.insert(*tuple) {
            return;
        }
        self.ended_order.push_back(*tuple);
        if self.ended_order.len() > LIMIT
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
            self.overflowed = true;
        }
    }

    /// Some RSTs were not seen.
    pub(crate) fn missed(&mut self) {
        self.overflowed = true;
    }

    /// A connection lives, or is in TIME_WAIT.
    pub(crate) fn known(&mut self, tuple: &Tuple) {
        self.sent.remove(tuple);
    }

    /// The segments that were answered for connections unknown here: the ends, and how
    /// many. `None` where not everything was seen that such a word needs.
    #[must_use]
    pub(crate) fn unknown(&self) -> Option<Vec<(Tuple, u64)>> {
        if !self.watched || self.overflowed {
            return None;
        }
        let mut unknown: Vec<(Tuple, u64)> = self
            .sent
            .iter()
            .filter(|(tuple, _)| !self.ended.contains(tuple))
            .filter_map(|(tuple, sent)| Some((*tuple, (*sent).min(self.answered(tuple)?))))
            .collect();
        unknown.sort_unstable();
        Some(unknown)
    }

    /// How many segments of these ends the kernel had no socket for.
    fn answered(&self, tuple: &Tuple) -> Option<u64> {
        let whole = self.without_socket.get(tuple).copied();
        let by_listener = self
            .without_socket
            .iter()
            .filter(|(told, _)| !told.is_whole() && told.local.port == tuple.local.port)
            .map(|(_, number)| *number)
            .sum::<u64>();
        let answered = whole.unwrap_or(0) + by_listener;
        (answered > 0).then_some(answered)
    }
}

/// Whether there was room.
fn add(table: &mut HashMap<Tuple, u64>, tuple: Tuple) -> bool {
    let room = table.len() < LIMIT || table.contains_key(&tuple);
    if room {
        *table.entry(tuple).or_default() += 1;
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::stray_resets::Strays;
    use crate::tuple::Endpoint;
    use crate::tuple::Tuple;

    fn tuple(local: u16, remote: u16) -> Tuple {
        let end = |port| Endpoint::new([10, 0, 0, 1].into(), port);
        Tuple {
            local: end(local),
            remote: end(remote),
        }
    }

    fn watched() -> Strays {
        Strays {
            watched: true,
            ..Strays::default()
        }
    }

    #[test]
    fn both_sources_have_to_agree() {
        let mut strays = watched();
        // A refused connect: no RST that answers an ACK.
        strays.without_socket(tuple(81, 40000));
        // Forwarded, or of a socket in TIME_WAIT.
        strays.sent(tuple(80, 40001));
        assert_eq!(strays.unknown(), Some(vec![]));
        strays.sent(tuple(82, 40002));
        strays.sent(tuple(82, 40002));
        strays.without_socket(tuple(82, 40002));
        strays.without_socket(tuple(82, 40002));
        assert_eq!(strays.unknown(), Some(vec![(tuple(82, 40002), 2)]));
    }

    #[test]
    fn a_listener_that_got_the_segment_is_told_without_the_remote_end() {
        let mut strays = watched();
        strays.sent(tuple(80, 40000));
        strays.without_socket(Tuple {
            remote: Endpoint::UNKNOWN,
            ..tuple(80, 0)
        });
        assert_eq!(strays.unknown(), Some(vec![(tuple(80, 40000), 1)]));
    }

    #[test]
    fn what_ended_here_or_lives_is_known() {
        let mut strays = watched();
        for remote in [40000, 40001] {
            strays.sent(tuple(80, remote));
            strays.without_socket(tuple(80, remote));
        }
        strays.ended(&tuple(80, 40000));
        strays.known(&tuple(80, 40001));
        assert_eq!(strays.unknown(), Some(vec![]));
    }

    #[test]
    fn nothing_is_said_where_not_everything_was_seen() {
        assert_eq!(Strays::default().unknown(), None);
        let mut strays = watched();
        for remote in 0..=LIMIT {
            strays.ended(&tuple(
                u16::try_from(remote / 60_000).unwrap_or(0) + 1,
                u16::try_from(remote % 60_000 + 1).unwrap_or(1),
            ));
        }
        assert_eq!(strays.unknown(), None);
    }
}
