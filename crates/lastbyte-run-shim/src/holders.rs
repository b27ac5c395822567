//! Who holds a connection: this descriptor alone, by all that was seen, or another too.

use core::ffi::c_int;

use lastbyte_run_protocol::Left;

use crate::run::Run;
use crate::text::Text;
use crate::{epoch, fd_table, handover, sys};

/// How long another process's close of the same connection is waited for.
const PATIENCE: u32 = 50_000_000;
/// Looks at whether it is over.
const STEP: u32 = 50_000;

/// A close of a connection that others may hold. One at a time asks who they are, so
/// that of two that let go at once the second finds the first gone.
#[must_use]
#[derive(Clone, Copy)]
pub(crate) struct Turn(Option<(Run, usize, u64)>);

impl Turn {
    /// None was needed.
    pub(crate) const NONE: Self = Self(None);

    /// Waits for the turn; goes on without one where it does not come.
    fn take(run: Run, cookie: u64) -> Self {
        for _ in 0..PATIENCE / STEP {
            match run.shared.take_turn(cookie) {
                Ok(place) => return Self(Some((run, place, cookie))),
                Err(true) => sys::sleep(STEP),
                Err(false) => return Self::NONE,
            }
        }
        // Whoever had it died with it, or is stopped: the place is taken over.
        match run.shared.place_of(cookie) {
            Some(place) => Self(Some((run, place, cookie))),
            None => Self::NONE,
        }
    }

    /// The descriptor is gone, or the connection is with the supervisor.
    pub(crate) fn is_over(self) {
        if let Some((run, place, cookie)) = self.0 {
            run.shared.end_turn(place, cookie);
        }
    }
}

/// Whether nobody else can hold the socket of `fd`, by all that was seen.
pub(crate) fn is_ours_alone(fd: c_int) -> bool {
    fd_table::entry(fd).is_some_and(|entry| {
        entry.sets_are_known()
            && sys::cookie(fd).is_ok_and(|cookie| entry.is_ours_alone(cookie, epoch::now()))
    })
}

/// The turn to let go of what others may hold, where it can be told who they are.
pub(crate) fn turn_unless(is_alone: bool, run: Run, fd: c_int) -> Turn {
    if is_alone {
        return Turn::NONE;
    }
    match cookie_of(run, fd) {
        Ok(cookie) => Turn::take(run, cookie),
        Err(_) => Turn::NONE,
    }
}

/// Whether closing `fd` ends the connection. The supervisor can look through the other
/// processes, which is worth it only where something is under way.
pub(crate) fn can_be_ended(run: Run, fd: c_int) -> Result<bool, Left> {
    let (Ok(cookie), Some(entry)) = (sys::cookie(fd), fd_table::entry(fd)) else {
        return Err(Left::Holders);
    };
    if !entry.sets_are_known() {
        return Err(Left::EpollSets);
    }
    if entry.is_ours_alone(cookie, epoch::now()) {
        return Ok(true);
    }
    can_be_told(run, fd)?;
    match others(run, fd) {
        Others::None => Ok(true),
        Others::Some => Ok(false),
        Others::Unknown => Err(Left::Holders),
    }
}

/// Whether it can be told, now or later, who else holds the socket of `fd`.
pub(crate) fn can_be_told(run: Run, fd: c_int) -> Result<(), Left> {
    cookie_of(run, fd).map(drop)
}

/// The cookie of a socket whose holders can be told.
fn cookie_of(run: Run, fd: c_int) -> Result<u64, Left> {
    match sys::cookie(fd) {
        Ok(cookie) if !run.shared.is_left_alone(cookie) && !run.shared.is_blind() => Ok(cookie),
        _ => Err(Left::Holders),
    }
}

/// What is known of other holders.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    None,
    Some,
    /// That cannot be told.
    Unknown,
}

/// Whether a process of the run holds the socket of `fd` by another descriptor.
fn others(run: Run, fd: c_int) -> Others {
    let Ok(stat) = sys::stat(fd) else {
        return Others::Unknown;
    };
    // A server that forks and closes its copy is answered by one look at the child.
    if is_held_by_relative(fd, stat.st_ino) {
        return Others::Some;
    }
    match handover::ask_for_holders(run, fd, stat.st_ino) {
        Some(0) => Others::None,
        Some(_) => Others::Some,
        None => Others::Unknown,
    }
}

/// Whether the last child or the parent has the socket of `fd` at the same number.
pub(crate) fn relative_holds(fd: c_int) -> bool {
    sys::stat(fd).is_ok_and(|stat| is_held_by_relative(fd, stat.st_ino))
}

fn is_held_by_relative(fd: c_int, inode: u64) -> bool {
    [epoch::last_child(), sys::parent()]
        .into_iter()
        .any(|relative| relative > 0 && holds(relative, fd, inode))
}

/// Whether the parent goes on with the socket of `fd`. A close of the parent's that has
/// found this process to be the other holder is waited for.
pub(crate) fn parent_goes_on(run: Run, fd: c_int) -> bool {
    if !parent_holds(fd) {
        return false;
    }
    let turn = turn_unless(is_ours_alone(fd), run, fd);
    let holds = parent_holds(fd);
    turn.is_over();
    holds
}

/// Whether the parent has the socket of `fd` at the same number.
fn parent_holds(fd: c_int) -> bool {
    let parent = sys::parent();
    parent > 0 && sys::stat(fd).is_ok_and(|stat| holds(parent, fd, stat.st_ino))
}

/// Whether the process has `inode` at the same descriptor.
fn holds(process: c_int, fd: c_int, inode: u64) -> bool {
    let mut path = Text::new();
    path.push(b"/proc/");
    path.number(process.unsigned_abs().into());
    path.push(b"/fd/");
    path.number(fd.unsigned_abs().into());
    path.push(b"\0");
    let mut expected = Text::new();
    expected.push(b"socket:[");
    expected.number(inode);
    expected.push(b"]");
    let mut buffer = [0; 64];
    sys::readlink(path.bytes(), &mut buffer).is_ok_and(|link| link == expected.bytes())
}
