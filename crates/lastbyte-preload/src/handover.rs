//! The conversation with the undertaker.

use core::ffi::c_int;

use lastbyte_handoff::{Kind, Nonce, Request};

use crate::hooks::fork;
use crate::run::{self, Run};
use crate::verdict::Case;
use crate::{sys, table};

/// A socket that is with the undertaker; the program's own descriptor is still open.
pub(crate) struct Handed {
    run: Run,
    wait: Option<Nonce>,
}

impl Handed {
    /// The errno the close fails with, zero if it succeeds. Sleeps until the
    /// ending is over where the case said so.
    pub(crate) fn outcome(self) -> c_int {
        match self.wait {
            Some(nonce) => wait(self.run, nonce).unwrap_or(0),
            None => 0,
        }
    }
}

/// Hands the socket of `fd` over. `None`: it could not be, and the close is plain.
pub(crate) fn give(case: Case, fd: c_int, kind: Kind) -> Option<Handed> {
    let Case {
        run,
        linger,
        waits,
        flags,
    } = case;
    if !run.is_reachable() {
        return None;
    }
    let mut request = Request::new(kind, fd);
    request.linger = linger;
    request.flags = flags;
    for (place, byte) in request.name.iter_mut().zip(sys::thread_name()) {
        *place = byte;
    }
    request.began = sys::monotonic();
    // Without a nonce there is no answer, so that the close is plain.
    let wait = if waits { Some(nonce()?) } else { None };
    request.nonce = wait.map_or(0, Nonce::wire);
    if kind == Kind::End {
        // While the undertaker holds the socket, the kernel keeps it in every
        // epoll set and goes on sending SIGIO: both would be events of a
        // descriptor that the program has closed.
        if let Some(entry) = table::entry(fd) {
            entry.leave_sets(fd);
        }
        if let Ok(flags) = sys::fcntl(fd, libc::F_GETFL, 0)
            && flags & libc::O_ASYNC != 0
        {
            let _ = sys::fcntl(fd, libc::F_SETFL, flags & !libc::O_ASYNC);
        }
    }
    match sys::send(run.channel, &request.encode(), Some(fd)) {
        Ok(()) => Some(Handed { run, wait }),
        Err(error) => {
            if matches!(
                error,
                libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN | libc::EBADF
            ) {
                run::end();
            }
            None
        }
    }
}

/// Whether no other process of the run holds the socket of `fd`.
pub(crate) fn nobody_else_holds(run: Run, fd: c_int) -> bool {
    let Ok(stat) = sys::stat(fd) else {
        return false;
    };
    // A server that forks and closes its copy is answered by one look at the child.
    for relative in [fork::last_child(), sys::parent()] {
        if relative > 0 && holds(relative, fd, stat.st_ino) {
            return false;
        }
    }
    if !run.is_reachable() {
        return false;
    }
    let Some(nonce) = nonce() else {
        return false;
    };
    let mut request = Request::new(Kind::Shared, fd);
    request.inode = stat.st_ino;
    request.nonce = nonce.wire();
    sys::send(run.channel, &request.encode(), None).is_ok() && wait(run, nonce) == Some(0)
}

/// Tells the undertaker that the program executes what we cannot enter.
pub(crate) fn uncovered(run: Run, flags: u32, file: &[u8]) {
    if !run.is_reachable() {
        return;
    }
    let mut request = Request::new(Kind::Uncovered, -1);
    request.flags = flags;
    let tail = file.len().saturating_sub(Request::NAME - 1);
    for (place, byte) in request.name.iter_mut().zip(file.iter().skip(tail)) {
        *place = *byte;
    }
    let _ = sys::send(run.channel, &request.encode(), None);
}

/// `None` where the system has no random bytes.
fn nonce() -> Option<Nonce> {
    Nonce::new(sys::random()?)
}

/// The answer; `None` if the undertaker died before it gave one.
fn wait(run: Run, nonce: Nonce) -> Option<c_int> {
    loop {
        let bell = run.control.bell(nonce)?;
        if let Some(answer) = bell.answer() {
            return Some(answer);
        }
        // A signal is no reason to stop waiting. The time-out is there for the
        // undertaker's death alone.
        if sys::futex_wait(bell.futex(), bell.seen) == Err(libc::ETIMEDOUT)
            && sys::hung_up(run.channel)
            && bell.answer().is_none()
        {
            run::end();
            return None;
        }
    }
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

/// A short text on the stack.
struct Text {
    bytes: [u8; 64],
    length: usize,
}

impl Text {
    const fn new() -> Self {
        Self {
            bytes: [0; 64],
            length: 0,
        }
    }

    fn push(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
    }

    fn number(&mut self, mut value: u64) {
        let mut digits = [0; 20];
        let mut used = 0;
        for place in digits.iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
            used += 1;
            if value == 0 {
                break;
            }
        }
        self.push(digits.get(20 - used..).unwrap_or_default());
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
