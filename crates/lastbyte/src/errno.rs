//! errno values with the names the manuals give them.

use std::fmt;
use std::io;

/// An errno value. Displays as its name, `ECONNRESET`, or as `errno 123` where
/// it is none that a TCP connection ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// A wait ran out of time. On Linux the same number as `EAGAIN`; here it
    /// carries the name that the manual gives it.
    pub const EWOULDBLOCK: Errno = Errno(libc::EWOULDBLOCK);
    /// The peer sent an RST.
    pub const ECONNRESET: Errno = Errno(libc::ECONNRESET);
    /// The peer answered nothing any more.
    pub const ETIMEDOUT: Errno = Errno(libc::ETIMEDOUT);

    /// There is no connection (any more).
    pub(crate) const ENOTCONN: Errno = Errno(libc::ENOTCONN);

    /// From the number, which is positive as in `errno`.
    #[must_use]
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// The name in [errno(3)], for the errors that sockets and connections give.
    ///
    /// [errno(3)]: https://man7.org/linux/man-pages/man3/errno.3.html
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            libc::EPERM => "EPERM",
            libc::EINTR => "EINTR",
            libc::EIO => "EIO",
            libc::EBADF => "EBADF",
            libc::EWOULDBLOCK => "EWOULDBLOCK",
            libc::ENOMEM => "ENOMEM",
            libc::EACCES => "EACCES",
            libc::EINVAL => "EINVAL",
            libc::ENFILE => "ENFILE",
            libc::EMFILE => "EMFILE",
            libc::EPIPE => "EPIPE",
            libc::EPROTO => "EPROTO",
            libc::ENOTSOCK => "ENOTSOCK",
            libc::EPROTOTYPE => "EPROTOTYPE",
            libc::ENOPROTOOPT => "ENOPROTOOPT",
            libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            libc::ENETDOWN => "ENETDOWN",
            libc::ENETUNREACH => "ENETUNREACH",
            libc::ENETRESET => "ENETRESET",
            libc::ECONNABORTED => "ECONNABORTED",
            libc::ECONNRESET => "ECONNRESET",
            libc::ENOBUFS => "ENOBUFS",
            libc::ENOTCONN => "ENOTCONN",
            libc::ETIMEDOUT => "ETIMEDOUT",
            libc::ECONNREFUSED => "ECONNREFUSED",
            libc::EHOSTDOWN => "EHOSTDOWN",
            libc::EHOSTUNREACH => "EHOSTUNREACH",
            libc::EALREADY => "EALREADY",
            libc::EINPROGRESS => "EINPROGRESS",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        io::Error::from_raw_os_error(errno.0)
    }
}
