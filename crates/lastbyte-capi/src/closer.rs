//! Many closes on one thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::time::Duration;

use lastbyte::Closer;
use libc::{c_int, c_void};

use crate::guard::{call, outcome};
use crate::platform::{code, give_back, lb_socket, own};
use crate::types::{Out, lb_policy, lb_report, lb_sums};
/// Ends many connections on one thread, each with its own deadline and report.
pub struct lb_closer(Closer);

/// Called on the closer's thread when an ending is over: the context given, 0 or
/// the errno that lb_close would have failed with, and the report, which is valid
/// during the call (NULL where the connection did not end because the socket was
/// refused; it is closed then). It must be quick: the others wait for it.
pub type lb_closer_then =
    Option<unsafe extern "C" fn(context: *mut c_void, error: c_int, report: *const lb_report)>;

/// Starts a closer. NULL and errno where no thread or descriptors can be had.
#[unsafe(no_mangle)]
pub extern "C" fn lb_closer_new() -> *mut lb_closer {
    let mut made = ptr::null_mut();
    call(|| {
        let closer = Closer::new().map_err(|error| error.raw_os_error().unwrap_or(code::ENOMEM))?;
        made = Box::into_raw(Box::new(lb_closer(closer)));
        Ok(())
    });
    made
}

struct Context(*mut c_void);

// SAFETY: lb_closer_close says that the context goes to the closer's thread.
unsafe impl Send for Context {}

impl Context {
    fn pointer(&self) -> *mut c_void {
        self.0
    }
}

/// Ends the connection of `fd` by `policy` (NULL: the socket's own SO_LINGER) and
/// calls `then` (NULL: nobody) on the closer's thread with what became of it. Off
/// is awaited too: the report comes when everything is acknowledged.
///
/// ERRORS, with `fd` untouched and `then` never called: EBADF, EINVAL (no closer,
/// or a policy that is not well-formed), ENOTSOCK, EAGAIN (too many in flight, or
/// drained), ESRCH (the closer's thread has failed, or is the parent process's).
///
/// # Safety
/// `closer` is one; a non-NULL policy is as long as its `size` says; `context` may
/// be used on another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closer_close(
    closer: *const lb_closer,
    fd: lb_socket,
    policy: *const lb_policy,
    then: lb_closer_then,
    context: *mut c_void,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let Some(closer) = (unsafe { closer.as_ref() }) else {
            return Err(code::EINVAL);
        };
        let socket = own(fd)?;
        // SAFETY: the caller's promise.
        let policy = match unsafe { lb_policy::read(policy, &socket) } {
            Ok(policy) => policy,
            Err(error) => {
                give_back(socket);
                return Err(error);
            }
        };
        let context = Context(context);
        let submitted = closer.0.close(socket, policy, move |result| {
            let Some(then) = then else { return };
            let context = context.pointer();
            let (error, report) = match &result {
                Ok(report) => (0, Some(lb_report::from(report))),
                Err(error) => (
                    error.errno().map_or(code::EIO, |errno| errno.raw()),
                    error.report().map(lb_report::from),
                ),
            };
            let report = report.as_ref().map_or(ptr::null(), ptr::from_ref);
            // SAFETY: the caller's function and context.
            let _ = catch_unwind(AssertUnwindSafe(|| unsafe { then(context, error, report) }));
        });
        match submitted {
            Ok(()) => Ok(()),
            Err(error) => outcome(Err(error), &mut None::<Out<'_, lb_report>>),
        }
    })
}

/// How many endings are in flight; 0 for NULL.
///
/// # Safety
/// NULL, or a closer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closer_in_flight(closer: *const lb_closer) -> usize {
    // SAFETY: the caller's promise.
    unsafe { closer.as_ref() }.map_or(0, |closer| closer.0.in_flight())
}

/// Waits, `milliseconds` at most, until none is in flight.
///
/// ERRORS: ETIMEDOUT, some are; EINVAL for NULL; at once EDEADLK (called by a `then`)
/// or ESRCH (no thread to wait for, as for lb_closer_close).
///
/// # Safety
/// NULL, or a closer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closer_wait_idle(closer: *const lb_closer, milliseconds: u64) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let Some(closer) = (unsafe { closer.as_ref() }) else {
            return Err(code::EINVAL);
        };
        closer.0.can_wait().map_err(|error| error.errno().raw())?;
        if closer.0.wait_idle(Duration::from_millis(milliseconds)) {
            Ok(())
        } else {
            Err(code::ETIMEDOUT)
        }
    })
}

/// Ends everything in flight within `milliseconds`, one time for all, and tells the
/// sums of these (NULL: not wanted): what a deploy wants to know. Those that reach
/// their own end before count as they are, the rest are cut short when the time is
/// over (LB_FATE_TIMED_OUT, what is lost counted). Every `then` was called when it
/// returns. The closer takes no further connections (EAGAIN). A second drain is told
/// of all that ended since the first began; lb_closer_sums has those before as well.
///
/// ERRORS: EINVAL for NULL, or sums that are not well-formed: nothing was drained.
/// At once, with what is in flight counted as unseen: EDEADLK (called by a `then`; the
/// connections still end within the time), ESRCH (the closer's thread has failed, or is
/// the parent process's).
///
/// # Safety
/// NULL, or a closer; non-NULL sums are as long as their `size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closer_drain(
    closer: *const lb_closer,
    milliseconds: u64,
    sums: *mut lb_sums,
) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let Some(closer) = (unsafe { closer.as_ref() }) else {
            return Err(code::EINVAL);
        };
        // SAFETY: the caller's promise.
        let mut sums = unsafe { Out::new(sums) }?;
        let drained = closer.0.drain(Duration::from_millis(milliseconds));
        if let Some(sums) = &mut sums {
            sums.write(&lb_sums::from(&drained.sums));
        }
        match drained.error {
            Some(error) => Err(error.errno().raw()),
            None => Ok(()),
        }
    })
}

/// The sums of all connections that have ended since the closer was made, those of a
/// drain included.
///
/// ERRORS: EINVAL for NULL, or sums that are not well-formed.
///
/// # Safety
/// NULL, or a closer; `sums` are as long as their `size` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closer_sums(closer: *const lb_closer, sums: *mut lb_sums) -> c_int {
    call(|| {
        // SAFETY: the caller's promise.
        let (closer, sums) = unsafe { (closer.as_ref(), Out::new(sums)?) };
        let (Some(closer), Some(mut sums)) = (closer, sums) else {
            return Err(code::EINVAL);
        };
        sums.write(&lb_sums::from(&closer.0.sums()));
        Ok(())
    })
}

/// Lets a closer go. Its endings in flight still reach their fate, and `then` is
/// still called.
///
/// # Safety
/// NULL, or a closer, which is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_closer_free(closer: *mut lb_closer) {
    call(|| {
        if !closer.is_null() {
            // SAFETY: made by Box::into_raw in lb_closer_new.
            drop(unsafe { Box::from_raw(closer) });
        }
        Ok(())
    });
}
