//! Who talks to whom, and in which state.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(crate) use lastbyte_tcp::State;

/// One end of a connection: an address and a port, each unknown when the
/// kernel has cleared it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address; unspecified (`0.0.0.0`) means unknown. An IPv4-mapped IPv6
    /// address is kept as IPv4.
    pub ip: IpAddr,
    /// The port; 0 means unknown.
    pub port: u16,
}

impl Endpoint {
    /// Nothing known.
    pub(crate) const UNKNOWN: Self = Self {
        ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: 0,
    };

    /// From an address and a port.
    #[must_use]
    pub(crate) fn new(ip: IpAddr, port: u16) -> Self {
        let ip = ip.to_canonical();
        // One unknown address only, so that equal means equal.
        if ip.is_unspecified() {
            return Self {
                port,
                ..Self::UNKNOWN
            };
        }
        Self { ip, port }
    }

    /// Whether the address is known.
    #[must_use]
    pub(crate) fn has_ip(self) -> bool {
        !self.ip.is_unspecified()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip(), address.port())
    }
}

impl fmt::Display for Endpoint {
    /// `127.0.0.1:80`, `[::1]:80`; `*` stands for what is unknown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            _ if !self.has_ip() => f.write_str("*")?,
            IpAddr::V4(ip) => write!(f, "{ip}")?,
            IpAddr::V6(ip) => write!(f, "[{ip}]")?,
        }
        match self.port {
            0 => f.write_str(":*"),
            port => write!(f, ":{port}"),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A connection as this host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Our end.
    pub local: Endpoint,
    /// The peer's.
    pub remote: Endpoint,
}

impl Tuple {
    /// Nothing known.
    pub(crate) const UNKNOWN: Self = Self {
        local: Endpoint::UNKNOWN,
        remote: Endpoint::UNKNOWN,
    };

    /// The same connection as the peer's host sees it.
    #[must_use]
    pub(crate) const fn reversed(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
        }
    }

    /// Whether nothing of it is unknown.
    #[must_use]
    pub(crate) fn is_whole(&self) -> bool {
        self.local.port != 0 && self.remote.port != 0 && self.local.has_ip() && self.remote.has_ip()
    }
}

/// A connection's ends and where they are: the same addresses and ports can be in each
/// network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The network namespace, by the watch's own number.
    pub space: u32,
    /// The ends.
    pub tuple: Tuple,
}

/// The local ports that connect() chooses from, `ip_local_port_range`; both are among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl PortRange {
    /// How many there are.
    #[must_use]
    pub(crate) fn count(self) -> u64 {
        u64::from(self.last.saturating_sub(self.first)) + 1
    }

    /// Whether a port is one of them.
    #[must_use]
    pub(crate) fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// Who sent the SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// We connected: our SYN counts among the acknowledged bytes.
    Connected,
    /// We accepted.
    Accepted,
}
