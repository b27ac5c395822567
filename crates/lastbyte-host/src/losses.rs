//! What a watch could not report, counted.

/// How much could not be reported, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Destroy notices dropped: endings that are not reported (or sockets that never were
    /// connections).
    pub endings: Dropped,
    /// Steps dropped: the endings that they belong to are inferred, not observed.
    pub steps: Dropped,
    /// Sockets not followed, or not to their end, because a limit was reached.
    pub unfollowed: u64,
    /// Endings reported without asking whether the peer closed as well, because a limit
    /// was reached.
    pub unasked: u64,
}

/// How many of something were dropped, by who dropped them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Dropped by the kernel, because they were not read fast enough.
    pub by_kernel: u64,
    /// Dropped here, because they were not joined fast enough.
    pub here: u64,
}

impl Dropped {
    /// Returns how many were dropped in all.
    #[must_use]
    pub const fn in_all(self) -> u64 {
        self.by_kernel.saturating_add(self.here)
    }
}
