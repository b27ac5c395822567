//! What the supervisor is told of connections that the kernel closes, where somebody
//! observes the run. A note changes nothing: no socket goes along, nobody waits for an
//! answer, and where the channel is full it is left out and counted.

use core::ffi::c_int;

use lastbyte_run_protocol::{Kind, Left, Linger, Request, flag};

use crate::run::{self, Run};
use crate::{descriptors, fd_table, sys};

const SIOCINQ: u64 = 0x541b;

/// What is known of a socket that the kernel closes next.
#[derive(Clone, Copy)]
pub(crate) struct Closing {
    pub(crate) linger: Linger,
    /// `tcpi_state`; zero where it is not known.
    pub(crate) state: u8,
    /// Why the contract is not kept; `None` where it is.
    pub(crate) left: Option<Left>,
    /// Bits of a request's flags.
    pub(crate) flags: u32,
    /// When close was called: CLOCK_MONOTONIC in nanoseconds; `None` where that is now.
    pub(crate) began: Option<u64>,
}

impl Closing {
    /// One of which nothing is known.
    pub(crate) fn unknown(left: Left) -> Self {
        Self {
            linger: Linger::default(),
            state: 0,
            left: Some(left),
            flags: flag::MAY_BE_HELD,
            began: None,
        }
    }

    /// A connection of MPTCP.
    pub(crate) fn mptcp(left: Left) -> Self {
        Self {
            linger: Linger::default(),
            state: 0,
            left: Some(left),
            flags: flag::MPTCP,
            began: None,
        }
    }
}

/// The run, if somebody observes it.
fn observed() -> Option<Run> {
    run::current().filter(|run| run.control.is_observed())
}

/// `fd` is a connection of the program's from now on.
pub(crate) fn opened(fd: c_int, flags: u32) {
    let Some(run) = observed() else { return };
    let Some(mut request) = note(Kind::Opened, fd) else {
        return;
    };
    request.flags = flags;
    if !post(run, &request) {
        run.shared.count_unannounced();
    }
}

/// The sending side of `fd` was shut down by the program.
pub(crate) fn half_closed(fd: c_int) {
    if let Some(run) = observed()
        && let Ok(cookie) = sys::cookie(fd)
    {
        let mut request = Request::new(Kind::HalfClosed, fd);
        request.cookie = cookie;
        request.flags = trimmed(fd);
        post(run, &request);
    }
}

/// The flag of a connection whose input our filter keeps out.
fn trimmed(fd: c_int) -> u32 {
    match fd_table::entry(fd).is_some_and(fd_table::Entry::is_trimmed) {
        true => flag::INPUT_IS_TRIMMED,
        false => 0,
    }
}

/// The kernel closes `fd` next.
pub(crate) fn closes(run: Run, fd: c_int, closing: Closing) {
    let is_noted = run.control.is_observed()
        && note(Kind::Closes, fd).is_some_and(|mut request| {
            request.linger = closing.linger;
            request.unread = sys::ioctl_int(fd, SIOCINQ).ok().map(c_int::cast_unsigned);
            request.state = closing.state;
            request.left = closing.left;
            request.flags = closing.flags | trimmed(fd);
            request.began = closing.began.unwrap_or_else(sys::monotonic);
            post(run, &request)
        });
    if let Some(left) = closing.left
        && !is_noted
    {
        run.shared.count(left);
    }
}

/// Announces the connections that were open before the shim came up: exec keeps them.
pub(crate) fn inherited() {
    if observed().is_none() {
        return;
    }
    descriptors::each(0, c_int::MAX, |fd| {
        if descriptors::is_tcp(fd) && sys::is_connected(fd) {
            // Nobody has said which side connected.
            opened(fd, flag::INHERITED);
        }
    });
}

fn note(kind: Kind, fd: c_int) -> Option<Request> {
    let mut request = Request::new(kind, fd);
    request.cookie = sys::cookie(fd).ok()?;
    // Accepted MPTCP sockets have their listener's cookie (Linux 6.18).
    request.inode = sys::stat(fd).ok()?.st_ino;
    request.addresses = sys::addresses(fd);
    for (place, byte) in request.name.iter_mut().zip(sys::thread_name()) {
        *place = byte;
    }
    Some(request)
}

/// False if it was left out.
fn post(run: Run, request: &Request) -> bool {
    run.is_reachable() && sys::post(run.channel, &request.encode()).is_ok()
}
