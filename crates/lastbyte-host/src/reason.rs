//! Why the kernel sent an RST, by its own name and in plain words.

use std::fmt;

/// A reason of `enum sk_rst_reason` (`include/net/rstreason.h`), by the name its
/// tracepoint prints, and what it means, as the kernel has one name for several.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reason {
    name: &'static str,
    words: &'static str,
}

impl Reason {
    /// Data arrived for a connection that no process can read from any more.
    pub(crate) const ABORT_ON_DATA: Self = Self::known("TCP_ABORT_ON_DATA");
    /// A segment arrived after the connection was closed here.
    pub(crate) const TIMEWAIT_SOCKET: Self = Self::known("TCP_TIMEWAIT_SOCKET");
    /// Closed with unread input.
    pub(crate) const ABORT_ON_CLOSE: Self = Self::known("TCP_ABORT_ON_CLOSE");
    /// Keepalive probes were not answered.
    pub(crate) const KEEPALIVE_TIMEOUT: Self = Self::known("TCP_KEEPALIVE_TIMEOUT");
    /// Disconnected in a state that an RST must end: on+0, or a listener closed
    /// over connections nobody accepted.
    pub(crate) const STATE: Self = Self::known("TCP_STATE");
    /// The same name for a connection that somebody else had the kernel destroy.
    pub(crate) const DESTROYED: Self = Self {
        name: "TCP_STATE",
        words: DESTROYED,
    };

    /// One of [`WORDS`].
    const fn known(name: &'static str) -> Self {
        let mut index = 0;
        while index < WORDS.len() {
            let (known, words) = WORDS[index];
            if equal(known, name) {
                return Self { name, words };
            }
            index += 1;
        }
        panic!("a reason that has no words")
    }

    /// From the name that the kernel prints.
    #[must_use]
    pub(crate) fn from_kernel(name: &str) -> Self {
        match WORDS.iter().find(|(known, _)| *known == name) {
            Some((name, words)) => Self { name, words },
            None => {
                // A newer kernel's: kept for the life of the process. The names come
                // from one format file, read once.
                let name = String::from(name).leak();
                Self { name, words: name }
            }
        }
    }

    /// Returns the kernel's name of it.
    #[must_use]
    pub const fn kernel_name(self) -> &'static str {
        self.name
    }

    /// Returns what it means, in a few words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        self.words
    }

    /// Whether input arrived that was never counted as received.
    #[must_use]
    pub(crate) fn discards_input(self) -> bool {
        matches!(self, Self::ABORT_ON_DATA | Self::TIMEWAIT_SOCKET)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Whether two names are the same, at compile time.
const fn equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    index == a.len() && index == b.len()
}

/// What [`Reason::DESTROYED`] means.
const DESTROYED: &str = "destroyed from outside (SOCK_DESTROY, as ss -K does)";

/// What [`Reason::STATE`] means when a listener was closed.
pub(crate) const LISTENER_CLOSED: &str = "the listener closed before the connection was accepted";

/// Every reason of Linux 6.18 and what it means.
pub(crate) const WORDS: &[(&str, &str)] = &[
    ("NOT_SPECIFIED", "the kernel gives no reason"),
    (
        "NO_SOCKET",
        "a segment arrived for a connection that is no more",
    ),
    (
        "TCP_INVALID_ACK_SEQUENCE",
        "an ACK did not fit the handshake",
    ),
    (
        "TCP_RFC7323_PAWS",
        "a segment's timestamp was too old (PAWS)",
    ),
    ("TCP_TOO_OLD_ACK", "an ACK was too old"),
    (
        "TCP_ACK_UNSENT_DATA",
        "a segment acknowledged data that was never sent",
    ),
    (
        "TCP_FLAGS",
        "a segment carried flags that the state forbids",
    ),
    ("TCP_OLD_ACK", "an ACK was older than the handshake"),
    ("TCP_ABORT_ON_DATA", "data arrived after close()"),
    (
        "TCP_TIMEWAIT_SOCKET",
        "a segment arrived after the connection was closed",
    ),
    ("INVALID_SYN", "a SYN arrived inside the connection"),
    ("TCP_ABORT_ON_CLOSE", "closed with unread input"),
    (
        "TCP_ABORT_ON_LINGER",
        "TCP_LINGER2 forbids waiting for the peer's FIN",
    ),
    (
        "TCP_ABORT_ON_MEMORY",
        "too many orphans, or TCP memory short",
    ),
    (
        "TCP_STATE",
        "closed with SO_LINGER on and zero, or disconnected",
    ),
    (
        "TCP_KEEPALIVE_TIMEOUT",
        "keepalive probes were not answered",
    ),
    ("TCP_DISCONNECT_WITH_DATA", "disconnected with data unsent"),
    ("MPTCP_RST_EUNSPEC", "MPTCP: unspecified error"),
    ("MPTCP_RST_EMPTCP", "MPTCP: protocol error"),
    ("MPTCP_RST_ERESOURCE", "MPTCP: out of resources"),
    ("MPTCP_RST_EPROHIBIT", "MPTCP: forbidden by policy"),
    ("MPTCP_RST_EWQ2BIG", "MPTCP: too much outstanding data"),
    ("MPTCP_RST_EBADPERF", "MPTCP: path too slow"),
    ("MPTCP_RST_EMIDDLEBOX", "MPTCP: a middlebox interferes"),
    ("ERROR", "the kernel gives no reason"),
];
