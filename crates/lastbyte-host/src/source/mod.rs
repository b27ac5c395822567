//! The kernel's sources: what they need, and the system calls to read them.
//!
//! | source | gives | needs |
//! |---|---|---|
//! | [`destroy`] | each TCP socket's final counts | nothing |
//! | [`diag`] | the table of living and TIME_WAIT sockets | nothing |
//! | [`owners`] | which process holds a socket | root for other users' processes |
//! | [`tracepoints`] | each transition, each RST and its reason | root, or `CAP_PERFMON` and readable tracefs |
//! | [`rst_tap`] | RSTs on their way out | `CAP_NET_RAW` |
//! | [`counters`] | `/proc/net` | nothing |

pub(crate) mod backlog;
pub(crate) mod cgroups;
pub(crate) mod clock;
pub(crate) mod collector;
pub(crate) mod counters;
pub(crate) mod destroy;
pub(crate) mod diag;
pub(crate) mod idle;
mod leftovers;
pub(crate) mod names;
pub(crate) mod netns;
pub(crate) mod owners;
pub(crate) mod priority;
pub(crate) mod ring;
pub(crate) mod rst_tap;
pub(crate) mod steps;
pub(crate) mod tracefs;
pub(crate) mod tracepoints;

use std::io;

/// What a system call returned, -1 turned into its error.
pub(crate) fn check(returned: libc::c_int) -> io::Result<libc::c_int> {
    if returned < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(returned)
}

/// An error with what was being done.
pub(crate) fn doing(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}
