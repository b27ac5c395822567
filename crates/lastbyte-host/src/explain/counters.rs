//! Counters of `/proc/net/netstat` and `/proc/net/snmp` that tell of endings
//! (kernel: `Documentation/networking/snmp_counter.rst`).

use super::Entry;
use super::Kind::Counter;
use super::entry;

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
    entry(
        "TWRecycled",
        Counter,
        "TIME_WAIT sockets whose ends connect() took again (tcp_tw_reuse).",
        "Nothing.",
    ),
    entry(
        "TWKilled",
        Counter,
        "TIME_WAIT sockets ended early by the kernel (no longer counted by newer kernels).",
        "Nothing.",
    ),
    entry(
        "PAWSTimewait",
        Counter,
        "Segments for TIME_WAIT sockets dropped because their timestamp was too old.",
        "Nothing, unless connects hang: clients behind one NAT whose clocks differ.",
    ),
    entry(
        "EmbryonicRsts",
        Counter,
        "RSTs that came for connections in SYN_RECV.",
        "Clients that give up at once, or scans.",
    ),
    entry(
        "SyncookiesFailed",
        Counter,
        "ACKs that came to a listener with no valid SYN cookie: late ACKs, or segments of connections that this host does not know.",
        "If it grows without a flood, look for unknown-connection with `lastbyte doctor`.",
    ),
    entry(
        "OutOfWindowIcmps",
        Counter,
        "ICMP errors dropped because they named bytes outside the window.",
        "Nothing.",
    ),
    entry(
        "TCPTimeouts",
        Counter,
        "Retransmission timers that fired.",
        "Look at the network, or at peers that vanished.",
    ),
    entry(
        "TCPRetransFail",
        Counter,
        "Retransmissions that could not be sent.",
        "Look at memory and the network device.",
    ),
    entry(
        "TCPSynRetrans",
        Counter,
        "SYNs and SYN-ACKs that were repeated.",
        "Full backlogs (ListenOverflows), or loss.",
    ),
    entry(
        "TCPKeepAlive",
        Counter,
        "Keepalive probes sent.",
        "Nothing.",
    ),
    entry(
        "TCPFromZeroWindowAdv",
        Counter,
        "Times a closed receive window was opened again.",
        "Nothing.",
    ),
    entry(
        "TCPToZeroWindowAdv",
        Counter,
        "Times the receive window was closed because the program did not read.",
        "Look at the program that does not read; its peers cannot deliver.",
    ),
    entry(
        "TCPWantZeroWindowAdv",
        Counter,
        "Times the window should have been closed.",
        "Nothing.",
    ),
    entry(
        "TCPZeroWindowDrop",
        Counter,
        "Segments dropped because the receive window was closed.",
        "Look at the program that does not read.",
    ),
    entry(
        "TCPRcvQDrop",
        Counter,
        "Segments dropped because the receive queue was full.",
        "Look at the program that does not read.",
    ),
    entry(
        "TCPBacklogDrop",
        Counter,
        "Segments dropped because a socket's backlog of segments was full.",
        "Look at overload.",
    ),
    entry(
        "TCPMemoryPressures",
        Counter,
        "Times TCP came under memory pressure (tcp_mem).",
        "Look at which sockets hold the memory.",
    ),
    entry(
        "TCPChallengeACK",
        Counter,
        "ACKs sent in answer to an RST or SYN that did not fit exactly (RFC 5961).",
        "Many: an RST that comes late or from a middlebox.",
    ),
    entry(
        "TCPSYNChallenge",
        Counter,
        "Challenge ACKs for SYNs inside a connection.",
        "A peer that restarted and uses its port again.",
    ),
    entry(
        "TCPACKSkippedFinWait2",
        Counter,
        "Repeated ACKs not sent for a connection in FIN_WAIT2, by rate limit.",
        "Nothing.",
    ),
    entry(
        "TCPACKSkippedTimeWait",
        Counter,
        "Repeated ACKs not sent for a connection in TIME_WAIT, by rate limit.",
        "Nothing.",
    ),
    entry(
        "TCPACKSkippedChallenge",
        Counter,
        "Challenge ACKs not sent, by rate limit.",
        "Nothing.",
    ),
    entry(
        "TCPReqQFullDrop",
        Counter,
        "SYNs dropped because too many handshakes were under way.",
        "Raise the backlog; look for a SYN flood.",
    ),
    entry(
        "TCPReqQFullDoCookies",
        Counter,
        "SYNs answered with a cookie because too many handshakes were under way.",
        "As TCPReqQFullDrop.",
    ),
    entry(
        "TCPDeferAcceptDrop",
        Counter,
        "ACKs not taken for an accept because of TCP_DEFER_ACCEPT.",
        "Nothing.",
    ),
    entry(
        "TCPMigrateReqSuccess",
        Counter,
        "Connections in a backlog that passed to another listener (tcp_migrate_req).",
        "Nothing: they would have been reset.",
    ),
    entry(
        "TCPMigrateReqFailure",
        Counter,
        "Connections in a backlog that could not pass to another listener.",
        "Keep another listener of the SO_REUSEPORT group open.",
    ),
    entry(
        "TCPFastOpenListenOverflow",
        Counter,
        "Fast Open connections refused because too many were not accepted.",
        "Accept faster.",
    ),
    entry(
        "TCPWqueueTooBig",
        Counter,
        "Sends refused because the send queue was too long.",
        "Nothing, unless a program fails by it.",
    ),
    entry(
        "TCPDelivered",
        Counter,
        "Segments that the peer acknowledged.",
        "Nothing.",
    ),
    entry(
        "ActiveOpens",
        Counter,
        "Connections opened by connect().",
        "Nothing.",
    ),
    entry(
        "PassiveOpens",
        Counter,
        "Connections opened by a listener.",
        "Nothing.",
    ),
    entry(
        "CurrEstab",
        Counter,
        "Connections in ESTABLISHED or CLOSE_WAIT now.",
        "Nothing.",
    ),
    entry(
        "RetransSegs",
        Counter,
        "Segments sent again.",
        "Look at the network if it is more than a percent or so of OutSegs.",
    ),
    entry(
        "InErrs",
        Counter,
        "Segments that arrived broken.",
        "Look at the network.",
    ),
    entry(
        "InCsumErrors",
        Counter,
        "Segments whose checksum was wrong.",
        "Look at the network or its card.",
    ),
    entry("InSegs", Counter, "Segments received.", "Nothing."),
    entry("OutSegs", Counter, "Segments sent.", "Nothing."),
];
