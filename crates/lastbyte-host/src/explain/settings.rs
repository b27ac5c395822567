//! Sysctls and options that cures name, and calls that bear on them.

use super::Entry;
use super::Kind::Setting;
use super::entry;

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "tcp_fin_timeout",
        Setting,
        "How long a closed socket stays in FIN_WAIT2 (60 s). It does not shorten TIME_WAIT.",
        "Leave it.",
    ),
    entry(
        "tcp_tw_recycle",
        Setting,
        "Gone since Linux 4.12; it broke clients behind NAT.",
        "Remove it from your sysctl files.",
    ),
    entry(
        "tcp_tw_reuse",
        Setting,
        "Whether connect() may take a port whose TIME_WAIT is older than 1 s: 0 no, 1 yes, 2 \
         (default) on loopback only. A test on 127.0.0.1 therefore hides exhaustion.",
        "1 is safe with TCP timestamps on both ends.",
    ),
    entry(
        "tcp_max_tw_buckets",
        Setting,
        "How many sockets may be in TIME_WAIT. Beyond it connections skip TIME_WAIT \
         (TCPTimeWaitOverflow), and what arrives late for them gets an RST.",
        "Raise it if the counter grows; lowering it to get rid of TIME_WAIT does harm.",
    ),
    entry(
        "tcp_max_orphans",
        Setting,
        "Closed sockets that still hold undelivered data; beyond it they are reset.",
        "Do not leave deliveries to orphans.",
    ),
    entry(
        "tcp_mem",
        Setting,
        "The pages that all TCP buffers may use: low, pressure, high. Near the high mark the kernel \
         resets orphans (TCPAbortOnMemory).",
        "Look at which sockets hold the memory before raising it.",
    ),
    entry(
        "tcp_orphan_retries",
        Setting,
        "How often the kernel repeats data for a closed socket before it gives it up (0 means 8, \
         some 100 s). Nobody is told of what is lost then.",
        "Hold the descriptor until the data is acknowledged, instead of changing it.",
    ),
    entry(
        "tcp_retries2",
        Setting,
        "How often data is repeated for a socket that a process holds (15, some 15 min); then \
         ETIMEDOUT.",
        "TCP_USER_TIMEOUT sets a time for one socket instead.",
    ),
    entry(
        "tcp_migrate_req",
        Setting,
        "Whether connections that wait in the backlog of a closed listener pass to another listener \
         of the same SO_REUSEPORT group (since Linux 5.14; 0 by default, then they are reset).",
        "1 where several workers listen on one port and are restarted one by one.",
    ),
    entry(
        "tcp_abort_on_overflow",
        Setting,
        "1 answers a completed handshake with an RST when the backlog is full; 0 (default) drops \
         its ACK, so that the client tries again.",
        "Leave 0; accept faster.",
    ),
    entry(
        "ip_local_port_range",
        Setting,
        "The local ports that connect() takes: 32768 to 60999, 28 232 toward one destination.",
        "Widen it if ports run out (EADDRNOTAVAIL) and connections cannot be reused.",
    ),
    entry(
        "somaxconn",
        Setting,
        "net.core.somaxconn: the most that listen() may ask for as its backlog (4096).",
        "Raise it together with the program's backlog.",
    ),
    entry(
        "rmem_max",
        Setting,
        "net.core.rmem_max: the largest receive buffer that an ordinary user may ask for. It bounds \
         how many endings a watch without root can hold.",
        "Run the watch as root, or raise it.",
    ),
    entry(
        "nf_conntrack_tcp_be_liberal",
        Setting,
        "1 keeps conntrack from calling a segment INVALID for being outside the window it expects. \
         An INVALID segment is not translated back by NAT: it reaches the host itself, which answers \
         with an RST for a connection that it does not know.",
        "1 on NAT and container hosts whose connections are reset at random; or drop what is INVALID.",
    ),
    entry(
        "nf_conntrack_max",
        Setting,
        "How many connections conntrack follows. When they are more, new ones are dropped.",
        "Raise it if the kernel's log says that the table is full.",
    ),
    entry(
        "sched_autogroup_enabled",
        Setting,
        "Whether the scheduler shares CPUs by session: a busy session can leave another without one \
         for seconds.",
        "Root's watch runs before others; an ordinary user's may be late.",
    ),
    entry(
        "SO_LINGER",
        Setting,
        "Off: close returns at once, delivery goes on unless input is unread. On with zero: \
         abort, RST, data discarded. On with N seconds: close waits for the ACK up to N \
         seconds; on Linux it then returns 0 all the same, and blocks non-blocking sockets too.",
        "Use lastbyte's close to have what the manual describes.",
    ),
    entry(
        "SO_REUSEPORT",
        Setting,
        "Lets several sockets listen on one port, each with a backlog of its own. Closing one resets \
         what waits in its backlog.",
        "Set net.ipv4.tcp_migrate_req=1, or hand the sockets over when workers are replaced.",
    ),
    entry(
        "TCP_KEEPIDLE",
        Setting,
        "After how many seconds without traffic keepalive (SO_KEEPALIVE) sends its first probe; 7200 by default.",
        "Set it below the shortest idle timeout of what is between (NAT, firewall, balancer).",
    ),
    entry(
        "SO_KEEPALIVE",
        Setting,
        "Asks an idle peer now and then (tcp_keepalive_time, 2 h by default). It ends a connection \
         whose peer no longer answers, not one in CLOSE_WAIT.",
        "Set TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT on the socket to notice sooner.",
    ),
    entry(
        "TCP_USER_TIMEOUT",
        Setting,
        "Milliseconds that sent data may stay unacknowledged; then the connection fails with \
         ETIMEDOUT. It holds after close() as well.",
        "Set it where a silent peer must be noticed before tcp_retries2 ends (15 min).",
    ),
    entry(
        "TCP_LINGER2",
        Setting,
        "How long this socket stays in FIN_WAIT2 after close(), instead of tcp_fin_timeout. Negative: \
         not at all, the connection is reset.",
        "Do not set it negative.",
    ),
    entry(
        "TCP_CORK",
        Setting,
        "Holds partial segments back until it is taken off, a full one is there, or 200 ms passed.",
        "Take it off before the last write.",
    ),
    entry(
        "IP_BIND_ADDRESS_NO_PORT",
        Setting,
        "bind() with port 0 leaves the choice of a port to connect(), so that one port serves \
         several destinations.",
        "Set it where bind() fails with EADDRINUSE before connect().",
    ),
    entry(
        "SOCK_CLOEXEC",
        Setting,
        "Close-on-exec, set when a socket is made (socket, accept4): a program that is started does \
         not get it.",
        "Set it on every socket that is not meant for another program.",
    ),
    entry(
        "FD_CLOEXEC",
        Setting,
        "Close-on-exec, set by fcntl(F_SETFD): a program that is started does not get the descriptor.",
        "Better set when the descriptor is made (SOCK_CLOEXEC, O_CLOEXEC): no fork comes between.",
    ),
    entry(
        "accept4",
        Setting,
        "accept() with flags: SOCK_CLOEXEC and SOCK_NONBLOCK.",
        "Use it with SOCK_CLOEXEC.",
    ),
    entry(
        "close_range",
        Setting,
        "Closes a range of descriptors in one call (Linux 5.9), or sets close-on-exec on them.",
        "Call it between fork and exec for all that the child is not meant to have.",
    ),
    entry(
        "SHUT_WR",
        Setting,
        "shutdown(fd, SHUT_WR) sends the FIN and leaves the reading side open: a half-close. Success \
         says nothing of delivery.",
        "Then read until recv returns 0, with a bound, and close.",
    ),
    entry(
        "SHUT_RD",
        Setting,
        "shutdown(fd, SHUT_RD), or SHUT_RDWR, shuts the reading side: Linux answers what arrives \
         after our FIN with an RST, and the send queue is lost.",
        "Shut the sending side alone, and read to the end.",
    ),
    entry(
        "lingering_close",
        Setting,
        "nginx: after its answer it reads and discards what still comes, for a bounded time, so that \
         the client gets the answer instead of an RST.",
        "Leave it on.",
    ),
    entry(
        "AF_UNSPEC",
        Setting,
        "connect() with this family disconnects a socket: what is queued is discarded and the peer \
         is reset.",
        "Close the socket instead, unless an abort is meant.",
    ),
    entry(
        "NETLINK_SOCK_DIAG",
        Setting,
        "The kernel's interface for the table of sockets; its multicast tells the final counts of \
         every TCP socket that is destroyed.",
        "Nothing; it needs no privilege.",
    ),
    entry(
        "inet_diag",
        Setting,
        "The part of NETLINK_SOCK_DIAG that lists TCP sockets with their counters; `ss` uses it.",
        "If it is missing, load the module tcp_diag.",
    ),
    entry(
        "CAP_PERFMON",
        Setting,
        "The privilege to read tracepoints: each step of a connection, each RST and its reason.",
        "Run `lastbyte watch` as root, or give it this and readable tracefs.",
    ),
    entry(
        "CAP_SYS_ADMIN",
        Setting,
        "The privilege to enter another network namespace.",
        "Run `lastbyte watch --netns` as root.",
    ),
    entry(
        "SCHED_RR",
        Setting,
        "A scheduling class that runs before ordinary processes; root's watch uses its lowest \
         priority to keep up with a flood.",
        "Nothing.",
    ),
];
