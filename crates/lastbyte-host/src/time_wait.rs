//! TIME_WAIT by direction, and the local ports that are left to connect from.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::tuple::{Endpoint, Place, PortRange, Tuple};

/// TIME_WAIT sockets that share what a new connection would have to differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Direction {
    /// We connected: from this address to that destination; the local ports are
    /// what runs out.
    Out {
        /// Our address.
        from: IpAddr,
        /// The destination.
        to: Endpoint,
    },
    /// We accepted, on this port.
    In {
        /// Our end.
        on: Endpoint,
    },
}

impl Direction {
    /// Which way a connection went; `listens` says whether its local port does.
    #[must_use]
    pub(crate) fn of(tuple: &Tuple, listens: bool) -> Self {
        match listens {
            true => Self::In { on: tuple.local },
            false => Self::Out {
                from: tuple.local.ip,
                to: tuple.remote,
            },
        }
    }
}

/// How many sockets are in TIME_WAIT, and how many local ports are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeWait {
    /// The sockets by network namespace, which the watch numbers, and direction.
    pub(crate) directions: HashMap<(u32, Direction), Sockets>,
    /// The ports there are in the network namespace that has the fewest.
    ports: Option<u64>,
}

/// The sockets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// In TIME_WAIT.
    pub waiting: u64,
    /// Local ports taken, by TIME_WAIT or by a connection that lives; of an incoming
    /// direction 0.
    pub taken: u64,
    /// Local ports left to connect from; `None` of an incoming direction, and where the
    /// kernel does not tell which there are.
    pub left: Option<u64>,
}

impl TimeWait {
    /// Counts the sockets in TIME_WAIT, and those that live beside them, by direction.
    /// `listens` says of a network namespace and a port whether something listens there,
    /// `ports` which local ports a network namespace has, `all_ports` which each one has.
    pub(crate) fn count(
        waiting: &[Place],
        living: impl Iterator<Item = Place>,
        listens: impl Fn(u32, u16) -> bool,
        ports: impl Fn(u32) -> Option<PortRange>,
        all_ports: impl Iterator<Item = PortRange>,
    ) -> Self {
        let mut directions: HashMap<_, Sockets> = HashMap::new();
        let taken = |place: &Place| {
            let among = |range: PortRange| range.contains(place.tuple.local.port);
            u64::from(ports(place.space).is_some_and(among))
        };
        let key = |place: &Place| {
            let listens = listens(place.space, place.tuple.local.port);
            (place.space, Direction::of(&place.tuple, listens))
        };
        for place in waiting {
            let sockets = directions.entry(key(place)).or_default();
            sockets.waiting += 1;
            sockets.taken += taken(place);
        }
        for place in living.filter(|place| place.tuple.is_whole()) {
            if let (space, out @ Direction::Out { .. }) = key(&place) {
                directions.entry((space, out)).or_default().taken += taken(&place);
            }
        }
        for ((space, direction), sockets) in &mut directions {
            match direction {
                Direction::In { .. } => sockets.taken = 0,
                Direction::Out { .. } => {
                    let all = ports(*space).map(PortRange::count);
                    sockets.left = all.map(|all| all.saturating_sub(sockets.taken));
                }
            }
        }
        Self {
            directions,
            ports: all_ports.map(PortRange::count).min(),
        }
    }

    /// Returns how many sockets are in TIME_WAIT.
    #[must_use]
    pub fn sockets(&self) -> u64 {
        self.directions
            .values()
            .map(|sockets| sockets.waiting)
            .sum()
    }

    /// Returns how many local ports are left toward the destination that has the fewest;
    /// `None` where the kernel does not tell which ports there are.
    #[must_use]
    pub fn fewest_ports_left(&self) -> Option<u64> {
        let left = self.directions.values().filter_map(|sockets| sockets.left);
        left.chain(self.ports).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LISTENS: u16 = 80;

    fn place(space: u32, port: u16, to: u16) -> Place {
        let end = |port| Endpoint::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let (local, remote) = (end(port), end(to));
        let tuple = Tuple { local, remote };
        Place { space, tuple }
    }

    fn count(waiting: &[Place], living: &[Place], ports: Option<(u16, u16)>) -> TimeWait {
        let living = living.iter().copied();
        let ports = ports.map(|(first, last)| PortRange { first, last });
        let listens = |_, port| port == LISTENS;
        TimeWait::count(waiting, living, listens, |_| ports, ports.into_iter())
    }

    #[test]
    fn ports_are_left_by_destination_and_living_connections_take_them_as_well() {
        let waiting = [
            place(0, 1001, 7),
            place(0, 1002, 7),
            place(0, 1001, 8),
            place(0, LISTENS, 9),
            // The same ends elsewhere take nothing here.
            place(1, 1004, 7),
        ];
        let living = [
            place(0, 1003, 7),
            place(0, 9999, 7),
            place(0, LISTENS, 1004),
        ];
        let seen = count(&waiting, &living, Some((1000, 1009)));
        assert_eq!(seen.sockets(), 5);
        // 9999 is none that connect() takes by itself.
        assert_eq!(seen.fewest_ports_left(), Some(10 - 3));
        assert_eq!(seen.directions.len(), 4);
    }

    #[test]
    fn ports_that_the_kernel_does_not_tell_are_unknown() {
        let seen = count(&[place(0, 1001, 7)], &[], None);
        assert_eq!((seen.sockets(), seen.fewest_ports_left()), (1, None));
        let incoming = count(&[place(0, LISTENS, 7)], &[], Some((5, 5)));
        assert_eq!(
            (incoming.sockets(), incoming.fewest_ports_left()),
            (1, Some(1))
        );
    }
}
