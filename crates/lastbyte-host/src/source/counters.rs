//! The network namespace's counters.

use std::io;

use super::doing;
use crate::parse::procnet::{Counters, inline, pairs};
use crate::tuple::PortRange;

/// Reads `netstat`, `snmp` and `sockstat` of `/proc/thread-self/net`.
///
/// # Errors
///
/// `/proc` is not mounted or may not be read.
pub(crate) fn read() -> io::Result<Counters> {
    let mut counters = Counters::new();
    let text = |name: &str| {
        let path = format!("/proc/thread-self/net/{name}");
        std::fs::read_to_string(&path).map_err(doing(format!("cannot read {path}")))
    };
    pairs(&text("netstat")?, &mut counters);
    pairs(&text("snmp")?, &mut counters);
    inline(&text("sockstat")?, &mut counters);
    Ok(counters)
}

/// One of `/proc/sys/net/ipv4`, as its words; `None` when it is not there.
#[must_use]
pub(crate) fn sysctl(name: &str) -> Option<Vec<i64>> {
    let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok()?;
    text.split_whitespace()
        .map(|word| word.parse().ok())
        .collect()
}

/// `ip_local_port_range` of the calling thread's network namespace; `None` where it cannot
/// be read.
#[must_use]
pub(crate) fn local_ports() -> Option<PortRange> {
    match sysctl("ip_local_port_range")?[..] {
        [first, last] => Some(PortRange {
            first: u16::try_from(first).ok()?,
            last: u16::try_from(last).ok()?,
        }),
        _ => None,
    }
}
