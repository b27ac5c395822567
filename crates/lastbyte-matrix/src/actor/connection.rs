//! How the socket comes.

use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use libc::{c_int, c_void, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};

use super::talk::{check, say};
use crate::axes::{Before, Came, Cell, Shared};

/// Bytes that a connecting program puts into the SYN.
pub(crate) const IN_SYN: usize = 1000;
/// Bytes that a connecting peer puts into its SYN, which the program reads.
pub(crate) const PEER_IN_SYN: usize = 5;

/// A connection.
pub(crate) struct Open {
    pub(crate) fd: RawFd,
    /// Bytes sent already (in the SYN).
    pub(crate) written: usize,
    /// Bytes read already.
    pub(crate) read: usize,
}

pub(crate) fn open(cell: &Cell, port: u16) -> Result<Open, String> {
    let mut open = if cell.came.accepts() {
        accept(cell)?
    } else {
        connect(cell, port)?
    };
    if cell.before == Before::HighNumber {
        open.fd = raise_number(cell, open.fd)?;
    }
    Ok(open)
}

/// Moves it to a number that no fd_set of 1024 bits holds.
fn raise_number(cell: &Cell, fd: RawFd) -> Result<RawFd, String> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes, and then reads, one rlimit.
    unsafe {
        check(
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit),
            "getrlimit",
        )?;
        limit.rlim_cur = limit.rlim_max;
        check(
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit),
            "setrlimit",
        )?;
    }
    let how = if cell.shared == Shared::Execed {
        libc::F_DUPFD
    } else {
        libc::F_DUPFD_CLOEXEC
    };
    // SAFETY: a descriptor of ours, which is used by its new number from here on.
    unsafe {
        let high = check(libc::fcntl(fd, how, 1024), "fcntl")?;
        libc::close(fd);
        Ok(high)
    }
}

fn socket(cell: &Cell) -> Result<RawFd, String> {
    let family = if cell.came.v6() || cell.came.mapped() {
        libc::AF_INET6
    } else {
        libc::AF_INET
    };
    let protocol = if cell.came.multi() {
        libc::IPPROTO_MPTCP
    } else {
        0
    };
    // What survives an exec is what the exec is about; else as most programs do.
    let flag = if cell.shared == Shared::Execed {
        0
    } else {
        libc::SOCK_CLOEXEC
    };
    // SAFETY: no pointers.
    check(
        unsafe { libc::socket(family, libc::SOCK_STREAM | flag, protocol) },
        "socket",
    )
}

fn accept(cell: &Cell) -> Result<Open, String> {
    let listener = listen(cell, 0)?;
    let port = local_port(listener)?;
    let mut listeners = vec![listener];
    if cell.came == Came::AcceptReuse {
        listeners.push(listen(cell, port)?);
    }
    say(&format!("port {port}"));
    let flag = if cell.shared == Shared::Execed {
        0
    } else {
        libc::SOCK_CLOEXEC
    };
    let listener = readable(&listeners)?;
    // SAFETY: the address is not asked for.
    let accepted =
        unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flag) };
    let fd = check(accepted, "accept")?;
    for listener in listeners {
        // SAFETY: ours, and used by nobody else.
        unsafe { libc::close(listener) };
    }
    let mut read = 0;
    if matches!(cell.came, Came::FastAccept | Came::FastHeld) {
        let mut bytes = [0u8; PEER_IN_SYN];
        // SAFETY: writes at most that many bytes.
        let got = unsafe {
            libc::recv(
                fd,
                bytes.as_mut_ptr().cast(),
                PEER_IN_SYN,
                libc::MSG_WAITALL,
            )
        };
        read = usize::try_from(got).unwrap_or(0);
    }
    Ok(Open {
        fd,
        written: 0,
        read,
    })
}

/// A listener on `port`, or on one that is free.
fn listen(cell: &Cell, port: u16) -> Result<RawFd, String> {
    let listener = socket(cell)?;
    size_send_buffer(listener)?;
    if matches!(cell.came, Came::FastAccept | Came::FastHeld) {
        option(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 16)?;
    }
    if cell.came == Came::AcceptReuse {
        option(listener, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    let (address, length) = loopback(cell, port);
    // SAFETY: `address` is a whole address of `length` bytes.
    let bound = unsafe { libc::bind(listener, (&raw const address).cast(), length) };
    check(bound, "bind")?;
    // SAFETY: no pointers.
    check(unsafe { libc::listen(listener, 4) }, "listen")?;
    Ok(listener)
}

/// The one to which somebody has connected; waits for that.
fn readable(listeners: &[RawFd]) -> Result<RawFd, String> {
    let ask = |&fd: &RawFd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polls: Vec<_> = listeners.iter().map(ask).collect();
    let count = polls.len() as libc::nfds_t;
    // SAFETY: as many pollfds.
    check(unsafe { libc::poll(polls.as_mut_ptr(), count, -1) }, "poll")?;
    let found = polls.iter().find(|poll| poll.revents != 0);
    found
        .map(|poll| poll.fd)
        .ok_or_else(|| "poll found nobody".into())
}

fn connect(cell: &Cell, port: u16) -> Result<Open, String> {
    let fd = socket(cell)?;
    size_send_buffer(fd)?;
    let (address, length) = loopback(cell, port);
    let mut written = 0;
    if cell.came == Came::FastConnect {
        let bytes = pattern(0, IN_SYN);
        // SAFETY: reads `bytes` and `address`, both whole.
        let sent = unsafe {
            libc::sendto(
                fd,
                bytes.as_ptr().cast::<c_void>(),
                bytes.len(),
                libc::MSG_FASTOPEN | libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                length,
            )
        };
        written = usize::try_from(sent)
            .map_err(|_| format!("sendto(MSG_FASTOPEN): {}", std::io::Error::last_os_error()))?;
        if !cell.void() {
            let mut poll = libc::pollfd {
                fd,
                events: libc::POLLOUT,
                revents: 0,
            };
            // SAFETY: one pollfd.
            unsafe { libc::poll(&raw mut poll, 1, 10_000) };
        }
    } else {
        // SAFETY: reads `address`, which is whole.
        let connected = unsafe { libc::connect(fd, (&raw const address).cast(), length) };
        check(connected, "connect")?;
    }
    Ok(Open {
        fd,
        written,
        read: 0,
    })
}

fn size_send_buffer(fd: RawFd) -> Result<(), String> {
    option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 400_000)
}

/// Sets an option of one int.
pub(crate) fn option(fd: RawFd, level: c_int, name: c_int, value: c_int) -> Result<(), String> {
    // SAFETY: reads one int.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as socklen_t,
        )
    };
    check(result, &format!("setsockopt {level} {name}")).map(drop)
}

/// The bytes that are sent from a place of the stream on.
pub(crate) fn pattern(from: usize, length: usize) -> Vec<u8> {
    let bytes = from..from + length;
    bytes.map(byte_at).collect()
}

/// 251 is prime to every segment size, so that a piece lost or doubled shows.
const fn byte_at(at: usize) -> u8 {
    (at % 251) as u8
}

fn loopback(cell: &Cell, port: u16) -> (sockaddr_storage, socklen_t) {
    // SAFETY: plain integers, of which zero is a value.
    let mut storage: sockaddr_storage = unsafe { zeroed() };
    if cell.came.v6() || cell.came.mapped() {
        let v6 = (&raw mut storage).cast::<sockaddr_in6>();
        let ip = match cell.came {
            Came::AcceptMapped => Ipv6Addr::UNSPECIFIED,
            Came::ConnectMapped => Ipv4Addr::LOCALHOST.to_ipv6_mapped(),
            _ => Ipv6Addr::LOCALHOST,
        };
        // SAFETY: storage is large enough and aligned for any address.
        unsafe {
            (*v6).sin6_family = libc::AF_INET6 as u16;
            (*v6).sin6_port = port.to_be();
            (*v6).sin6_addr.s6_addr = ip.octets();
        }
        (storage, size_of::<sockaddr_in6>() as socklen_t)
    } else {
        let v4 = (&raw mut storage).cast::<sockaddr_in>();
        // SAFETY: as above.
        unsafe {
            (*v4).sin_family = libc::AF_INET as u16;
            (*v4).sin_port = port.to_be();
            (*v4).sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        }
        (storage, size_of::<sockaddr_in>() as socklen_t)
    }
}

pub(crate) fn local_port(fd: RawFd) -> Result<u16, String> {
    // SAFETY: plain integers, of which zero is a value.
    let mut storage: sockaddr_storage = unsafe { zeroed() };
    let mut length = size_of::<sockaddr_storage>() as socklen_t;
    // SAFETY: writes at most `length` bytes into `storage`.
    let result = unsafe { libc::getsockname(fd, (&raw mut storage).cast(), &raw mut length) };
    check(result, "getsockname")?;
    // The port lies at the same place for both families.
    let v4 = (&raw const storage).cast::<sockaddr_in>();
    // SAFETY: storage is large enough and aligned for any address.
    Ok(u16::from_be(unsafe { (*v4).sin_port }))
}
