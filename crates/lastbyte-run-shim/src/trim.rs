//! The socket filter that keeps late input from resetting a connection.
//!
//! Once both directions are shut, Linux answers input with an RST, which discards what
//! is still being sent. A socket filter that keeps nothing of a segment but its header
//! (`ret #1`) lets acknowledgements and the peer's FIN pass, and input is no reason for
//! an RST any more. A filter of the program's own, before or after, wins.

use core::ffi::c_int;

use crate::{decide, fd_table, sys};

/// Whether the FIN of `fd` has left.
pub(crate) fn write_side_is_shut(fd: c_int) -> bool {
    sys::tcp_info(fd).is_ok_and(|info| decide::has_sent_fin(info.state))
}

/// Whether this process has shut the reading side of `fd`.
pub(crate) fn reading_is_shut(fd: c_int) -> bool {
    fd_table::entry(fd).is_some_and(fd_table::Entry::is_read_no_more)
}

/// Whether the reading side of `fd` is shut, by the kernel's word: another process did it,
/// or this one before an exec or by another descriptor. Reading is at its end after the
/// peer's FIN too, but input resets none of those.
pub(crate) fn kernel_has_reading_shut(fd: c_int) -> bool {
    // Twice: a FIN that another CPU is about to take shows to poll before it shows in the
    // state; the first call waits for that CPU (`tcp_get_info`, net/ipv4/tcp.c).
    sys::reading_is_at_end(fd)
        && sys::tcp_info(fd).is_ok()
        && sys::tcp_info(fd).is_ok_and(|info| decide::is_open_to_peer(info.state))
}

/// Has payload cut off what arrives for `fd`, where input would reset a connection on
/// which the program has sent something.
pub(crate) fn attach(fd: c_int) {
    if let Ok(info) = sys::tcp_info(fd)
        && decide::is_reset_by_input(info.state)
        && (info.bytes_sent != 0 || sys::ioctl_int(fd, libc::TIOCOUTQ).is_ok_and(|out| out > 0))
        && sys::filter(fd) == Ok(sys::Filter::None)
        && sys::attach_trim(fd).is_ok()
    {
        fd_table::trimmed(fd);
    }
}

/// Whether the filter of `fd` is the one attached here.
pub(crate) fn is_attached(fd: c_int) -> bool {
    fd_table::entry(fd).is_some_and(fd_table::Entry::is_trimmed)
        && sys::filter(fd) == Ok(sys::Filter::Trim)
}
