//! What the close of a descriptor does: from the descriptor to one of the ways to close.

use core::ffi::c_int;

use lastbyte_run_protocol::{Left, flag};

use crate::decide::{Decision, How, Waits, decide};
use crate::fd_table::{self, Entry, Made};
use crate::handover::{self, Case};
use crate::holders::{self, Turn};
use crate::notes::{self, Closing};
use crate::run::{self, Run};
use crate::{descriptors, facts, io_uring, senders, sys};

/// The ways to close.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// As the kernel does it.
    Plain,
    /// The descriptor is not the program's to close.
    Hidden,
    /// FIN first, then the kernel's close, without the wait or the RST that the option
    /// asks for where it is set.
    FinThenPlain { option_is_set: bool },
    /// The supervisor ends it.
    HandOver(Case),
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A close of one descriptor, which ends the connection if it is the last.
    Close,
    /// The end of the process: others may hold the connection, and the supervisor
    /// finds out once this one is gone.
    Exit,
}

/// Why a connection is not handed over.
enum NotHanded {
    /// Another goes on with it.
    Held,
    /// What becomes of it is the kernel's affair, which is counted.
    Left(Left),
}

/// Whether `fd` is the program's, and certainly neither TCP nor MPTCP.
pub(crate) fn is_no_connection(fd: c_int) -> bool {
    // After a withdrawal no system call may find out.
    !run::owns(fd) && run::withdrawn().is_none() && descriptors::kind(fd) == Made::Other
}

/// How `fd` is closed. The turn is to be given back when it is closed.
pub(crate) fn way_of(fd: c_int) -> (Way, Turn) {
    if run::owns(fd) {
        return (Way::Hidden, Turn::NONE);
    }
    if let Some(shared) = run::withdrawn() {
        // No system call from here on: it may be forbidden.
        if fd_table::entry(fd).is_some_and(Entry::is_tcp) {
            shared.count(Left::Withdrawn);
        }
        return (Way::Plain, Turn::NONE);
    }
    let kind = descriptors::kind(fd);
    if kind == Made::Other {
        return (Way::Plain, Turn::NONE);
    }
    let Some(run) = run::current() else {
        return (Way::Plain, Turn::NONE);
    };
    let is_alone = holders::is_ours_alone(fd);
    // The close's time counts from the call. The search for holders and the turn come
    // after it; where neither does, the hand-over is soon enough.
    let began = (!is_alone).then(sys::monotonic);
    // Before the facts: what another holder does from here on it does after us.
    let turn = holders::turn_unless(is_alone, run, fd);
    if kind == Made::Mptcp {
        note_mptcp(run, fd, || holders::can_be_ended(run, fd));
        return (Way::Plain, turn);
    }
    (way_of_tcp(run, fd, Asked::Close, is_alone, began), turn)
}

/// What is handed over of the TCP socket `fd` when the process ends.
pub(crate) fn case_at_exit(run: Run, fd: c_int) -> Option<Case> {
    match way_of_tcp(run, fd, Asked::Exit, holders::is_ours_alone(fd), None) {
        Way::HandOver(case) => Some(case),
        _ => None,
    }
}

/// Takes note of the MPTCP socket `fd` when the process ends, where only the likely
/// holders are looked at.
pub(crate) fn note_mptcp_at_exit(run: Run, fd: c_int) {
    note_mptcp(run, fd, || {
        Ok(holders::is_ours_alone(fd) || !holders::relative_holds(fd))
    });
}

/// The kernel closes an MPTCP connection with all its subflows. No other close can be
/// put together from outside, so it is the kernel's.
fn note_mptcp(run: Run, fd: c_int, ends: impl FnOnce() -> Result<bool, Left>) {
    if !sys::is_connected(fd) || !fd_table::entry(fd).is_none_or(Entry::count_once) {
        return;
    }
    match ends() {
        Ok(true) => notes::closes(run, fd, Closing::mptcp(Left::Mptcp)),
        Ok(false) => {}
        Err(left) => notes::closes(run, fd, Closing::mptcp(left)),
    }
}

/// What the kernel closes is noted where it is the connection's end.
fn way_of_tcp(run: Run, fd: c_int, asked: Asked, is_alone: bool, began: Option<u64>) -> Way {
    if io_uring::look_at_polled().is_err() {
        handover::ring_is_used_for_connections();
        notes::closes(run, fd, Closing::unknown(Left::Withdrawn));
        return Way::Plain;
    }
    // Without them it is no TCP socket any more.
    let Some(facts) = facts::of(run, fd) else {
        return Way::Plain;
    };
    let (way, left) = match decide(run.control.settings(), facts) {
        Decision::HandOver(how) => {
            let case = Case {
                run,
                linger: facts.linger,
                waits: Waits::No,
                fin_first: false,
                flags: if how.fin_is_out { flag::FIN_IS_OUT } else { 0 },
                began: began.unwrap_or_else(sys::monotonic),
                is_alone,
            };
            match who_waits(case, fd, asked, how) {
                Ok(case) => return Way::HandOver(case),
                Err(NotHanded::Held) => return Way::Plain,
                Err(NotHanded::Left(left)) => (Way::Plain, Some(left)),
            }
        }
        Decision::FinThenPlain if asked == Asked::Close && is_alone => {
            let option_is_set = facts.linger.l_onoff != 0;
            (Way::FinThenPlain { option_is_set }, None)
        }
        Decision::FinThenPlain | Decision::Plain => (Way::Plain, None),
    };
    let closing = Closing {
        linger: facts.linger,
        state: facts.state,
        left,
        flags: if is_alone { 0 } else { flag::MAY_BE_HELD },
        began,
    };
    notes::closes(run, fd, closing);
    way
}

/// Completes the case of `fd`: who else holds it, and whether the close waits.
fn who_waits(case: Case, fd: c_int, asked: Asked, how: How) -> Result<Case, NotHanded> {
    let run = case.run;
    if run.control.is_full(sys::user) {
        return Err(NotHanded::Left(Left::Full));
    }
    if asked == Asked::Exit {
        return at_exit(run, fd, case).map_err(NotHanded::Left);
    }
    let mode = sys::fcntl(fd, libc::F_GETFL, 0).map_err(|_| NotHanded::Left(Left::Unseen))?;
    let is_blocking = mode & libc::O_NONBLOCK == 0;
    match holders::can_be_ended(run, fd) {
        Ok(true) if is_blocking && senders::may_be_inside(fd) => {
            Err(NotHanded::Left(Left::Sending))
        }
        Ok(true) => Ok(Case {
            waits: how.waits.on(is_blocking),
            fin_first: how.fin_first,
            ..case
        }),
        Ok(false) => Err(NotHanded::Held),
        Err(left) => Err(NotHanded::Left(left)),
    }
}

/// Nobody waits for the supervisor, and stdio may still write before the FIN.
fn at_exit(run: Run, fd: c_int, case: Case) -> Result<Case, Left> {
    if case.is_alone {
        return Ok(case);
    }
    holders::can_be_told(run, fd)?;
    Ok(Case {
        flags: case.flags | flag::MAY_BE_HELD,
        // Who holds it still lets go later, and nobody may see when.
        began: if holders::relative_holds(fd) {
            0
        } else {
            case.began
        },
        ..case
    })
}
