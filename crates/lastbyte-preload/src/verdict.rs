//! What is to become of one close: the facts are gathered here, `decide` decides.

use core::ffi::c_int;

use lastbyte_handoff::{Left, Linger, flag};

use crate::decide::{self, Decision, Facts, Waits};
use crate::fd_table::{self, Entry, Made};
use crate::handover::Case;
use crate::holders::{self, Others, Turn};
use crate::notes::{self, Closing};
use crate::run::{self, Run};
use crate::{descriptors, epoch, handover, io_uring, senders, sys};

const SIOCINQ: u64 = 0x541b;
const SIOCATMARK: u64 = 0x8905;

/// The ways to close.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    /// As the kernel does it.
    Plain,
    /// The descriptor is not the program's to close.
    Hidden,
    /// FIN first, then the kernel's close.
    FinThenPlain,
    /// The undertaker ends it.
    HandOver(Case),
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A close of one descriptor, which ends the connection if it is the last.
    Close,
    /// The end of the process: others may hold the connection, and the undertaker
    /// finds out once this one is gone.
    Exit,
}

/// Decides about closing `fd`. The turn is to be given back when `fd` is closed.
pub(crate) fn on(fd: c_int) -> (Verdict, Turn) {
    if run::owns(fd) {
        return (Verdict::Hidden, Turn::NONE);
    }
    if let Some(shared) = run::withdrawn() {
        // No system call from here on: it may be forbidden.
        if fd_table::entry(fd).is_some_and(fd_table::Entry::is_tcp) {
            shared.count(Left::Withdrawn);
        }
        return (Verdict::Plain, Turn::NONE);
    }
    let kind = descriptors::kind(fd);
    if kind == Made::Other {
        return (Verdict::Plain, Turn::NONE);
    }
    let Some(run) = run::current() else {
        return (Verdict::Plain, Turn::NONE);
    };
    let mut turn = Turn::NONE;
    if kind == Made::Mptcp {
        count_mptcp(run, fd, &mut turn);
        return (Verdict::Plain, turn);
    }
    let verdict = on_tcp(run, fd, Asked::Close, &mut turn).unwrap_or(Verdict::Plain);
    (verdict, turn)
}

/// Decides about `fd` at the end of the process.
pub(crate) fn at_exit(run: Run, fd: c_int) -> Verdict {
    let mut unused = Turn::NONE;
    on_tcp(run, fd, Asked::Exit, &mut unused).unwrap_or(Verdict::Plain)
}

/// The kernel closes an MPTCP connection with all its subflows. No other close can be
/// put together from outside, so it is the kernel's.
fn count_mptcp(run: Run, fd: c_int, turn: &mut Turn) {
    if !is_mptcp_to_count(fd) {
        return;
    }
    if !is_ours_alone(fd) {
        *turn = turn_of(run, fd);
    }
    match can_be_ended(run, fd) {
        Ok(true) => notes::closes(run, fd, Closing::mptcp(Left::Mptcp)),
        Ok(false) => {}
        Err(left) => notes::closes(run, fd, Closing::mptcp(left)),
    }
}

/// As [`count_mptcp`], at the end of the process, where only the likely holders are
/// looked at.
pub(crate) fn count_mptcp_at_exit(run: Run, fd: c_int) {
    if is_mptcp_to_count(fd) && (is_ours_alone(fd) || !holders::relative_holds(fd)) {
        notes::closes(run, fd, Closing::mptcp(Left::Mptcp));
    }
}

fn is_mptcp_to_count(fd: c_int) -> bool {
    sys::is_connected(fd) && fd_table::entry(fd).is_none_or(Entry::count_once)
}

/// `None`: as the kernel does it, which is noted where it is the connection's end.
fn on_tcp(run: Run, fd: c_int, asked: Asked, turn: &mut Turn) -> Option<Verdict> {
    if io_uring::look_at_polled().is_err() {
        run::blind();
        handover::withdraw(flag::IO_URING);
        let closing = Closing {
            linger: Linger::default(),
            state: 0,
            left: Some(Left::Withdrawn),
            flags: flag::MAY_BE_HELD,
        };
        notes::closes(run, fd, closing);
        return None;
    }
    let settings = run.control.settings();
    let is_alone = is_ours_alone(fd);
    if asked == Asked::Close && !is_alone {
        // Before the facts: what another holder does from here on it does after us.
        *turn = turn_of(run, fd);
    }
    let facts = facts(fd)?;
    let closing = Closing {
        linger: facts.linger,
        state: facts.state,
        left: None,
        flags: if is_alone { 0 } else { flag::MAY_BE_HELD },
    };
    // Its close must send nothing (CRIU moves connections so).
    if run.shared.has_repaired() && sys::repair(fd).is_ok_and(|on| on != 0) {
        notes::closes(run, fd, closing);
        return None;
    }
    let left = match decide::decide(settings, facts) {
        Decision::Plain => None,
        Decision::FinThenPlain => {
            notes::closes(run, fd, closing);
            return (asked == Asked::Close && is_alone).then(|| {
                if facts.linger.l_onoff != 0 {
                    // `--linger off` has its way.
                    let _ = sys::set_linger(fd, [0, 0]);
                }
                Verdict::FinThenPlain
            });
        }
        Decision::HandOver(how) => match case(run, fd, asked, facts.linger, how) {
            Ok(case) => return Some(Verdict::HandOver(case)),
            Err(NotHanded::Held) => return None,
            Err(NotHanded::Left(left)) => Some(left),
        },
    };
    notes::closes(run, fd, Closing { left, ..closing });
    None
}

/// Why a connection is not handed over.
enum NotHanded {
    /// Another goes on with it.
    Held,
    /// What becomes of it is the kernel's affair, which is counted.
    Left(Left),
}

/// How `fd` is handed over.
fn case(
    run: Run,
    fd: c_int,
    asked: Asked,
    linger: Linger,
    how: decide::How,
) -> Result<Case, NotHanded> {
    if run.control.is_full(sys::user) {
        return Err(NotHanded::Left(Left::Full));
    }
    let mode = sys::fcntl(fd, libc::F_GETFL, 0).map_err(|_| NotHanded::Left(Left::Unseen))?;
    let is_blocking = mode & libc::O_NONBLOCK == 0;
    let mut flags = 0;
    match asked {
        Asked::Close => match can_be_ended(run, fd) {
            Ok(true) => {}
            Ok(false) => return Err(NotHanded::Held),
            Err(left) => return Err(NotHanded::Left(left)),
        },
        Asked::Exit => {
            if !is_ours_alone(fd) {
                can_be_told(run, fd).map_err(NotHanded::Left)?;
                flags |= flag::MAY_BE_HELD;
            }
        }
    }
    if asked == Asked::Close && is_blocking && senders::may_be_inside(fd) {
        return Err(NotHanded::Left(Left::Sending));
    }
    if how.fin_is_out {
        flags |= flag::FIN_IS_OUT;
    }
    Ok(Case {
        run,
        linger,
        waits: match how.waits {
            Waits::IfBlocking(_) if !is_blocking => Waits::No,
            waits => waits,
        },
        fin_first: how.fin_first,
        flags,
    })
}

/// `None`: not a TCP socket any more.
fn facts(fd: c_int) -> Option<Facts> {
    let [l_onoff, l_linger] = sys::linger(fd).ok()?;
    let info = sys::tcp_info(fd).ok()?;
    Some(Facts {
        linger: Linger { l_onoff, l_linger },
        state: info.state,
        in_flight: info.in_flight,
        not_sent: info.not_sent,
        bytes_sent: info.bytes_sent,
        has_unread: has_unread(fd)?,
    })
}

/// Whether input waits. An urgent byte is not counted by `SIOCINQ`, and neither is what
/// lies behind it; but the kernel's close looks at the queue and sees it.
fn has_unread(fd: c_int) -> Option<bool> {
    if sys::receive_memory(fd).ok()? == 0 {
        return Some(false);
    }
    // A FIN takes memory and is no input.
    let is_input =
        sys::ioctl_int(fd, SIOCINQ).ok()? > 0 || sys::ioctl_int(fd, SIOCATMARK).ok()? > 0;
    Some(is_input)
}

/// Whether nobody else can hold the socket of `fd`, by all that was seen.
fn is_ours_alone(fd: c_int) -> bool {
    fd_table::entry(fd).is_some_and(|entry| {
        entry.sets_are_known()
            && sys::cookie(fd).is_ok_and(|cookie| entry.is_ours_alone(cookie, epoch::now()))
    })
}

/// The turn to let go of what others may hold, where it can be told who they are.
fn turn_of(run: Run, fd: c_int) -> Turn {
    match sys::cookie(fd) {
        Ok(cookie) if !run.shared.is_left_alone(cookie) && !run.shared.is_blind() => {
            Turn::take(run, cookie)
        }
        _ => Turn::NONE,
    }
}

/// Whether closing `fd` ends the connection. The undertaker can look through the other
/// processes, which is worth it only where something is under way.
fn can_be_ended(run: Run, fd: c_int) -> Result<bool, Left> {
    let (Ok(cookie), Some(entry)) = (sys::cookie(fd), fd_table::entry(fd)) else {
        return Err(Left::Holders);
    };
    if !entry.sets_are_known() {
        return Err(Left::EpollSets);
    }
    if entry.is_ours_alone(cookie, epoch::now()) {
        return Ok(true);
    }
    if run.shared.is_left_alone(cookie) || run.shared.is_blind() {
        return Err(Left::Holders);
    }
    match holders::others(run, fd) {
        Others::None => Ok(true),
        Others::Some => Ok(false),
        Others::Unknown => Err(Left::Holders),
    }
}

/// Whether it can be told, now or later, who else holds the socket of `fd`.
fn can_be_told(run: Run, fd: c_int) -> Result<(), Left> {
    match sys::cookie(fd) {
        Ok(cookie) if !run.shared.is_left_alone(cookie) && !run.shared.is_blind() => Ok(()),
        _ => Err(Left::Holders),
    }
}
