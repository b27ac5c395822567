//! Counters of `/proc/net/netstat` and `/proc/net/snmp` that tell of endings
//! (kernel: `Documentation/networking/snmp_counter.rst`).

use super::Entry;
use super::Kind::{Counter, Setting};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "TCPAbortOnData",
        kind: Counter,
        meaning: "Connections we reset because data arrived that nobody can read any more (after \
                  close), or because of SO_LINGER on with zero: Linux counts on+0 here, not in \
                  TCPAbortOnLinger.",
        todo: "Read to the end before closing; do not use on+0 to get rid of TIME_WAIT.",
    },
    Entry {
        name: "TCPAbortOnClose",
        kind: Counter,
        meaning: "Connections we reset because input was unread at close() or exit. The send queue was \
                  lost with it.",
        todo: "Drain the input (bounded) before closing.",
    },
    Entry {
        name: "TCPAbortOnMemory",
        kind: Counter,
        meaning: "Orphans reset because of tcp_max_orphans or tcp_mem, though close() returned 0.",
        todo: "Keep descriptors until data is acknowledged; look at what fills TCP memory.",
    },
    Entry {
        name: "TCPAbortOnTimeout",
        kind: Counter,
        meaning: "Connections given up: retransmissions, TCP_USER_TIMEOUT or keepalive ran out.",
        todo: "Peers vanish; look at networks and at what their queues lost.",
    },
    Entry {
        name: "TCPAbortOnLinger",
        kind: Counter,
        meaning: "Connections reset in FIN_WAIT2 because TCP_LINGER2 allows no wait. Not SO_LINGER.",
        todo: "Do not set TCP_LINGER2 negative.",
    },
    Entry {
        name: "TCPAbortFailed",
        kind: Counter,
        meaning: "RSTs that could not be sent for lack of memory.",
        todo: "Look at memory.",
    },
    Entry {
        name: "TW",
        kind: Counter,
        meaning: "TIME_WAIT sockets that ran their 60 s.",
        todo: "Nothing.",
    },
    Entry {
        name: "TCPTimeWaitOverflow",
        kind: Counter,
        meaning: "Connections that skipped TIME_WAIT because tcp_max_tw_buckets was reached. What \
                  arrives late then gets an RST (NO_SOCKET).",
        todo: "Raise tcp_max_tw_buckets.",
    },
    Entry {
        name: "EstabResets",
        kind: Counter,
        meaning: "Connections that went from ESTABLISHED or CLOSE_WAIT straight to CLOSE: aborted by \
                  us or reset by the peer.",
        todo: "Watch who: `lastbyte watch`.",
    },
    Entry {
        name: "OutRsts",
        kind: Counter,
        meaning: "RSTs sent, those for no connection (port scans) included.",
        todo: "`lastbyte watch` gives each one's reason.",
    },
    Entry {
        name: "AttemptFails",
        kind: Counter,
        meaning: "Connections that failed in the handshake.",
        todo: "Refused or timed-out connects; look at the destinations.",
    },
    Entry {
        name: "ListenOverflows",
        kind: Counter,
        meaning: "Handshakes completed by clients and dropped here because the accept queue was full.",
        todo: "Accept faster; raise the backlog and net.core.somaxconn.",
    },
    Entry {
        name: "ListenDrops",
        kind: Counter,
        meaning: "SYNs and ACKs for listeners dropped for any reason, ListenOverflows included.",
        todo: "As ListenOverflows.",
    },
    Entry {
        name: "TCPOrphanQueued",
        kind: Counter,
        meaning: "A segment could not be acted on for an orphan.",
        todo: "Nothing.",
    },
    Entry {
        name: "tcp_fin_timeout",
        kind: Setting,
        meaning: "How long a closed socket stays in FIN_WAIT2 (60 s). It does not shorten TIME_WAIT.",
        todo: "Leave it.",
    },
    Entry {
        name: "tcp_tw_recycle",
        kind: Setting,
        meaning: "Gone since Linux 4.12; it broke clients behind NAT.",
        todo: "Remove it from your sysctl files.",
    },
    Entry {
        name: "tcp_tw_reuse",
        kind: Setting,
        meaning: "Whether connect() may take a port whose TIME_WAIT is older than 1 s: 0 no, 1 yes, 2 \
                  (default) on loopback only. A test on 127.0.0.1 therefore hides exhaustion.",
        todo: "1 is safe with TCP timestamps on both ends.",
    },
    Entry {
        name: "tcp_max_orphans",
        kind: Setting,
        meaning: "Closed sockets that still hold undelivered data; beyond it they are reset.",
        todo: "Do not leave deliveries to orphans.",
    },
    Entry {
        name: "SO_LINGER",
        kind: Setting,
        meaning: "Off: close returns at once, delivery goes on unless input is unread. On with zero: \
                  abort, RST, data discarded. On with N seconds: close waits for the ACK up to N \
                  seconds; on Linux it then returns 0 all the same, and blocks non-blocking sockets too.",
        todo: "Use lastbyte's close to have what the manual describes.",
    },
];
