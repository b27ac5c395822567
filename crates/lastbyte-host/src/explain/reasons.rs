//! Why the kernel sent an RST: `enum sk_rst_reason`.

use super::Entry;
use super::Kind::Reason;

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "NOT_SPECIFIED",
        kind: Reason,
        meaning: "An RST was sent: the kernel gives no reason.",
        todo: "Look at what happened just before on that connection.",
    },
    Entry {
        name: "NO_SOCKET",
        kind: Reason,
        meaning: "An RST was sent: a segment arrived for a connection that is no more.",
        todo: "One side still believes in a connection that the other has forgotten: a timeout, a crash, a restart, or TIME_WAIT skipped (TCPTimeWaitOverflow).",
    },
    Entry {
        name: "TCP_INVALID_ACK_SEQUENCE",
        kind: Reason,
        meaning: "An RST was sent: an ACK did not fit the handshake.",
        todo: "A half-open peer or a port reused too soon; usually heals by itself.",
    },
    Entry {
        name: "TCP_RFC7323_PAWS",
        kind: Reason,
        meaning: "An RST was sent: a segment's timestamp was too old (PAWS).",
        todo: "Clocks of timestamps went back: NAT or load balancer mixing hosts.",
    },
    Entry {
        name: "TCP_TOO_OLD_ACK",
        kind: Reason,
        meaning: "An RST was sent: an ACK was too old.",
        todo: "Old duplicates, or a middlebox that changes sequence numbers.",
    },
    Entry {
        name: "TCP_ACK_UNSENT_DATA",
        kind: Reason,
        meaning: "An RST was sent: a segment acknowledged data that was never sent.",
        todo: "A middlebox, or a peer that mixed up connections.",
    },
    Entry {
        name: "TCP_FLAGS",
        kind: Reason,
        meaning: "An RST was sent: a segment carried flags that the state forbids.",
        todo: "A broken or hostile peer.",
    },
    Entry {
        name: "TCP_OLD_ACK",
        kind: Reason,
        meaning: "An RST was sent: an ACK was older than the handshake.",
        todo: "A half-open peer; usually heals by itself.",
    },
    Entry {
        name: "TCP_ABORT_ON_DATA",
        kind: Reason,
        meaning: "An RST was sent: data arrived after close().",
        todo: "Read to the end before closing: shutdown(SHUT_WR), read until recv returns 0, close. The send queue was lost with the RST.",
    },
    Entry {
        name: "TCP_TIMEWAIT_SOCKET",
        kind: Reason,
        meaning: "An RST was sent: a segment arrived after the connection was closed.",
        todo: "The peer sent after we had fully closed. What we sent was delivered; what it sent is lost. Agree on who closes when.",
    },
    Entry {
        name: "INVALID_SYN",
        kind: Reason,
        meaning: "An RST was sent: a SYN arrived inside the connection.",
        todo: "A peer restarted and reused its port, or an attack.",
    },
    Entry {
        name: "TCP_ABORT_ON_CLOSE",
        kind: Reason,
        meaning: "An RST was sent: closed with unread input.",
        todo: "Drain the input (bounded) before close(), or the peer loses the answer.",
    },
    Entry {
        name: "TCP_ABORT_ON_LINGER",
        kind: Reason,
        meaning: "An RST was sent: TCP_LINGER2 forbids waiting for the peer's FIN.",
        todo: "Do not set TCP_LINGER2 negative.",
    },
    Entry {
        name: "TCP_ABORT_ON_MEMORY",
        kind: Reason,
        meaning: "An RST was sent: too many orphans, or TCP memory short.",
        todo: "Keep descriptors until data is acknowledged, so that no orphans are needed.",
    },
    Entry {
        name: "TCP_STATE",
        kind: Reason,
        meaning: "An RST was sent: closed with SO_LINGER on and zero, or disconnected.",
        todo: "If it was SO_LINGER on with zero: it discards queued data; close normally unless that is meant. If a listener closed: accept until EAGAIN first.",
    },
    Entry {
        name: "TCP_KEEPALIVE_TIMEOUT",
        kind: Reason,
        meaning: "An RST was sent: keepalive probes were not answered.",
        todo: "The peer is gone, or the path is.",
    },
    Entry {
        name: "TCP_DISCONNECT_WITH_DATA",
        kind: Reason,
        meaning: "An RST was sent: disconnected with data unsent.",
        todo: "connect(AF_UNSPEC) on a socket with data queued discards it.",
    },
    Entry {
        name: "MPTCP_RST_EUNSPEC",
        kind: Reason,
        meaning: "An RST was sent: MPTCP: unspecified error.",
        todo: "Look at the MPTCP path manager's settings.",
    },
    Entry {
        name: "MPTCP_RST_EMPTCP",
        kind: Reason,
        meaning: "An RST was sent: MPTCP: protocol error.",
        todo: "Look at the MPTCP path manager's settings.",
    },
    Entry {
        name: "MPTCP_RST_ERESOURCE",
        kind: Reason,
        meaning: "An RST was sent: MPTCP: out of resources.",
        todo: "Look at the MPTCP path manager's settings.",
    },
    Entry {
        name: "MPTCP_RST_EPROHIBIT",
        kind: Reason,
        meaning: "An RST was sent: MPTCP: forbidden by policy.",
        todo: "Look at the MPTCP path manager's settings.",
    },
    Entry {
        name: "MPTCP_RST_EWQ2BIG",
        kind: Reason,
        meaning: "An RST was sent: MPTCP: too much outstanding data.",
        todo: "Look at the MPTCP path manager's settings.",
    },
    Entry {
        name: "MPTCP_RST_EBADPERF",
        kind: Reason,
        meaning: "An RST was sent: MPTCP: path too slow.",
        todo: "Look at the MPTCP path manager's settings.",
    },
    Entry {
        name: "MPTCP_RST_EMIDDLEBOX",
        kind: Reason,
        meaning: "An RST was sent: MPTCP: a middlebox interferes.",
        todo: "Look at the MPTCP path manager's settings.",
    },
    Entry {
        name: "ERROR",
        kind: Reason,
        meaning: "An RST was sent: the kernel gives no reason.",
        todo: "Look at what happened just before on that connection.",
    },
    Entry {
        name: "SOCK_DESTROY",
        kind: Reason,
        meaning: "Somebody had the kernel destroy the connection from outside (`ss -K`, a BPF program); \
                  its program is told ECONNABORTED and the peer gets an RST.",
        todo: "`closer_pid` of `lastbyte watch` is who did it.",
    },
];
