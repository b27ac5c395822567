//! Winsock's error codes under their portable names, and a few of Windows' own where Winsock has
//! none.

use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Networking::WinSock as winsock;

macro_rules! codes {
    ($($(#[$attr:meta])* $name:ident = $code:expr;)*) => {
        $($(#[$attr])* pub(crate) const $name: i32 = $code as i32;)*
    };
}

codes! {
    EACCES = winsock::WSAEACCES;
    EAGAIN = winsock::WSAEWOULDBLOCK;
    EALREADY = winsock::WSAEALREADY;
    EBADF = winsock::WSAEBADF;
    ECONNABORTED = winsock::WSAECONNABORTED;
    ECONNREFUSED = winsock::WSAECONNREFUSED;
    ECONNRESET = winsock::WSAECONNRESET;
    EDEADLK = win32::ERROR_POSSIBLE_DEADLOCK;
    EHOSTDOWN = winsock::WSAEHOSTDOWN;
    EHOSTUNREACH = winsock::WSAEHOSTUNREACH;
    EINPROGRESS = winsock::WSAEINPROGRESS;
    EINTR = winsock::WSAEINTR;
    EINVAL = winsock::WSAEINVAL;
    EMFILE = winsock::WSAEMFILE;
    ENETDOWN = winsock::WSAENETDOWN;
    ENETRESET = winsock::WSAENETRESET;
    ENETUNREACH = winsock::WSAENETUNREACH;
    #[cfg(feature = "tokio")]
    ENFILE = win32::ERROR_TOO_MANY_OPEN_FILES;
    ENOBUFS = winsock::WSAENOBUFS;
    ENOMEM = win32::ERROR_NOT_ENOUGH_MEMORY;
    ENOPROTOOPT = winsock::WSAENOPROTOOPT;
    ENOTCONN = winsock::WSAENOTCONN;
    ENOTSOCK = winsock::WSAENOTSOCK;
    EOPNOTSUPP = winsock::WSAEOPNOTSUPP;
    EPERM = win32::ERROR_ACCESS_DENIED;
    EPIPE = winsock::WSAESHUTDOWN;
    EPROTONOSUPPORT = winsock::WSAEPROTONOSUPPORT;
    EPROTOTYPE = winsock::WSAEPROTOTYPE;
    ESRCH = win32::ERROR_INVALID_THREAD_ID;
    ETIMEDOUT = winsock::WSAETIMEDOUT;
    EWOULDBLOCK = winsock::WSAEWOULDBLOCK;
}

/// An administrator has ended the connection. No code of Windows says that alone.
pub(crate) const ENDED_BY_ADMINISTRATOR: i32 = -1;

/// The portable name, for the errors that sockets and connections give.
pub(crate) const fn name(code: i32) -> Option<&'static str> {
    Some(match code {
        EACCES => "EACCES",
        EALREADY => "EALREADY",
        EBADF => "EBADF",
        ECONNABORTED => "ECONNABORTED",
        ECONNREFUSED => "ECONNREFUSED",
        ECONNRESET => "ECONNRESET",
        EDEADLK => "EDEADLK",
        EHOSTDOWN => "EHOSTDOWN",
        EHOSTUNREACH => "EHOSTUNREACH",
        EINPROGRESS => "EINPROGRESS",
        EINTR => "EINTR",
        EINVAL => "EINVAL",
        EMFILE => "EMFILE",
        ENETDOWN => "ENETDOWN",
        ENETRESET => "ENETRESET",
        ENETUNREACH => "ENETUNREACH",
        ENOBUFS => "ENOBUFS",
        ENOMEM => "ENOMEM",
        ENOPROTOOPT => "ENOPROTOOPT",
        ENOTCONN => "ENOTCONN",
        ENOTSOCK => "ENOTSOCK",
        EOPNOTSUPP => "EOPNOTSUPP",
        EPERM => "EPERM",
        EPIPE => "EPIPE",
        EPROTONOSUPPORT => "EPROTONOSUPPORT",
        EPROTOTYPE => "EPROTOTYPE",
        ETIMEDOUT => "ETIMEDOUT",
        EWOULDBLOCK => "EWOULDBLOCK",
        _ => return None,
    })
}
