//! The blocking forms.

use lastbyte::Linger;
use libc::c_int;

use crate::guard::{call, outcome};
use crate::platform::{code, give_back, is_nonblocking, lb_socket, own};
use crate::types::{Out, lb_policy, lb_report};
use std::time::Duration;

/// Closes the connection of `fd` as the manual of SO_LINGER has it; the socket's
/// own SO_LINGER decides.
///
/// Off: returns 0 at once, everything queued is delivered in the background, also
/// where input is unread or arrives later (the number `fd` stays in use until
/// then). On with a time: waits until data and
/// FIN are acknowledged and returns 0, or when the time has run out discards the
/// rest, resets the connection and fails with EWOULDBLOCK. On with 0: resets.
///
/// ERRORS, with `fd` gone: EWOULDBLOCK (the time ran out), ECONNRESET (the peer
/// reset), what the kernel gave the connection up with (ETIMEDOUT, EHOSTUNREACH
/// ...), EIO (it broke, and an earlier read or write has taken the reason), or what
/// kept it from seeing how the close goes on (EPERM in a sandbox; the kernel's own
/// close was done).
/// ERRORS, with `fd` untouched: EWOULDBLOCK on a non-blocking socket that would
/// have to wait (use lb_close_begin); EBADF, ENOTSOCK, EPROTOTYPE (no TCP
/// socket), EPROTONOSUPPORT (an MPTCP one), EINVAL (a listener), EINPROGRESS (connect is under way), ENOTCONN;
/// EMFILE, ENOMEM and the like (no resources; close(2) it, or try again).
#[unsafe(no_mangle)]
pub extern "C" fn lb_close(fd: lb_socket) -> c_int {
    // SAFETY: both pointers are NULL, which is allowed.
    unsafe { lb_close_with(fd, std::ptr::null(), std::ptr::null_mut()) }
}

/// As lb_close, by an explicit policy (NULL: the socket's own SO_LINGER), with a
/// report of what became of the bytes (NULL: not wanted). The report is written
/// whenever the connection has ended, in success and in failure.
///
/// ERRORS: as lb_close; and EINVAL, with `fd` untouched, for a policy or report
/// that is not well-formed.
///
/// # Safety
/// Non-NULL pointers point to structures as long as their `size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_close_with(
    fd: lb_socket,
    policy: *const lb_policy,
    report: *mut lb_report,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut report = unsafe { Out::new(report) }?;
        let socket = own(fd)?;
        // SAFETY: the caller's promise.
        let policy = match unsafe { lb_policy::read(policy, &socket) } {
            Ok(policy) => policy,
            Err(error) => {
                give_back(socket);
                return Err(error);
            }
        };
        let waits = matches!(policy.linger(), Linger::Wait(_) | Linger::Endless { .. });
        if waits && is_nonblocking(&socket) {
            give_back(socket);
            return Err(code::EWOULDBLOCK);
        }
        outcome(lastbyte::close(socket, policy), &mut report)
    })
}

/// Waits, `milliseconds` at most, until no connection is left in the background
/// (those closed with linger off, and handles let go). Call it before exit where
/// nothing may be lost: what is still there then is left to the kernel.
///
/// ERRORS: ETIMEDOUT, some are still there.
#[unsafe(no_mangle)]
pub extern "C" fn lb_background_wait(milliseconds: u64) -> c_int {
    call(|| {
        if lastbyte::background().wait(Duration::from_millis(milliseconds)) {
            Ok(())
        } else {
            Err(code::ETIMEDOUT)
        }
    })
}

/// As lb_background_wait, but until the fate of every connection is known: it does not
/// wait for those whose bytes have all been acknowledged, and that are held only because
/// their peers may still be sending.
///
/// ERRORS: ETIMEDOUT, some are still under way.
#[unsafe(no_mangle)]
pub extern "C" fn lb_background_wait_delivered(milliseconds: u64) -> c_int {
    call(|| {
        if lastbyte::background().wait_delivered(Duration::from_millis(milliseconds)) {
            Ok(())
        } else {
            Err(code::ETIMEDOUT)
        }
    })
}
