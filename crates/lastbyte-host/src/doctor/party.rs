//! Who a connection's end belongs to: a program, its part in it, and the service's port.

use serde::Serialize;

use crate::ending::Ending;
use crate::process::{Comm, Process};
use crate::tuple::Role;
use crate::tuple::Tuple;

/// The part that an end has in its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) enum Part {
    /// It accepted the connection.
    Server,
    /// It connected.
    Client,
    /// Not known.
    #[default]
    Unknown,
}

impl Part {
    /// `server` or `client`.
    #[must_use]
    pub(crate) const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Server => Some("server"),
            Self::Client => Some("client"),
            Self::Unknown => None,
        }
    }

    /// What the other end is called.
    #[must_use]
    pub(crate) const fn peer(self) -> &'static str {
        match self {
            Self::Server => "client",
            Self::Client => "server",
            Self::Unknown => "peer",
        }
    }
}

impl From<Role> for Part {
    fn from(role: Role) -> Self {
        match role {
            Role::Connected => Self::Client,
            Role::Accepted => Self::Server,
        }
    }
}

/// What findings are grouped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Party {
    /// The program's name.
    pub name: Option<Comm>,
    /// Its part.
    pub part: Part,
    /// The service's port: the local one of a server, the remote one of a client.
    pub port: Option<u16>,
}

impl Party {
    /// Of a process and its end of a connection. `role` is what is known of who
    /// connected, `listens` whether a port was seen listening on this host.
    #[must_use]
    pub(crate) fn of(
        process: Option<Process>,
        role: Option<Role>,
        tuple: &Tuple,
        listens: impl Fn(u16) -> bool,
    ) -> Self {
        let (local, remote) = (tuple.local.port, tuple.remote.port);
        let part = match role {
            Some(role) => role.into(),
            None if listens(local) => Part::Server,
            None if listens(remote) => Part::Client,
            None => Part::Unknown,
        };
        let port = match part {
            Part::Server => local,
            Part::Client => remote,
            // Services have the lower number, as a rule.
            Part::Unknown => local.min(remote),
        };
        Self {
            name: process.map(|p| p.comm).filter(|comm| !comm.is_empty()),
            part,
            port: Some(port).filter(|port| *port != 0),
        }
    }

    /// Of an ended connection's end.
    #[must_use]
    pub(crate) fn of_ending(ending: &Ending, listens: impl Fn(u16) -> bool) -> Self {
        Self::of(process(ending), ending.manner.role, &ending.tuple, listens)
    }
}

/// The process that ended it. A thread has a name of its own: the process's is taken
/// where it is known.
pub(super) fn process(ending: &Ending) -> Option<Process> {
    match (ending.closer, ending.owner) {
        (Some(closer), Some(owner)) if closer.pid == owner.pid => Some(owner),
        (closer, owner) => closer.or(owner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::Endpoint;

    #[test]
    fn the_port_is_the_services_on_both_sides() {
        let end = |port| Endpoint::new([10, 0, 0, 1].into(), port);
        let server = Tuple {
            local: end(80),
            remote: end(40000),
        };
        let part = |tuple: &Tuple, role, listening| {
            let party = Party::of(None, role, tuple, |port| listening && port == 80);
            (party.part, party.port)
        };
        let client = server.reversed();
        assert_eq!(part(&server, None, true), (Part::Server, Some(80)));
        assert_eq!(part(&client, None, true), (Part::Client, Some(80)));
        assert_eq!(part(&client, None, false), (Part::Unknown, Some(80)));
        let role = Some(Role::Accepted);
        assert_eq!(part(&client, role, false), (Part::Server, Some(40000)));
    }
}
