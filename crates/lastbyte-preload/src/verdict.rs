//! What is to become of one close.

use core::ffi::c_int;

use lastbyte_handoff::{Linger, Override, flag};

use crate::run::{self, Run};
use crate::{epoch, handover, sys, table};

/// tcpi_state, include/net/tcp_states.h.
const TCP_SYN_SENT: u8 = 2;
const TCP_SYN_RECV: u8 = 3;
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

const SIOCINQ: u64 = 0x541b;
const SIOCOUTQ: u64 = 0x5411;

/// The ways to close.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    /// As the kernel does it.
    Plain,
    /// The descriptor is not the program's to close.
    Hidden,
    /// Nothing is under way: FIN first, so that input arriving this instant
    /// cannot turn the close into a bare RST; then the kernel's close.
    FinThenPlain,
    /// The undertaker ends it.
    HandOver(Case),
}

/// A close that the undertaker carries out.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) run: Run,
    pub(crate) linger: Linger,
    pub(crate) waits: bool,
    pub(crate) flags: u32,
}

/// Decides about closing `fd`.
pub(crate) fn on(fd: c_int) -> Verdict {
    if run::owns(fd) {
        return Verdict::Hidden;
    }
    let entry = table::entry(fd);
    if entry.is_some_and(table::Entry::is_other) {
        return Verdict::Plain;
    }
    // The one cheap check that other descriptors cost.
    let is_tcp = match entry {
        Some(entry) if entry.is_tcp() => true,
        Some(_) => sys::protocol(fd) == Ok(libc::IPPROTO_TCP),
        None => false,
    };
    if !is_tcp {
        return Verdict::Plain;
    }
    run::current()
        .and_then(|run| on_tcp(run, fd))
        .unwrap_or(Verdict::Plain)
}

/// `None`: as the kernel does it.
fn on_tcp(run: Run, fd: c_int) -> Option<Verdict> {
    let settings = run.control.settings();
    let [l_onoff, l_linger] = sys::linger(fd).ok()?;
    let found = Linger { l_onoff, l_linger };
    let wanted = match settings.linger {
        Override::None if l_onoff == 0 => Override::Off,
        Override::None if l_linger == 0 => Override::Abort,
        // The undertaker reads the time off the request.
        Override::None => Override::Wait(0),
        asked => asked,
    };
    // EINVAL: listening. Anything else: not a TCP socket any more.
    let unacknowledged = sys::ioctl_int(fd, SIOCOUTQ).ok()?;
    let unread = sys::ioctl_int(fd, SIOCINQ).ok()?;
    let nothing_under_way = unacknowledged == 0 && unread == 0;

    if !settings.observed {
        match wanted {
            Override::Off if nothing_under_way => {
                return is_ours_alone(run, fd, Doubt::IsShared).then(|| {
                    if settings.linger == Override::Off && l_onoff != 0 {
                        let _ = sys::set_linger(fd, [0, 0]);
                    }
                    Verdict::FinThenPlain
                });
            }
            Override::Abort if settings.linger == Override::None => return None,
            _ => {}
        }
    }
    let info = sys::tcp_info(fd).ok()?;
    // Input came and we never sent anything: no byte of ours can be lost, and the
    // kernel's RST tells the peer that nobody read it.
    let only_listened =
        wanted == Override::Off && l_onoff == 0 && unacknowledged == 0 && info.bytes_sent == 0;
    if only_listened && !settings.observed {
        return None;
    }
    match info.state {
        // Never connected, for all that can be told.
        TCP_CLOSE if only_listened => return None,
        TCP_LISTEN | TCP_SYN_SENT | TCP_SYN_RECV => return None,
        // Reset, finished, or never connected: only a wait or a log asks which.
        TCP_CLOSE if !settings.observed && !matches!(wanted, Override::Wait(_)) => return None,
        _ => {}
    }
    if run.control.is_full(sys::user) || !is_ours_alone(run, fd, Doubt::Ask) {
        return None;
    }
    let blocking = sys::fcntl(fd, libc::F_GETFL, 0).ok()? & libc::O_NONBLOCK == 0;
    let waits = match wanted {
        Override::Wait(_) => blocking,
        // The RST is out when close returns, as without us.
        Override::Abort => true,
        // Nor may being watched change what the kernel does, or when.
        Override::Off | Override::None => only_listened,
    };
    let flags = if only_listened {
        flag::AS_THE_KERNEL_DOES
    } else {
        0
    };
    Some(Verdict::HandOver(Case {
        run,
        linger: found,
        waits,
        flags,
    }))
}

#[derive(PartialEq, Eq)]
enum Doubt {
    IsShared,
    Ask,
}

/// Whether nobody else holds the socket of `fd`. The undertaker can look through
/// the other processes, which is worth it only where something is under way.
fn is_ours_alone(run: Run, fd: c_int, doubt: Doubt) -> bool {
    let Ok(cookie) = sys::cookie(fd) else {
        return false;
    };
    let Some(entry) = table::entry(fd) else {
        return false;
    };
    if !entry.sets_are_known() {
        return false;
    }
    entry.is_ours_alone(cookie, epoch::now())
        || doubt == Doubt::Ask
            && !run.shared.is_left_alone(cookie)
            && !run.shared.is_blind()
            && handover::nobody_else_holds(run, fd)
}
