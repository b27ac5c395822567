//! The counters of `/proc/net/netstat`, `/proc/net/snmp` and
//! `/proc/net/sockstat` ([proc_pid_net(5)]).
//!
//! [proc_pid_net(5)]: https://man7.org/linux/man-pages/man5/proc_pid_net.5.html

use std::collections::BTreeMap;

/// Counters by name: `TcpExt.TCPAbortOnData`, `Tcp.EstabResets`, `TCP.tw`.
pub(crate) type Counters = BTreeMap<String, i64>;

/// Reads pairs of lines, names and then numbers, each after `Group:`.
pub(crate) fn pairs(text: &str, into: &mut Counters) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((group, names)), Some((same, values))) =
            (names.split_once(':'), values.split_once(':'))
        else {
            return;
        };
        if group != same {
            return;
        }
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            if let Ok(value) = value.parse() {
                into.insert(format!("{group}.{name}"), value);
            }
        }
    }
}

/// Reads `Group: name number name number …`.
pub(crate) fn inline(text: &str, into: &mut Counters) {
    for line in text.lines() {
        let Some((group, rest)) = line.split_once(':') else {
            continue;
        };
        let mut words = rest.split_whitespace();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            if let Ok(value) = value.parse() {
                into.insert(format!("{group}.{name}"), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_meet_their_numbers() {
        let mut counters = Counters::new();
        pairs(
            "TcpExt: A B\nTcpExt: 1 -2\nIpExt: C\nIpExt: 3\n",
            &mut counters,
        );
        inline(
            "sockets: used 5\nTCP: inuse 3 orphan 0 tw 7\n",
            &mut counters,
        );
        assert_eq!(counters["TcpExt.A"], 1);
        assert_eq!(counters["TcpExt.B"], -2);
        assert_eq!(counters["TCP.tw"], 7);
        assert_eq!(counters.len(), 7);
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "(?s).{0,300}") {
            let mut counters = Counters::new();
            pairs(&text, &mut counters);
            inline(&text, &mut counters);
        }
    }
}
