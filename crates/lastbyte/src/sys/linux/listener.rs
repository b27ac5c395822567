//! What a server's listening socket is asked.

use std::os::fd::BorrowedFd;

use lastbyte_tcp::TcpInfo;

/// Connections that are complete and not accepted yet. None where the kernel does not
/// say.
pub(crate) fn backlog(listener: BorrowedFd<'_>) -> Option<usize> {
    let backlog = TcpInfo::of(listener).ok()?.backlog()?;
    usize::try_from(backlog).ok()
}
