//! Which connection it is: getsockname(2), getpeername(2), SO_COOKIE.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, sockaddr, socklen_t};

use super::option;

/// The kernel's id of the socket.
pub(crate) fn cookie(socket: BorrowedFd<'_>) -> Option<u64> {
    let (cookie, len) = option::get::<u64>(socket, libc::SOL_SOCKET, libc::SO_COOKIE).ok()?;
    (len == size_of::<u64>()).then_some(cookie)
}

/// The address of this end.
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    // SAFETY: as `address` asks for.
    unsafe { address(socket, libc::getsockname) }
}

/// The peer's address; none once the connection is gone.
pub(crate) fn peer_address(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    // SAFETY: as `address` asks for.
    unsafe { address(socket, libc::getpeername) }
}

/// # Safety
/// `call` is getsockname or getpeername.
unsafe fn address(
    socket: BorrowedFd<'_>,
    call: unsafe extern "C" fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int,
) -> Option<SocketAddr> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut len = size_of::<libc::sockaddr_storage>() as socklen_t;
    // SAFETY: `storage` has room for `len` bytes, and both outlive the call.
    let rc = unsafe { call(socket.as_raw_fd(), storage.as_mut_ptr().cast(), &mut len) };
    if rc == -1 {
        return None;
    }
    // SAFETY: zeroed first; integers all through.
    let storage = unsafe { storage.assume_init() };
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in, and it fits.
            let v4 = unsafe { *(&raw const storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a sockaddr_in6, and it fits.
            let v6 = unsafe { *(&raw const storage).cast::<libc::sockaddr_in6>() };
            Some(SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(v6.sin6_addr.s6_addr),
                u16::from_be(v6.sin6_port),
                v6.sin6_flowinfo,
                v6.sin6_scope_id,
            )))
        }
        _ => None,
    }
}
