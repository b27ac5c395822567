//! The actor whose connection the library closes, by each of its forms.

use std::ffi::c_int;
use std::mem::{size_of, zeroed};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use lastbyte::{CloseError, Closer, Closing, Policy, Report};
use lastbyte_capi as capi;
use lastbyte_matrix::actor::{act, release, say, stamp};
use lastbyte_matrix::axes::{Cell, Who};
use serde_json::json;

/// Longer than any ending of the matrix.
const LONG: Duration = Duration::from_secs(25);

/// Longer than any wait of the matrix.
const STALL: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    act(call)
}

fn call(cell: &Cell, fd: RawFd) {
    match cell.who {
        Who::Capi | Who::CapiClosing | Who::CapiCloser => through_c(cell, fd),
        _ => through_rust(cell, fd),
    }
    if !lastbyte::background().wait(LONG) {
        say("busy");
    }
    say("idle");
}

fn through_rust(cell: &Cell, fd: RawFd) {
    // SAFETY: the actor's descriptor, which it does not use any more.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let policy = match Policy::from_socket(&socket) {
        Ok(policy) => policy,
        Err(error) => {
            returned(-1, &error);
            return refused(&error.to_string(), Some(socket));
        }
    };
    // The program knows what it has shut down.
    let policy = match (cell.before.shuts_writing(), cell.before.shuts_reading()) {
        (true, true) => policy.with_shut_down(Shutdown::Both),
        (true, false) => policy.with_shut_down(Shutdown::Write),
        (false, _) => policy,
    };
    // A closer waits for two minutes, unless told otherwise, for a SYN to be answered.
    let policy = if cell.void() {
        policy.with_stall(STALL)
    } else {
        policy
    };
    match cell.who {
        Who::Blocking => blocking(socket, policy),
        Who::Closing => match Closing::begin(socket, policy) {
            Ok(closing) => {
                returned(0, &std::io::Error::from_raw_os_error(0));
                finish(closing);
            }
            Err(error) => told(Err(error)),
        },
        Who::Closer => closer(cell, socket, policy),
        Who::Confirm => closer(cell, socket, policy.with_confirm(true)),
        Who::Receipt => closer(cell, socket, policy.with_receipt(true)),
        Who::Background => match Closing::begin(socket, policy) {
            Ok(closing) => {
                drop(closing);
                returned(0, &std::io::Error::from_raw_os_error(0));
            }
            Err(error) => told(Err(error)),
        },
        _ => on_tokio(cell, socket, policy),
    }
}

fn blocking(socket: OwnedFd, policy: Policy) {
    match lastbyte::close(socket, policy) {
        Err(error) if error.would_block() => {
            returned(0, &std::io::Error::from_raw_os_error(0));
            if let Ok(closing) = error.into_closing() {
                finish(closing);
            }
        }
        result => told(result),
    }
}

fn finish(mut closing: Closing) {
    let result = loop {
        match closing.try_finish() {
            Err(error) if error.would_block() => wait_readable(closing.as_fd().as_raw_fd()),
            done => break done,
        }
    };
    say_result(result);
}

fn wait_readable(fd: RawFd) {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd.
    unsafe { libc::poll(&raw mut poll, 1, -1) };
}

fn closer(cell: &Cell, socket: OwnedFd, policy: Policy) {
    let closer = match Closer::new() {
        Ok(closer) => closer,
        Err(error) => return report(&json!({ "refused": error.to_string() })),
    };
    let (send, result) = mpsc::channel();
    let begun = closer.close(socket, policy, move |result| {
        let _ = send.send(result);
    });
    match begun {
        Ok(()) => {
            returned(0, &std::io::Error::from_raw_os_error(0));
            if cell.who == Who::Receipt {
                release(cell);
            }
            if let Ok(result) = result.recv_timeout(LONG) {
                say_result(result);
            }
            if !closer.wait_idle(LONG) {
                say("busy");
            }
        }
        Err(error) => told(Err(error)),
    }
}

fn on_tokio(cell: &Cell, socket: OwnedFd, policy: Policy) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return report(&json!({ "refused": "no runtime" }));
    };
    runtime.block_on(async {
        let stream = std::net::TcpStream::from(socket);
        let made = stream
            .set_nonblocking(true)
            .and_then(|()| tokio::net::TcpStream::from_std(stream));
        let stream = match made {
            Ok(stream) => stream,
            Err(error) => {
                report(&json!({ "refused": error.to_string() }));
                return returned(-1, &error);
            }
        };
        if cell.who == Who::Tokio {
            return told(lastbyte::on_tokio::close(stream, policy).await);
        }
        drop(lastbyte::on_tokio::Stream::new(stream, policy));
        returned(0, &std::io::Error::from_raw_os_error(0));
        // The runtime ends with this, and the background takes over: give the
        // stream's task a turn first.
        tokio::task::yield_now().await;
    });
}

/// The call has returned with its result.
fn told(result: Result<Report, CloseError>) {
    match &result {
        Ok(_) => returned(0, &std::io::Error::from_raw_os_error(0)),
        Err(error) => {
            let raw = error.errno().map_or(0, |errno| errno.raw());
            returned(-1, &std::io::Error::from_raw_os_error(raw));
        }
    }
    say_result(result);
}

fn say_result(result: Result<Report, CloseError>) {
    match result {
        Ok(found) => report(&json!(found)),
        Err(error) => match error.report() {
            Some(found) => report(&json!(found)),
            None => {
                refused(&error.to_string(), error.into_socket().ok());
            }
        },
    }
}

fn returned(result: i32, error: &std::io::Error) {
    say(&format!(
        "closed {result} {} {}",
        error.raw_os_error().unwrap_or(0),
        stamp()
    ));
}

fn report(json: &serde_json::Value) {
    say(&format!("report {json}"));
}

/// The library wants nothing of it, and gives it back; or it has let it go unseen.
/// The program then lets go of all its copies, by its end.
fn refused(why: &str, socket: Option<OwnedFd>) {
    let kind = if socket.is_some() {
        "refused"
    } else {
        "unseen"
    };
    report(&json!({ kind: why, "at": u64::try_from(stamp()).unwrap_or(u64::MAX) }));
    drop(socket);
    say("idle");
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}

fn through_c(cell: &Cell, fd: RawFd) {
    let policy = policy_in_c(cell);
    match cell.who {
        Who::Capi => {
            let mut report = empty_report();
            // SAFETY: a report and a policy of their sizes.
            let result = unsafe { capi::lb_close_with(fd, &raw const policy, &raw mut report) };
            let error = std::io::Error::last_os_error();
            if result < 0 && error.raw_os_error() == Some(libc::EWOULDBLOCK) && report.fate == 0 {
                // A non-blocking socket that would have to wait: untouched.
                return begin_in_c(fd, &policy);
            }
            returned(result, &error);
            in_c(fd, result, &error, &report);
        }
        Who::CapiClosing => begin_in_c(fd, &policy),
        _ => closer_in_c(fd, &policy),
    }
    if background_wait() < 0 {
        say("busy");
    }
}

/// The program knows what it has shut down.
fn policy_in_c(cell: &Cell) -> capi::lb_policy {
    let flags = match (cell.before.shuts_writing(), cell.before.shuts_reading()) {
        (true, true) => capi::lb_policy_flag::LB_POLICY_SHUT_DOWN as u32,
        (true, false) => capi::lb_policy_flag::LB_POLICY_HALF_CLOSED as u32,
        (false, _) => 0,
    };
    capi::lb_policy {
        size: size_of::<capi::lb_policy>(),
        linger: capi::lb_linger::LB_LINGER_OF_SOCKET as c_int,
        flags,
        wait_ms: 0,
        stall_ms: if cell.void() { 8000 } else { 0 },
        drain_bytes: 0,
        drain_ms: 0,
    }
}

fn background_wait() -> c_int {
    capi::lb_background_wait(u64::try_from(LONG.as_millis()).unwrap_or(u64::MAX))
}

fn empty_report() -> capi::lb_report {
    // SAFETY: integers, of which zero is a value.
    let mut report: capi::lb_report = unsafe { zeroed() };
    report.size = size_of::<capi::lb_report>();
    report
}

fn begin_in_c(fd: RawFd, policy: &capi::lb_policy) {
    let mut report = empty_report();
    let mut closing = std::ptr::null_mut();
    // SAFETY: a policy and a report of their sizes, a place for the handle.
    let mut result = unsafe { capi::lb_close_begin(fd, policy, &raw mut closing, &raw mut report) };
    let mut error = std::io::Error::last_os_error();
    if closing.is_null() {
        returned(result, &error);
        return in_c(fd, result, &error, &report);
    }
    returned(0, &error);
    while !closing.is_null() {
        // SAFETY: a handle that is not over.
        wait_readable(unsafe { capi::lb_closing_fd(closing) });
        // SAFETY: the handle, and a report of its size.
        result = unsafe { capi::lb_closing_finish(&raw mut closing, &raw mut report) };
        error = std::io::Error::last_os_error();
    }
    in_c(fd, result, &error, &report);
}

struct Told(mpsc::Sender<(c_int, capi::lb_report)>);

unsafe extern "C" fn then(
    context: *mut std::ffi::c_void,
    error: c_int,
    report: *const capi::lb_report,
) {
    // SAFETY: the context that was given, which is called once.
    let told = unsafe { Box::from_raw(context.cast::<Told>()) };
    // SAFETY: NULL, or a report that is valid during the call.
    let report = unsafe { report.as_ref() }.map_or_else(empty_report, |report| *report);
    let _ = told.0.send((error, report));
}

fn closer_in_c(fd: RawFd, policy: &capi::lb_policy) {
    let closer = capi::lb_closer_new();
    let (send, result) = mpsc::channel();
    let context = Box::into_raw(Box::new(Told(send)));
    // SAFETY: a closer; a policy of its size; the context is freed by `then`, called once.
    let begun = unsafe { capi::lb_closer_close(closer, fd, policy, Some(then), context.cast()) };
    let error = std::io::Error::last_os_error();
    returned(begun, &error);
    if begun < 0 {
        // SAFETY: `then` is never called where the closer took nothing.
        drop(unsafe { Box::from_raw(context) });
        return in_c(fd, begun, &error, &empty_report());
    }
    if let Ok((error, found)) = result.recv_timeout(LONG) {
        // A refused socket is closed already; there is no number to close.
        let socket = if found.fate == 0 { -1 } else { fd };
        let result = if error == 0 { 0 } else { -1 };
        in_c(
            socket,
            result,
            &std::io::Error::from_raw_os_error(error),
            &found,
        );
    }
    // SAFETY: a closer.
    if unsafe { capi::lb_closer_wait_idle(closer, 25_000) } < 0 {
        say("busy");
    }
    // SAFETY: not used again.
    unsafe { capi::lb_closer_free(closer) };
}

/// A report of C's in the words of the others.
fn in_c(fd: RawFd, result: c_int, error: &std::io::Error, found: &capi::lb_report) {
    if found.fate == 0 {
        // SAFETY: untouched, so it is still ours.
        let socket = (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) });
        if socket.is_none() {
            report(&json!({ "refused": format!("{result}: {error}, and closed") }));
            say("idle");
            // SAFETY: ends the process, and with it every copy.
            unsafe { libc::_exit(0) }
        }
        return refused(&format!("{result}: {error}"), socket);
    }
    let count = |n: i64| u64::try_from(n).ok();
    let fates = [
        "delivered",
        "confirmed",
        "timed_out",
        "stalled",
        "reset",
        "failed",
        "aborted",
        "detached",
    ];
    let fate = usize::try_from(found.fate)
        .ok()
        .and_then(|at| fates.get(at.wrapping_sub(1)));
    let side = match found.closed_first {
        1 => Some("local"),
        2 => Some("peer"),
        _ => None,
    };
    let errno = (found.error != 0).then(|| lastbyte::Errno::from_raw(found.error).to_string());
    report(&json!({
        "fate": fate,
        "acked": count(found.acked),
        "lost": count(found.lost),
        "unsent": count(found.unsent),
        "unread": count(found.unread),
        "rst_sent": u64::try_from(found.rst_sent).ok().map(|sent| sent != 0),
        "closed_first": side,
        "elapsed_us": found.elapsed_us,
        "error": errno,
    }));
}
