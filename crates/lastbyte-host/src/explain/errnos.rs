//! Errors that connections end with.

use super::Entry;
use super::Kind::Errno;

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "ECONNRESET",
        kind: Errno,
        meaning: "The peer sent an RST. What it had not acknowledged is lost; what it had \
                  acknowledged, its application may still not have read. Input that arrived \
                  before the RST can still be read on Linux.",
        todo: "Find out why the peer reset: unread input at its close(), on+0, a crash, a \
               middlebox. On the same host `lastbyte watch` names the process and the reason.",
    },
    Entry {
        name: "EPIPE",
        kind: Errno,
        meaning: "A send after the connection was reset or our side was shut down. The reset \
                  itself was reported before (ECONNRESET), or is hidden because the socket was \
                  in CLOSE_WAIT.",
        todo: "Stop writing; read what is left; treat what was not acknowledged as lost.",
    },
    Entry {
        name: "ETIMEDOUT",
        kind: Errno,
        meaning: "The kernel gave up: no acknowledgement for all retransmissions (tcp_retries2, \
                  about 15 min), for TCP_USER_TIMEOUT, or for the keepalive probes. What was \
                  queued is lost; the peer is told nothing and may believe to be connected.",
        todo: "Set TCP_USER_TIMEOUT (or lastbyte's stall time) to notice sooner; make requests \
               safe to repeat, as the peer may have acted on them.",
    },
    Entry {
        name: "EWOULDBLOCK",
        kind: Errno,
        meaning: "From a lingering close, by its manual: the time ran out, what was unsent is lost. \
                  Linux never says so: there close() returns 0 and goes on in the background. The same \
                  number as EAGAIN.",
        todo: "Check the result of a waiting close; lastbyte gives this error with the bytes lost.",
    },
    Entry {
        name: "EAGAIN",
        kind: Errno,
        meaning: "Nothing can be done now on a non-blocking socket. Not an end. The same number as \
                  EWOULDBLOCK.",
        todo: "Wait with poll or epoll, then try again.",
    },
    Entry {
        name: "ECONNREFUSED",
        kind: Errno,
        meaning: "An RST answered the SYN: nobody listens there (or the backlog overflowed with \
                  tcp_abort_on_overflow=1). No connection was made, nothing was lost.",
        todo: "Check that the service listens on that address and port.",
    },
    Entry {
        name: "ECONNABORTED",
        kind: Errno,
        meaning: "The connection ended before accept() returned it, or was destroyed by \
                  an administrator (ss -K).",
        todo: "Accept the next one.",
    },
    Entry {
        name: "EHOSTUNREACH",
        kind: Errno,
        meaning: "A router or our own kernel says that there is no way to the peer; reported once \
                  the retransmissions end as well.",
        todo: "Look at routes, ARP and firewalls; what was queued is lost.",
    },
    Entry {
        name: "ENETUNREACH",
        kind: Errno,
        meaning: "No route to the peer's network.",
        todo: "Look at the routing table.",
    },
    Entry {
        name: "ENOTCONN",
        kind: Errno,
        meaning: "The socket is not connected (any more): shutdown() after a reset says this.",
        todo: "Read SO_ERROR for the first error; close.",
    },
    Entry {
        name: "EADDRNOTAVAIL",
        kind: Errno,
        meaning: "From connect(): no local port is left toward this destination, most often because \
                  all are in TIME_WAIT.",
        todo: "Reuse connections, let the peer close first, or set net.ipv4.tcp_tw_reuse=1. \
               `lastbyte doctor` names who closes first.",
    },
    Entry {
        name: "EADDRINUSE",
        kind: Errno,
        meaning: "From bind(): the port is in use, also by TIME_WAIT unless SO_REUSEADDR is set; with \
                  port 0, no port is left at all.",
        todo: "Set SO_REUSEADDR on listeners; set IP_BIND_ADDRESS_NO_PORT where bind comes before \
               connect.",
    },
    Entry {
        name: "EINTR",
        kind: Errno,
        meaning: "A signal came. On Linux close() has released the descriptor all the same.",
        todo: "Never close the same number again.",
    },
    Entry {
        name: "EBADF",
        kind: Errno,
        meaning: "Not an open descriptor: closed twice, perhaps over another one that took its number.",
        todo: "Find the second close; own each descriptor in one place.",
    },
    Entry {
        name: "ENOBUFS",
        kind: Errno,
        meaning: "No buffer. Of a netlink socket: messages were dropped because they were not read fast \
                  enough.",
        todo: "Read faster or with a larger receive buffer; `lastbyte watch` counts and says it.",
    },
    Entry {
        name: "EMFILE",
        kind: Errno,
        meaning: "This process has no descriptor left: often leaked CLOSE_WAIT sockets.",
        todo: "Close what ended (`lastbyte doctor` names it); raise RLIMIT_NOFILE.",
    },
];
