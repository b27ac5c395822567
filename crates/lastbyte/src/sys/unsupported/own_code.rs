//! Numbers of errors where the system has no errno(3): they tell the library's own apart, and
//! have no names.
#![allow(dead_code, reason = "the list is that of the other systems")]

macro_rules! codes {
    ($($name:ident)*) => {
        #[repr(i32)]
        enum Code { First = 90_000, $($name),* }
        $(pub(crate) const $name: i32 = Code::$name as i32;)*
    };
}

codes! {
    EACCES EALREADY EBADF ECONNABORTED ECONNREFUSED ECONNRESET EDEADLK EHOSTDOWN EHOSTUNREACH
    EINPROGRESS EINTR EINVAL EIO EMFILE ENETDOWN ENETRESET ENETUNREACH ENFILE ENOBUFS ENOMEM
    ENOPROTOOPT ENOTCONN ENOTSOCK EOPNOTSUPP EPERM EPIPE EPROTO EPROTONOSUPPORT EPROTOTYPE ESRCH
    ETIMEDOUT EWOULDBLOCK
}

pub(crate) const EAGAIN: i32 = EWOULDBLOCK;
/// An administrator has ended the connection.
pub(crate) const ENDED_BY_ADMINISTRATOR: i32 = ECONNABORTED;

pub(crate) const fn name(_code: i32) -> Option<&'static str> {
    None
}
