//! The numbers of errno(3), and their names.

pub(crate) use libc::{
    EACCES, EAGAIN, EALREADY, EBADF, ECONNABORTED, ECONNREFUSED, ECONNRESET, EDEADLK, EHOSTDOWN,
    EHOSTUNREACH, EINPROGRESS, EINTR, EINVAL, EIO, EMFILE, ENETDOWN, ENETRESET, ENETUNREACH,
    ENFILE, ENOBUFS, ENOMEM, ENOPROTOOPT, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPERM, EPIPE, EPROTO,
    EPROTONOSUPPORT, EPROTOTYPE, ESRCH, ETIMEDOUT, EWOULDBLOCK,
};

/// An administrator has ended the connection (`ss -K`).
pub(crate) const ENDED_BY_ADMINISTRATOR: i32 = ECONNABORTED;

/// The name, for the errors that sockets and connections give.
pub(crate) const fn name(code: i32) -> Option<&'static str> {
    Some(match code {
        EPERM => "EPERM",
        EINTR => "EINTR",
        EIO => "EIO",
        EBADF => "EBADF",
        EWOULDBLOCK => "EWOULDBLOCK",
        ENOMEM => "ENOMEM",
        EACCES => "EACCES",
        EINVAL => "EINVAL",
        ENFILE => "ENFILE",
        EMFILE => "EMFILE",
        EPIPE => "EPIPE",
        EPROTO => "EPROTO",
        ENOTSOCK => "ENOTSOCK",
        EPROTOTYPE => "EPROTOTYPE",
        ENOPROTOOPT => "ENOPROTOOPT",
        EPROTONOSUPPORT => "EPROTONOSUPPORT",
        EOPNOTSUPP => "EOPNOTSUPP",
        ENETDOWN => "ENETDOWN",
        ENETUNREACH => "ENETUNREACH",
        ENETRESET => "ENETRESET",
        ECONNABORTED => "ECONNABORTED",
        ECONNRESET => "ECONNRESET",
        ENOBUFS => "ENOBUFS",
        ENOTCONN => "ENOTCONN",
        ETIMEDOUT => "ETIMEDOUT",
        ECONNREFUSED => "ECONNREFUSED",
        EHOSTDOWN => "EHOSTDOWN",
        EHOSTUNREACH => "EHOSTUNREACH",
        EALREADY => "EALREADY",
        EINPROGRESS => "EINPROGRESS",
        _ => return None,
    })
}
