//! The states of RFC 9293 section 3.3.2, as Linux has them.

use super::Entry;
use super::Kind::State;

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "ESTABLISHED",
        kind: State,
        meaning: "Open both ways. A peer that vanished leaves it so until something is sent or \
                  keepalive asks.",
        todo: "Nothing; for idle connections that must notice a dead peer, SO_KEEPALIVE.",
    },
    Entry {
        name: "SYN_SENT",
        kind: State,
        meaning: "connect() is waiting for an answer.",
        todo: "If it stays: the peer is down or a firewall drops.",
    },
    Entry {
        name: "SYN_RECV",
        kind: State,
        meaning: "A SYN came and was answered; the handshake's last ACK is missing.",
        todo: "Many: a SYN flood, or a full backlog (ListenOverflows).",
    },
    Entry {
        name: "NEW_SYN_RECV",
        kind: State,
        meaning: "Linux's small socket for a handshake in progress (SYN_RECV).",
        todo: "As SYN_RECV.",
    },
    Entry {
        name: "FIN_WAIT1",
        kind: State,
        meaning: "We closed; our FIN, and perhaps data before it, is not acknowledged. Without a \
                  descriptor it is an orphan: nobody will be told if it is lost.",
        todo: "If it stays: the peer does not read (zero window) or is gone. Keep the descriptor and \
               wait with a deadline (lastbyte) to know the outcome.",
    },
    Entry {
        name: "FIN_WAIT2",
        kind: State,
        meaning: "All we sent and our FIN are acknowledged; the peer has not closed its side. \
                  Without a descriptor it ends after tcp_fin_timeout (60 s), and data that arrives \
                  is answered with an RST; with a descriptor it waits without limit.",
        todo: "Bound the wait for the peer's EOF, then close. The peer may leak CLOSE_WAIT.",
    },
    Entry {
        name: "TIME_WAIT",
        kind: State,
        meaning: "We closed first and all is done; for 60 s the pair of ends is kept so that a \
                  lost last ACK can be repeated and old duplicates die. It has no descriptor and no \
                  process.",
        todo: "Usually nothing. Toward one destination the local ports can run out: reuse \
               connections, let the peer close first, tcp_tw_reuse=1. Do not abort with on+0 to \
               avoid it: that discards data.",
    },
    Entry {
        name: "CLOSE",
        kind: State,
        meaning: "Ended, or never begun. Read SO_ERROR and SIOCOUTQ to tell a clean end from a reset.",
        todo: "Close the descriptor.",
    },
    Entry {
        name: "CLOSE_WAIT",
        kind: State,
        meaning: "The peer closed its side; ours is still open. Only the application can go on from \
                  here, by closing.",
        todo: "Close the socket when recv returns 0. If they pile up the program leaks them; no sysctl \
               helps.",
    },
    Entry {
        name: "LAST_ACK",
        kind: State,
        meaning: "The peer closed first, then we; our FIN, and perhaps data before it, is not \
                  acknowledged.",
        todo: "If it stays the peer is gone: the kernel gives up after tcp_orphan_retries.",
    },
    Entry {
        name: "LISTEN",
        kind: State,
        meaning: "Accepts connections. Closing it resets those not yet accepted.",
        todo: "Accept until EAGAIN before closing a listener.",
    },
    Entry {
        name: "CLOSING",
        kind: State,
        meaning: "Both sides closed at once; our FIN is not acknowledged yet.",
        todo: "Nothing; it becomes TIME_WAIT.",
    },
];
