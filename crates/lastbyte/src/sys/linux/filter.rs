//! Socket filters that keep input from changing a connection (socket(7),
//! SO_ATTACH_FILTER; `tcp_filter`, net/ipv4/tcp_ipv4.c).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, socklen_t};

use super::option::{self, get, set};

/// Drops every segment.
const DROP: u32 = 0;
/// Cuts every segment down to its header: TCP never drops that. Acknowledgements
/// and FIN come in, data does not.
const TRIM: u32 = 1;

const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Drops everything that arrives from now on, so that the counters stand still
/// between being read and the RST. False where the kernel refuses: then they may
/// move.
///
/// Where no filter can be attached (one is locked, or the user may not), the least
/// TTL that packets must have does it: no hop that lowers it leaves 255, with which
/// few peers begin.
pub(crate) fn freeze(socket: BorrowedFd<'_>) -> bool {
    attach(socket, DROP).is_ok() || raise_least_ttl(socket)
}

/// Undoes [`freeze`]; a trim that was there before is put back.
pub(super) fn thaw(socket: BorrowedFd<'_>, trimmed: bool) {
    let _ = if trimmed {
        attach(socket, TRIM)
    } else {
        set::<c_int>(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0)
    };
    for (level, name) in LEAST_TTL {
        if get::<c_int>(socket, level, name).is_ok_and(|(ttl, _)| ttl == MOST) {
            let _ = set::<c_int>(socket, level, name, &0);
        }
    }
}

/// ip(7), IP_MINTTL, and linux/in6.h, IPV6_MINHOPCOUNT (RFC 5082; `tcp_v4_rcv`,
/// net/ipv4/tcp_ipv4.c). An IPv6 socket may speak IPv4 as well.
const LEAST_TTL: [(c_int, c_int); 2] = [(libc::IPPROTO_IP, 21), (libc::IPPROTO_IPV6, 73)];

const MOST: c_int = 255;

fn raise_least_ttl(socket: BorrowedFd<'_>) -> bool {
    let Ok((family, _)) = get::<c_int>(socket, libc::SOL_SOCKET, libc::SO_DOMAIN) else {
        return false;
    };
    let options = match family {
        libc::AF_INET => &LEAST_TTL[..1],
        _ => &LEAST_TTL[..],
    };
    options.iter().all(|&(level, name)| {
        match get::<c_int>(socket, level, name) {
            Ok((0, _)) => set::<c_int>(socket, level, name, &MOST).is_ok(),
            // Frozen already.
            Ok((MOST, _)) => true,
            // A program that asks for a least TTL has a peer that begins with a high one.
            Ok(_) | Err(_) => false,
        }
    })
}

/// Lets acknowledgements and FIN in and keeps data out, so that data for a reading
/// side that is shut down does not make the kernel reset the connection
/// (`tcp_rcv_state_process`, net/ipv4/tcp_input.c). False where the program has a
/// filter of its own there, or locked it, or the kernel refuses; then nothing is
/// changed.
pub(crate) fn trim(socket: BorrowedFd<'_>) -> bool {
    match attached(socket) {
        Ok(Attached::Nothing) => attach(socket, TRIM).is_ok(),
        Ok(Attached::Trim) => true,
        Ok(Attached::Other) | Err(_) => false,
    }
}

/// Returns whether input is kept out by a filter such as [`trim`]'s. False also where the kernel
/// does not tell.
pub(super) fn is_trimmed(socket: BorrowedFd<'_>) -> bool {
    matches!(attached(socket), Ok(Attached::Trim))
}

/// As [`trim`], where there is no filter yet. Whether one was attached.
pub(super) fn trim_unfiltered(socket: BorrowedFd<'_>) -> bool {
    matches!(attached(socket), Ok(Attached::Nothing)) && attach(socket, TRIM).is_ok()
}

/// Takes the filter off.
pub(super) fn detach(socket: BorrowedFd<'_>) {
    let _ = set::<c_int>(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0);
}

fn attach(socket: BorrowedFd<'_>, verdict: u32) -> io::Result<()> {
    let mut instruction = libc::sock_filter {
        code: RETURN,
        jt: 0,
        jf: 0,
        k: verdict,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &mut instruction,
    };
    set(
        socket,
        libc::SOL_SOCKET,
        libc::SO_ATTACH_FILTER,
        &option::Program(program),
    )
}

enum Attached {
    Nothing,
    Trim,
    Other,
}

/// Returns what filter the socket has (SO_GET_FILTER, which is SO_ATTACH_FILTER read).
fn attached(socket: BorrowedFd<'_>) -> io::Result<Attached> {
    let mut instruction = libc::sock_filter {
        code: 0,
        jt: 0,
        jf: 0,
        k: 0,
    };
    // In instructions, not bytes.
    let mut len: socklen_t = 1;
    // SAFETY: there is room for one instruction, which is what `len` says.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw mut instruction).cast(),
            &mut len,
        )
    };
    if rc == -1 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            // More than one instruction (`sk_get_filter`, net/core/filter.c), or a
            // filter of the newer kind.
            Some(libc::EINVAL | libc::EACCES) => Ok(Attached::Other),
            _ => Err(error),
        };
    }
    Ok(match (len, instruction.code, instruction.k) {
        (0, ..) => Attached::Nothing,
        (1, RETURN, TRIM) => Attached::Trim,
        _ => Attached::Other,
    })
}

// The kernel copies whole instructions.
const _: () = assert!(size_of::<libc::sock_filter>() == 8);
