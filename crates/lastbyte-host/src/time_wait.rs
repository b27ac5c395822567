//! TIME_WAIT by direction, and the local ports that are left to connect from.

use std::collections::HashMap;
use std::io;

use crate::doctor::Direction;
use crate::source::counters::sysctl;
use crate::tuple::{State, Tuple};
use crate::watcher::Watcher;

/// A count of the sockets that are in TIME_WAIT or hold a local port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeWait {
    /// The sockets of each direction.
    pub directions: HashMap<Direction, Sockets>,
    /// The ports that connect() takes by itself; `None` where the kernel does not tell.
    ports: Option<(u16, u16)>,
}

/// The sockets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// In TIME_WAIT.
    pub waiting: u64,
    /// Local ports taken, by TIME_WAIT or by a connection that lives; of an incoming
    /// direction 0.
    pub ports: u64,
}

impl TimeWait {
    /// Counts the sockets of the network namespace that is watched.
    ///
    /// # Errors
    ///
    /// A source broke.
    pub fn look(watcher: &mut Watcher) -> io::Result<Self> {
        let mut waiting = Vec::new();
        watcher.dump(State::TimeWait.bit(), |socket| {
            if socket.state == State::TimeWait {
                waiting.push(socket.tuple);
            }
        })?;
        let joiner = watcher.joiner();
        let living = joiner.living().map(|(_, socket)| socket);
        let living = living.filter(|socket| socket.state != State::Listen);
        Ok(Self::count(
            &waiting,
            living.map(|socket| socket.tuple),
            |port| joiner.listens(port),
            ports(),
        ))
    }

    fn count(
        waiting: &[Tuple],
        living: impl Iterator<Item = Tuple>,
        listens: impl Fn(u16) -> bool,
        ports: Option<(u16, u16)>,
    ) -> Self {
        let mut directions: HashMap<Direction, Sockets> = HashMap::new();
        let taken = |tuple: &Tuple| {
            let among = |(first, last)| (first..=last).contains(&tuple.local.port);
            u64::from(ports.is_some_and(among))
        };
        for tuple in waiting {
            let direction = direction(tuple, &listens);
            let sockets = directions.entry(direction).or_default();
            sockets.waiting += 1;
            if matches!(direction, Direction::Out { .. }) {
                sockets.ports += taken(tuple);
            }
        }
        for tuple in living.filter(Tuple::is_whole) {
            let direction = direction(&tuple, &listens);
            if matches!(direction, Direction::Out { .. }) {
                directions.entry(direction).or_default().ports += taken(&tuple);
            }
        }
        Self { directions, ports }
    }

    /// How many are in TIME_WAIT.
    #[must_use]
    pub fn sockets(&self) -> u64 {
        self.directions
            .values()
            .map(|sockets| sockets.waiting)
            .sum()
    }

    /// The local ports that are left toward a destination; `None` where the kernel
    /// does not tell which there are.
    #[must_use]
    pub fn ports_left(&self, sockets: Sockets) -> Option<u64> {
        let (first, last) = self.ports?;
        let all = u64::from(last.saturating_sub(first)) + 1;
        Some(all.saturating_sub(sockets.ports))
    }

    /// The local ports that are left toward the destination that has the fewest.
    #[must_use]
    pub fn fewest_ports_left(&self) -> Option<u64> {
        let most = self.directions.values().map(|sockets| sockets.ports).max();
        self.ports_left(Sockets {
            ports: most.unwrap_or(0),
            waiting: 0,
        })
    }
}

fn direction(tuple: &Tuple, listens: impl Fn(u16) -> bool) -> Direction {
    match listens(tuple.local.port) {
        true => Direction::In { on: tuple.local },
        false => Direction::Out {
            from: tuple.local.ip,
            to: tuple.remote,
        },
    }
}

/// `ip_local_port_range` of the calling thread's network namespace.
fn ports() -> Option<(u16, u16)> {
    match sysctl("ip_local_port_range")?[..] {
        [first, last] => Some((u16::try_from(first).ok()?, u16::try_from(last).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Endpoint;
    use std::net::{IpAddr, Ipv4Addr};

    const LISTENS: u16 = 80;

    fn tuple(port: u16, to: u16) -> Tuple {
        let end = |port| Endpoint::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Tuple {
            local: end(port),
            remote: end(to),
        }
    }

    fn count(waiting: &[Tuple], living: &[Tuple], ports: Option<(u16, u16)>) -> TimeWait {
        let living = living.iter().copied();
        TimeWait::count(waiting, living, |port| port == LISTENS, ports)
    }

    #[test]
    fn ports_are_left_by_destination_and_living_connections_take_them_as_well() {
        let waiting = [
            tuple(1001, 7),
            tuple(1002, 7),
            tuple(1001, 8),
            tuple(LISTENS, 9),
        ];
        let living = [tuple(1003, 7), tuple(9999, 7), tuple(LISTENS, 1004)];
        let seen = count(&waiting, &living, Some((1000, 1009)));
        assert_eq!(seen.sockets(), 4);
        // 9999 is none that connect() takes by itself.
        assert_eq!(seen.fewest_ports_left(), Some(10 - 3));
        assert_eq!(seen.directions.len(), 3);
    }

    #[test]
    fn ports_that_the_kernel_does_not_tell_are_unknown() {
        let seen = count(&[tuple(1001, 7)], &[], None);
        assert_eq!((seen.sockets(), seen.fewest_ports_left()), (1, None));
        assert_eq!(count(&[], &[], Some((5, 5))).fewest_ports_left(), Some(1));
    }
}
