//! Sockets: options, queues, messages.

use core::ffi::{c_int, c_short};
use core::mem::{MaybeUninit, size_of};

use super::{Result, call, word};

/// A socket option of plain integers.
///
/// # Safety
/// `T` must be valid for every bit pattern.
pub(crate) unsafe fn option<T: Copy + Default>(fd: c_int, level: c_int, name: c_int) -> Result<T> {
    let mut value = T::default();
    let mut length = size_of::<T>() as libc::socklen_t;
    let arguments = [
        word(fd),
        word(level),
        word(name),
        (&raw mut value) as usize,
        (&raw mut length) as usize,
        0,
    ];
    // SAFETY: both pointers are to locals, and `length` is the room there is.
    unsafe { call(libc::SYS_getsockopt, arguments) }.map(|_| value)
}

/// `SO_COOKIE`: the socket's identity for its network namespace's life.
pub(crate) fn cookie(fd: c_int) -> Result<u64> {
    // SAFETY: a u64 has no invalid patterns.
    unsafe { option(fd, libc::SOL_SOCKET, libc::SO_COOKIE) }
}

/// getsockname(2) and getpeername(2), as bytes; zeros where there is no such address.
pub(crate) fn addresses<const N: usize>(fd: c_int) -> [[u8; N]; 2] {
    [libc::SYS_getsockname, libc::SYS_getpeername].map(|number| {
        let mut address = [0; N];
        let mut length = N as libc::socklen_t;
        let arguments = [
            word(fd),
            address.as_mut_ptr() as usize,
            (&raw mut length) as usize,
            0,
            0,
            0,
        ];
        // SAFETY: both pointers are to locals, and `length` is the room there is.
        match unsafe { call(number, arguments) } {
            Ok(_) => address,
            Err(_) => [0; N],
        }
    })
}

/// Whether the socket has a peer.
pub(crate) fn is_connected(fd: c_int) -> bool {
    let [_, peer] = addresses::<28>(fd);
    peer != [0; 28]
}

/// `SO_PROTOCOL`.
pub(crate) fn protocol(fd: c_int) -> Result<c_int> {
    // SAFETY: as above.
    unsafe { option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) }
}

/// `SO_LINGER`: `[l_onoff, l_linger]`.
pub(crate) fn linger(fd: c_int) -> Result<[c_int; 2]> {
    // SAFETY: as above.
    unsafe { option(fd, libc::SOL_SOCKET, libc::SO_LINGER) }
}

/// The classic filter of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// None.
    None,
    /// The one of [`attach_trim`].
    Trim,
    /// Another.
    Other,
}

/// Keeps one byte of what arrives, which is less than a header: `ret #1`
/// (include/uapi/linux/bpf_common.h). The kernel keeps the header all the same.
const TRIM: libc::sock_filter = libc::sock_filter {
    code: 6,
    jt: 0,
    jf: 0,
    k: 1,
};

/// `SO_GET_FILTER`.
pub(crate) fn filter(fd: c_int) -> Result<Filter> {
    let mut program = [libc::sock_filter {
        code: 0,
        jt: 0,
        jf: 0,
        k: 0,
    }; 1];
    // In instructions, as is what is written back.
    let mut length: libc::socklen_t = 0;
    let mut ask = |room: libc::socklen_t| {
        length = room;
        let arguments = [
            word(fd),
            word(libc::SOL_SOCKET),
            word(libc::SO_GET_FILTER),
            program.as_mut_ptr() as usize,
            (&raw mut length) as usize,
            0,
        ];
        // SAFETY: both pointers are to locals, and there is room for one instruction.
        unsafe { call(libc::SYS_getsockopt, arguments) }.map(|_| length)
    };
    match ask(0) {
        Ok(0) => return Ok(Filter::None),
        Ok(1) => {}
        // More, or a program of another kind, which fails with EACCES.
        Ok(_) | Err(libc::EACCES) => return Ok(Filter::Other),
        Err(error) => return Err(error),
    }
    ask(1)?;
    let [found] = program;
    let is_ours =
        (found.code, found.jt, found.jf, found.k) == (TRIM.code, TRIM.jt, TRIM.jf, TRIM.k);
    Ok(if is_ours { Filter::Trim } else { Filter::Other })
}

/// Attaches a filter that cuts the payload off whatever arrives.
pub(crate) fn attach_trim(fd: c_int) -> Result<()> {
    let mut code = TRIM;
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut code,
    };
    let arguments = [
        word(fd),
        word(libc::SOL_SOCKET),
        word(libc::SO_ATTACH_FILTER),
        (&raw const program) as usize,
        size_of::<libc::sock_fprog>(),
        0,
    ];
    // SAFETY: the kernel reads the program, and through it one instruction, both locals.
    unsafe { call(libc::SYS_setsockopt, arguments) }.map(drop)
}

/// What is read of `struct tcp_info` (include/uapi/linux/tcp.h).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct TcpInfo {
    /// `tcpi_state`.
    pub(crate) state: u8,
    skipped_to_24: [u8; 23],
    /// `tcpi_unacked`.
    pub(crate) in_flight: u32,
    skipped_to_144: [u8; 116],
    /// `tcpi_notsent_bytes`. Since Linux 4.6.
    pub(crate) not_sent: u32,
    skipped_to_200: [u8; 52],
    /// `tcpi_bytes_sent`: payload, retransmissions included. Since Linux 4.19;
    /// before that it stays at all ones.
    pub(crate) bytes_sent: u64,
}

/// `TCP_INFO`.
pub(crate) fn tcp_info(fd: c_int) -> Result<TcpInfo> {
    let mut info = TcpInfo {
        state: 0,
        skipped_to_24: [0; 23],
        in_flight: 0,
        skipped_to_144: [0; 116],
        not_sent: 0,
        skipped_to_200: [0; 52],
        bytes_sent: u64::MAX,
    };
    let mut length = size_of::<TcpInfo>() as libc::socklen_t;
    let arguments = [
        word(fd),
        word(libc::IPPROTO_TCP),
        word(libc::TCP_INFO),
        (&raw mut info) as usize,
        (&raw mut length) as usize,
        0,
    ];
    // SAFETY: both pointers are to locals, and `length` is the room there is.
    unsafe { call(libc::SYS_getsockopt, arguments) }.map(|_| info)
}

/// `SO_MEMINFO`, `SK_MEMINFO_RMEM_ALLOC` (include/uapi/linux/sock_diag.h): memory that
/// segments in the receive queue take.
pub(crate) fn receive_memory(fd: c_int) -> Result<u32> {
    // SAFETY: integers have no invalid patterns.
    let [allocated, ..]: [u32; 9] = unsafe { option(fd, libc::SOL_SOCKET, libc::SO_MEMINFO) }?;
    Ok(allocated)
}

/// `SO_SNDBUF`.
pub(crate) fn send_buffer(fd: c_int) -> Result<c_int> {
    // SAFETY: an int has no invalid patterns.
    unsafe { option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF) }
}

/// `TCP_REPAIR`.
pub(crate) fn repair(fd: c_int) -> Result<c_int> {
    // SAFETY: as above.
    unsafe { option(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR) }
}

/// Sets `SO_LINGER`.
pub(crate) fn set_linger(fd: c_int, linger: [c_int; 2]) -> Result<()> {
    let arguments = [
        word(fd),
        word(libc::SOL_SOCKET),
        word(libc::SO_LINGER),
        linger.as_ptr() as usize,
        size_of::<[c_int; 2]>(),
        0,
    ];
    // SAFETY: the kernel reads two integers from a local.
    unsafe { call(libc::SYS_setsockopt, arguments) }.map(drop)
}

/// An ioctl that answers an int.
pub(crate) fn ioctl_int(fd: c_int, request: u64) -> Result<c_int> {
    let mut value: c_int = 0;
    let arguments = [
        word(fd),
        request as usize,
        (&raw mut value) as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel writes one int to a local.
    unsafe { call(libc::SYS_ioctl, arguments) }.map(|_| value)
}

/// shutdown(fd, SHUT_WR).
pub(crate) fn shutdown_write(fd: c_int) -> Result<()> {
    // SAFETY: no memory involved.
    unsafe {
        call(
            libc::SYS_shutdown,
            [word(fd), word(libc::SHUT_WR), 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Takes `fd` out of the epoll set `epoll`.
pub(crate) fn epoll_delete(epoll: c_int, fd: c_int) -> Result<()> {
    let arguments = [word(epoll), word(libc::EPOLL_CTL_DEL), word(fd), 0, 0, 0];
    // SAFETY: EPOLL_CTL_DEL reads no event.
    unsafe { call(libc::SYS_epoll_ctl, arguments) }.map(drop)
}

/// Sends one message if there is room for it, and never waits.
pub(crate) fn post(channel: c_int, bytes: &[u8]) -> Result<()> {
    let arguments = [
        word(channel),
        bytes.as_ptr() as usize,
        bytes.len(),
        word(libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT),
        0,
        0,
    ];
    // SAFETY: the kernel reads that many bytes, which outlive the call.
    unsafe { call(libc::SYS_sendto, arguments) }.map(drop)
}

/// Sends one message, with a descriptor riding along if there is one.
pub(crate) fn send(channel: c_int, bytes: &[u8], rider: Option<c_int>) -> Result<()> {
    #[repr(C, align(8))]
    struct Control {
        header: libc::cmsghdr,
        fd: c_int,
    }
    let mut control = Control {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<c_int>(),
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        },
        fd: rider.unwrap_or(-1),
    };
    let mut vector = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: a msghdr is pointers and integers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    if rider.is_some() {
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Control>();
    }
    let arguments = [
        word(channel),
        (&raw const message) as usize,
        word(libc::MSG_NOSIGNAL),
        0,
        0,
        0,
    ];
    loop {
        // SAFETY: everything the message points to outlives the call.
        match unsafe { call(libc::SYS_sendmsg, arguments) } {
            Err(libc::EINTR) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}

/// Whether the other end of `channel` is gone.
pub(crate) fn hung_up(channel: c_int) -> bool {
    polled(channel, 0) & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}

/// Whether reading gives the end: the peer's FIN has come, or the reading side is shut.
pub(crate) fn reading_is_at_end(fd: c_int) -> bool {
    polled(fd, libc::POLLRDHUP) & libc::POLLRDHUP != 0
}

/// What holds of `fd` now, of `events` and what poll(2) reports unasked.
fn polled(fd: c_int, events: c_short) -> c_short {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let arguments = [
        (&raw mut poll) as usize,
        1,
        (&raw const time) as usize,
        0,
        0,
        0,
    ];
    // SAFETY: one pollfd and a time, both locals.
    match unsafe { call(libc::SYS_ppoll, arguments) } {
        Ok(_) => poll.revents,
        Err(_) => 0,
    }
}
