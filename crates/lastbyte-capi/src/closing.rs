//! The non-blocking form.

use lastbyte::{CloseError, Closing, Report};
use libc::c_int;

use crate::guard::{call, outcome};
use crate::platform::{code, give_back, lb_socket, own};
use crate::types::{Out, lb_policy, lb_report};

/// A close under way.
pub struct lb_closing(pub(crate) Closing);

/// Begins to close the connection of `fd` and returns at once, whatever the
/// policy (NULL: the socket's own SO_LINGER) and whether or not the socket blocks.
///
/// Returns 0 where it is over at once. Fails with EWOULDBLOCK and a handle in
/// `*closing` where it goes on: `fd` is then still valid, and the handle's; poll
/// lb_closing_fd() for readability, then call lb_closing_finish(). In every other
/// case `*closing` is NULL.
///
/// ERRORS: EWOULDBLOCK with a handle; else as lb_close_with.
///
/// # Safety
/// Non-NULL `policy` and `report` point to structures as long as their `size`
/// says; `closing` points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_close_begin(
    fd: lb_socket,
    policy: *const lb_policy,
    closing: *mut *mut lb_closing,
    report: *mut lb_report,
) -> c_int {
    call(|| {
        if closing.is_null() {
            return Err(code::EINVAL);
        }
        // SAFETY: the caller's promise.
        unsafe { closing.write(std::ptr::null_mut()) };
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
        let mut begun = match Closing::begin(socket, policy) {
            Ok(begun) => begun,
            Err(error) => return outcome(Err(error), &mut report),
        };
        match finished(&mut begun) {
            Some(result) => outcome(result, &mut report),
            None => {
                // SAFETY: the caller's promise.
                unsafe { closing.write(Box::into_raw(Box::new(lb_closing(begun)))) };
                Err(code::EWOULDBLOCK)
            }
        }
    })
}

/// Goes on with a close. When it is over, the handle is freed, `*closing` becomes
/// NULL, and the result is that of lb_close_with. Until then it fails with
/// EWOULDBLOCK and leaves `*closing` as it is.
///
/// # Safety
/// `closing` points to a handle; non-NULL `report` to a structure as long as its
/// `size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closing_finish(
    closing: *mut *mut lb_closing,
    report: *mut lb_report,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let mut report = unsafe { Out::new(report) }?;
        // SAFETY: the caller's promise.
        let Some(place) = (unsafe { closing.as_mut() }) else {
            return Err(code::EINVAL);
        };
        // SAFETY: the caller's promise.
        let Some(handle) = (unsafe { place.as_mut() }) else {
            return Err(code::EINVAL);
        };
        let Some(result) = finished(&mut handle.0) else {
            return Err(code::EWOULDBLOCK);
        };
        // SAFETY: made by Box::into_raw in lb_close_begin, and taken out only here.
        drop(unsafe { Box::from_raw(std::mem::replace(place, std::ptr::null_mut())) });
        outcome(result, &mut report)
    })
}

/// Lets a handle go: the close goes on in the background, to its deadline.
/// `*closing` becomes NULL.
///
/// # Safety
/// `closing` is NULL or points to a handle or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closing_detach(closing: *mut *mut lb_closing) {
    call(|| {
        // SAFETY: the caller's promise.
        if let Some(place) = unsafe { closing.as_mut() }
            && !place.is_null()
        {
            // SAFETY: made by Box::into_raw in lb_close_begin.
            drop(unsafe { Box::from_raw(std::mem::replace(place, std::ptr::null_mut())) });
        }
        Ok(())
    });
}

fn finished(closing: &mut Closing) -> Option<Result<Report, CloseError>> {
    match closing.try_finish() {
        Err(error) if error.would_block() => None,
        result => Some(result),
    }
}
