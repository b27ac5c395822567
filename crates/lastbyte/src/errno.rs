//! errno values with the names the manuals give them.

use std::fmt;
use std::io;

use crate::sys::code;

/// Holds an errno value, and knows its name.
///
/// It prints as its name, `ECONNRESET`, or as `errno 123` where it is none that sockets
/// and connections give.
///
/// ```
/// use lastbyte::Errno;
///
/// assert_eq!(format!("{:?}", Errno::ECONNRESET), "ECONNRESET");
/// let error: Box<dyn std::error::Error> = Errno::ETIMEDOUT.into();
/// assert_eq!(error.to_string(), "ETIMEDOUT");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// A wait ran out of time. On Linux the same number as `EAGAIN`; here it
    /// carries the name that the manual gives it.
    pub const EWOULDBLOCK: Errno = Errno(code::EWOULDBLOCK);
    /// The peer sent an RST.
    pub const ECONNRESET: Errno = Errno(code::ECONNRESET);
    /// The peer answered nothing any more.
    pub const ETIMEDOUT: Errno = Errno(code::ETIMEDOUT);

    /// There is no connection (any more).
    pub(crate) const ENOTCONN: Errno = Errno(code::ENOTCONN);

    /// Makes one from its number, which is positive as in `errno`.
    #[must_use]
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// Returns the number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Returns the name in [errno(3)], for the errors that sockets and connections give.
    ///
    /// [errno(3)]: https://man7.org/linux/man-pages/man3/errno.3.html
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        code::name(self.0)
    }

    /// Returns Winsock's name: `WSAECONNRESET` where [`name`](Self::name) is `ECONNRESET`. `None`
    /// where Winsock has no such error.
    ///
    /// ```
    /// use lastbyte::Errno;
    ///
    /// assert_eq!(Errno::EWOULDBLOCK.winsock_name(), Some("WSAEWOULDBLOCK"));
    /// ```
    #[must_use]
    #[doc(alias("WSAGetLastError", "WSAECONNRESET", "WSAEWOULDBLOCK"))]
    pub fn winsock_name(self) -> Option<&'static str> {
        let name = self.name()?;
        let winsock = |known: &&&'static str| known.strip_prefix("WSA") == Some(name);
        match name {
            "EPIPE" => Some("WSAESHUTDOWN"),
            _ => WINSOCK.iter().find(winsock).copied(),
        }
    }
}

/// winsock2.h.
const WINSOCK: [&str; 24] = [
    "WSAEACCES",
    "WSAEALREADY",
    "WSAEBADF",
    "WSAECONNABORTED",
    "WSAECONNREFUSED",
    "WSAECONNRESET",
    "WSAEHOSTDOWN",
    "WSAEHOSTUNREACH",
    "WSAEINPROGRESS",
    "WSAEINTR",
    "WSAEINVAL",
    "WSAEMFILE",
    "WSAENETDOWN",
    "WSAENETRESET",
    "WSAENETUNREACH",
    "WSAENOBUFS",
    "WSAENOPROTOOPT",
    "WSAENOTCONN",
    "WSAENOTSOCK",
    "WSAEOPNOTSUPP",
    "WSAEPROTONOSUPPORT",
    "WSAEPROTOTYPE",
    "WSAETIMEDOUT",
    "WSAEWOULDBLOCK",
];

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

#[cfg(feature = "serde")]
impl serde::Serialize for Errno {
    /// Writes the name, as it is printed.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        io::Error::from_raw_os_error(errno.0)
    }
}
