//! RSTs that answered segments of connections nobody here knows: the finding.

use std::collections::BTreeSet;

use super::finding::{Example, Severity, count, list};
use super::{Finding, Observations};

/// Segments of connections that are not known here.
pub(super) fn unknown(seen: &Observations, found: &mut Vec<Finding>) {
    const SHOWN: usize = 3;
    let unknown = seen.strays.unknown().unwrap_or_default();
    let segments: u64 = unknown.iter().map(|(_, number)| number).sum();
    if segments == 0 {
        return;
    }
    let ports: BTreeSet<u16> = unknown.iter().map(|(tuple, _)| tuple.local.port).collect();
    let remotes: BTreeSet<_> = unknown.iter().map(|(tuple, _)| tuple.remote.ip).collect();
    let examples = unknown.iter().take(SHOWN);
    let mut finding = Finding::new(
        "unknown-connection",
        Severity::Warning,
        format!(
            "This host answered {} of {} that it does not know with an RST each (local port{} {}, \
             from {})",
            count(segments, "segment"),
            count(unknown.len() as u64, "connection"),
            if ports.len() == 1 { "" } else { "s" },
            list(&ports),
            list(&remotes),
        ),
        "The segments were no SYN: the other end believes in a connection that is not in this \
         host's table. Either it never was a connection of this host (a NAT or a container host \
         on which conntrack called the segment invalid and did not translate it back, or a \
         balancer that sends to the wrong host), or it ended here before and the peer was not told \
         (a restart, a lost RST). The RST ends the connection for the other end.",
        "On a NAT or container host: net.netfilter.nf_conntrack_tcp_be_liberal=1, or drop what \
         conntrack calls INVALID instead of letting it in; look whether nf_conntrack_max is \
         reached. Elsewhere: keepalive at the peer, so that it notices in time that this end is gone.",
    )
    .count(segments)
    .examples(examples.map(|(tuple, _)| Example::of(tuple, None)).collect());
    finding.ports = ports.into_iter().collect();
    found.push(finding);
}
