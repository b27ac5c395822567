//! Keeps input out of a connection whose close begins on another thread.

use std::os::fd::BorrowedFd;

use lastbyte_tcp::TcpInfo;

use super::filter::{detach, is_trimmed, trim_unfiltered};
use super::look::{is_tcp, reading_is_shut, state_of};
use crate::ending::TcpState;

/// As [`trim`](super::trim), of a connection whose close is about to begin elsewhere, where
/// input would reset it. Whether a filter was attached, for [`untrim`].
pub(crate) fn trim_ahead(socket: BorrowedFd<'_>) -> bool {
    input_would_reset(socket) && trim_unfiltered(socket)
}

/// Undoes [`trim_ahead`].
pub(crate) fn untrim(socket: BorrowedFd<'_>) {
    if is_trimmed(socket) {
        detach(socket);
    }
}

/// Returns whether input would make the kernel reset the connection: it is open to the peer,
/// and its reading side is shut down. False also where the kernel does not tell.
fn input_would_reset(socket: BorrowedFd<'_>) -> bool {
    // The first answer is of every socket's, and most end here.
    if reading_is_shut(socket) != Some(true) || !is_tcp(socket).unwrap_or(false) {
        return false;
    }
    // Twice: a FIN of the peer's may show to poll first, see `first_look_at_tcp`.
    let _ = TcpInfo::of(socket);
    TcpInfo::of(socket).is_ok_and(|info| {
        matches!(
            state_of(&info),
            TcpState::SynReceived | TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2
        )
    })
}
