//! What other threads ask of a closer's thread.

use std::os::fd::OwnedFd;
use std::time::Instant;

use super::Sink;
use crate::live::Live;
use crate::policy::Policy;

/// Something to end.
pub(super) enum Job {
    Begin {
        socket: OwnedFd,
        policy: Policy,
        began: Instant,
        sink: Sink,
    },
    /// Begun elsewhere. Where nobody awaits its report any more there is no sink.
    Adopt(Live, Option<Sink>),
}
