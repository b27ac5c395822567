//! Closes that were left to the kernel although the contract asks for more.

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Left {
    /// Whether another process holds it cannot be told.
    Holders,
    /// A thread was inside send(2), which must finish.
    Sending,
    /// The supervisor had descriptors for no more.
    Full,
    /// The supervisor was gone, stopped, or did not keep up.
    Unreachable,
    /// The connection is MPTCP.
    Mptcp,
    /// It is in more epoll sets than are remembered.
    EpollSets,
    /// The program had submitted connections to an io_uring, or set up a seccomp filter.
    Withdrawn,
    /// Its process ended without closing it: a signal killed it, or it crashed.
    Ended,
    /// It was closed in a way that no shim saw.
    Unseen,
    /// No shim was in its program.
    Uncovered,
}

impl Left {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 10] = [
        Self::Holders,
        Self::Sending,
        Self::Full,
        Self::Unreachable,
        Self::Mptcp,
        Self::EpollSets,
        Self::Withdrawn,
        Self::Ended,
        Self::Unseen,
        Self::Uncovered,
    ];

    /// Returns where it is counted.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Holders => 0,
            Self::Sending => 1,
            Self::Full => 2,
            Self::Unreachable => 3,
            Self::Mptcp => 4,
            Self::EpollSets => 5,
            Self::Withdrawn => 6,
            Self::Ended => 7,
            Self::Unseen => 8,
            Self::Uncovered => 9,
        }
    }

    /// The reason in words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Holders => "another process may hold it",
            Self::Sending => "a thread was sending on it",
            Self::Full => "no descriptor was free for it",
            Self::Unreachable => "the supervisor did not answer",
            Self::Mptcp => "it is MPTCP",
            Self::EpollSets => "it is in too many epoll sets",
            Self::Withdrawn => "the program uses io_uring for sockets, or seccomp",
            Self::Ended => "its process ended without closing it",
            Self::Unseen => "it was closed unseen",
            Self::Uncovered => "its program is not covered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_of_its_own() {
        for (index, left) in Left::ALL.into_iter().enumerate() {
            assert_eq!(left.index(), index);
        }
    }
}
