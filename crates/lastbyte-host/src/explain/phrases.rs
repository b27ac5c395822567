//! What programs print when a connection ends badly, as people paste it.

/// A sentence of programs.
pub(super) struct Phrase {
    /// The words it is known by, in lower case; any of them.
    pub(super) spellings: &'static [&'static str],
    /// What it means.
    pub(super) entry: super::Entry,
}

const fn phrase(
    spellings: &'static [&'static str],
    name: &'static str,
    meaning: &'static str,
    todo: &'static str,
) -> Phrase {
    Phrase {
        spellings,
        entry: super::entry(name, super::Kind::Phrase, meaning, todo),
    }
}

/// The particular before the general: all that fit are told, in this order.
pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        &["upstream prematurely closed connection"],
        "upstream prematurely closed connection",
        "nginx: the server behind it closed, by a FIN, before it had sent a whole answer: its idle \
         timeout closed a kept-alive connection just when nginx used it again, the worker was killed \
         or restarted, or the program failed.",
        "Keep the backend's keep-alive timeout longer than nginx's (keepalive_timeout of upstream); look \
         for workers that die. `lastbyte doctor` on the backend names closed-while-peer-sent.",
    ),
    phrase(
        &[
            "recv() failed (104",
            "readv() failed (104",
            "reset by peer) while reading",
        ],
        "recv() failed (104: Connection reset by peer)",
        "nginx: the server behind it (or the client, as the line says) sent an RST while nginx read \
         from it: it closed with nginx's request unread, was killed, or got the request after it had \
         closed.",
        "`lastbyte doctor` on the host that sent the RST names the program: reset-by-unread-input or \
         closed-while-peer-sent.",
    ),
    phrase(
        &[
            "empty reply from server",
            "(52)",
            "curl 52",
            "curle_got_nothing",
        ],
        "Empty reply from server",
        "curl (52): the server closed without sending a byte. With a FIN: its worker died, it does \
         not speak this protocol, or its idle timeout closed the connection that was reused.",
        "Look into the server's log; `lastbyte doctor` there tells whether it closed while the request \
         came.",
    ),
    phrase(
        &["recv failure", "(56)", "curl 56", "curle_recv_error"],
        "Recv failure: Connection reset by peer",
        "curl (56): an RST came while curl waited for the answer. A server that answers early (413, \
         401) and closes with the rest of the request unread does this, and so does a listener that \
         is closed over its backlog.",
        "On the server `lastbyte doctor`: reset-by-unread-input, backlog-reset. The answer may have \
         been sent and lost.",
    ),
    phrase(
        &["send failure", "(55)", "curl 55", "curle_send_error"],
        "Send failure: Broken pipe",
        "curl (55): the server closed while curl still sent its request. An answer may have come \
         before it (413).",
        "Look whether the server answered early; it should read the request, up to a bound, before it \
         closes.",
    ),
    phrase(
        &[
            "transfer closed with",
            "(18)",
            "curl 18",
            "incomplete read",
            "incompleteread",
            "unexpected end of file",
            "content-length mismatch",
        ],
        "transfer closed with bytes remaining",
        "The connection ended, by a FIN, before all of the announced answer had come: the sender \
         gave up, was killed, or a proxy between closed.",
        "Look who closed first (`lastbyte watch` on each host), and what ended it.",
    ),
    phrase(
        &["socket hang up"],
        "socket hang up",
        "Node.js: the server closed (FIN) or reset a request before its answer; often a kept-alive \
         connection that the server's idle timeout closed just then. Its code is ECONNRESET either way.",
        "Repeat idempotent requests; keep the agent's idle timeout shorter than the server's.",
    ),
    phrase(
        &[
            "remote end closed connection without response",
            "remotedisconnected",
            "connection aborted.",
        ],
        "Remote end closed connection without response",
        "Python (http.client, requests): the server closed without an answer; mostly a kept-alive \
         connection that its idle timeout closed just then.",
        "Repeat idempotent requests (urllib3's Retry); keep the client's idle timeout shorter than the \
         server's.",
    ),
    phrase(
        &["use of closed network connection"],
        "use of closed network connection",
        "Go: this program itself had closed the connection when it used it.",
        "Look for a close in another goroutine.",
    ),
    phrase(
        &["server closed idle connection", "http: server closed"],
        "server closed idle connection",
        "Go: the server's FIN came while the connection was idle in the pool; net/http repeats the \
         request if it may.",
        "Set IdleConnTimeout below the server's idle timeout.",
    ),
    phrase(
        &[
            "unexpected eof",
            "premature eof",
            "unexpectedeof",
            "premature end of",
            "eofexception",
            "connection closed by peer",
            "closed by remote host",
            "server closed the connection unexpectedly",
        ],
        "unexpected EOF",
        "The peer's FIN came in the middle of something: recv returned 0 where more was expected. It \
         closed, was killed, or a proxy between did.",
        "Look who closed first (`lastbyte watch` on each host).",
    ),
    phrase(
        &[
            "connection reset by peer",
            "connection reset",
            "reset by peer",
            "connectionreseterror",
            "connection was forcibly closed",
            "wsaeconnreset",
            "econnreset",
            "errno 104",
            "os error 104",
            "(104:",
            "connection was reset",
        ],
        "Connection reset by peer",
        "ECONNRESET: the peer's kernel sent an RST. Its program closed with input unread, was killed \
         with input unread, set SO_LINGER on and zero, or had closed before this data came; or a host \
         or middlebox does not know the connection. What it had not acknowledged is lost.",
        "Find who sent the RST and why: `lastbyte watch` (rst_by, rst_reason) or `lastbyte doctor` on \
         the peer's host. Java says `Connection reset`, Go `read: connection reset by peer`, Python \
         `ConnectionResetError`, Rust `os error 104`.",
    ),
    phrase(
        &[
            "broken pipe",
            "brokenpipeerror",
            "epipe",
            "errno 32",
            "os error 32",
            "(32:",
        ],
        "Broken pipe",
        "EPIPE: a send after the connection was reset, or after this side was shut down. An earlier \
         send, which had returned success, was lost: it brought the RST.",
        "Read what is left (an answer may be there), then treat what was not acknowledged as lost. \
         Look at the peer: it closed first. `lastbyte doctor`: wrote-after-close.",
    ),
    phrase(
        &[
            "software caused connection abort",
            "connectionabortederror",
            "econnaborted",
            "errno 103",
            "os error 103",
        ],
        "Software caused connection abort",
        "ECONNABORTED: the connection was ended on this host: destroyed from outside (`ss -K`), or \
         gone before accept() took it.",
        "`lastbyte watch` names who did it (closer_pid).",
    ),
    phrase(
        &[
            "connection timed out",
            "operation timed out",
            "etimedout",
            "errno 110",
            "os error 110",
            "(110:",
        ],
        "Connection timed out",
        "ETIMEDOUT: the kernel gave up on a peer that acknowledged nothing more, or on a connect that \
         got no answer. What was queued is lost.",
        "Set TCP_USER_TIMEOUT, or lastbyte's stall time, to notice sooner.",
    ),
    phrase(
        &[
            "connection refused",
            "connectionrefusederror",
            "econnrefused",
            "errno 111",
            "os error 111",
            "(111:",
        ],
        "Connection refused",
        "ECONNREFUSED: a SYN was answered with an RST: nothing listens on that port.",
        "Look whether the server runs, and on which address it listens.",
    ),
    phrase(
        &[
            "cannot assign requested address",
            "eaddrnotavail",
            "errno 99",
            "os error 99",
            "(99:",
        ],
        "Cannot assign requested address",
        "EADDRNOTAVAIL from connect(): no local port is left toward this destination; mostly they are \
         in TIME_WAIT.",
        "Reuse connections. `lastbyte doctor`: time-wait-exhaustion.",
    ),
    phrase(
        &[
            "too many open files",
            "emfile",
            "errno 24",
            "os error 24",
            "(24:",
        ],
        "Too many open files",
        "EMFILE: the process has as many descriptors as it may; accept() fails, and clients wait in the \
         backlog.",
        "Close what ended: `lastbyte doctor` names close-wait-leak and nobody-accepts. Then raise the limit.",
    ),
    phrase(
        &[
            "address already in use",
            "eaddrinuse",
            "errno 98",
            "os error 98",
            "(98:",
        ],
        "Address already in use",
        "EADDRINUSE: another socket has this address and port; for a listener without SO_REUSEADDR a \
         connection in TIME_WAIT is enough.",
        "Set SO_REUSEADDR on listeners; before connect() set IP_BIND_ADDRESS_NO_PORT.",
    ),
];
