//! The conversation with the supervisor.

use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, Ordering};

use lastbyte_run_protocol::{Kind, Left, Linger, Nonce, Request, flag};

use crate::decide::Waits;
use crate::notes::{self, Closing};
use crate::run::{self, Run};
use crate::{fd_table, io_uring, sys, trim};

const MILLISECOND: u64 = 1_000_000;
/// How long an answer about holders is waited for.
const HOLDERS_MS: u64 = 2000;
/// After it did not answer in time, the supervisor is not asked again for so long.
const SILENCE: u64 = 1000 * MILLISECOND;
/// The first sleep before a look at whether the supervisor is there; each later one is
/// twice as long, up to `LOOK`.
const FIRST_LOOK: u64 = 10 * MILLISECOND;
const LOOK: u64 = 1000 * MILLISECOND;

/// Until when the supervisor is taken for stopped (monotonic nanoseconds).
static SILENT_UNTIL: AtomicU64 = AtomicU64::new(0);

/// A close that the supervisor carries out.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) run: Run,
    pub(crate) linger: Linger,
    pub(crate) waits: Waits,
    pub(crate) fin_first: bool,
    pub(crate) flags: u32,
    /// When close was called: CLOCK_MONOTONIC in nanoseconds.
    pub(crate) began: u64,
    /// Nobody else can have shut it down, by all that was seen.
    pub(crate) is_alone: bool,
}

/// A socket that is with the supervisor; the program's own descriptor is still open.
pub(crate) struct Handed {
    run: Run,
    wait: Option<(Nonce, Option<u64>)>,
    /// Whether the result of the close says what became of the data.
    asks: bool,
}

impl Handed {
    /// The errno the close fails with, zero if it succeeds. Sleeps until the ending
    /// is over where the case said so, and no longer than the case allows. A close that
    /// asked whether all was delivered, and got no answer, does not say that it was: its
    /// time ran out, or nobody is left who could say.
    pub(crate) fn outcome(self) -> c_int {
        let Some((nonce, ms)) = self.wait else {
            return 0;
        };
        wait(self.run, nonce, ms).unwrap_or_else(|| {
            count(self.run, Left::Unreachable);
            match self.asks {
                true if run::current().is_some() => libc::EWOULDBLOCK,
                true => libc::EIO,
                false => 0,
            }
        })
    }
}

/// Counts a close that is left to the kernel.
pub(crate) fn count(run: Run, left: Left) {
    run.shared.count(left);
}

/// Hands the socket of `fd` over. `None`: it could not be, and the close is plain.
pub(crate) fn give(case: Case, fd: c_int, kind: Kind) -> Option<Handed> {
    let given = try_to_give(case, fd, kind);
    if given.is_none() {
        let closing = Closing {
            linger: case.linger,
            state: sys::tcp_info(fd).map_or(0, |info| info.state),
            left: Some(Left::Unreachable),
            flags: case.flags & flag::MAY_BE_HELD,
            began: Some(case.began),
        };
        notes::closes(case.run, fd, closing);
    }
    given
}

fn try_to_give(case: Case, fd: c_int, kind: Kind) -> Option<Handed> {
    let run = case.run;
    if !run.is_reachable() || is_silent() {
        return None;
    }
    let mut request = Request::new(kind, fd);
    request.linger = case.linger;
    request.flags = case.flags;
    for (place, byte) in request.name.iter_mut().zip(sys::thread_name()) {
        *place = byte;
    }
    request.began = case.began;
    if run.control.settings().observed {
        request.addresses = sys::addresses(fd);
    }
    // Without a nonce there is no answer, so that the close is plain.
    let wait = match case.waits {
        Waits::No => None,
        Waits::IfBlocking(ms) => Some((nonce()?, ms)),
        Waits::Always(ms) => Some((nonce()?, Some(ms))),
    };
    request.nonce = wait.map_or(0, |(nonce, _)| nonce.wire());
    if kind == Kind::End {
        part_from(fd);
    }
    if trim::reading_is_shut(fd) || !case.is_alone && trim::kernel_has_reading_shut(fd) {
        request.flags |= flag::READING_IS_SHUT;
        trim::attach(fd);
    }
    // As on Linux the FIN leaves within close, behind what is queued.
    if case.fin_first && sys::shutdown_write(fd).is_ok() {
        request.flags |= flag::FIN_IS_OUT;
    }
    match sys::send(run.channel, &request.encode(), Some(fd)) {
        Ok(()) => Some(Handed {
            run,
            wait,
            asks: matches!(case.waits, Waits::IfBlocking(_)),
        }),
        Err(error) => {
            match error {
                libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN | libc::EBADF => run::end(),
                _ => be_silent(),
            }
            None
        }
    }
}

/// While the supervisor holds the socket, the kernel keeps it in every epoll set and
/// goes on sending SIGIO: both would be events of a descriptor that the program has
/// closed.
fn part_from(fd: c_int) {
    if let Some(entry) = fd_table::entry(fd) {
        entry.leave_sets(fd);
    }
    if let Ok(flags) = sys::fcntl(fd, libc::F_GETFL, 0)
        && flags & libc::O_ASYNC != 0
    {
        let _ = sys::fcntl(fd, libc::F_SETFL, flags & !libc::O_ASYNC);
    }
}

/// Whether another descriptor of the run than `fd` means the socket `inode`: 0 if
/// none does. `None` if there was no answer.
pub(crate) fn ask_for_holders(run: Run, fd: c_int, inode: u64) -> Option<c_int> {
    if !run.is_reachable() || is_silent() {
        return None;
    }
    let nonce = nonce()?;
    let mut request = Request::new(Kind::Shared, fd);
    request.inode = inode;
    request.nonce = nonce.wire();
    if sys::send(run.channel, &request.encode(), None).is_err() {
        be_silent();
        return None;
    }
    wait(run, nonce, Some(HOLDERS_MS))
}

/// Tells the supervisor that the program executes what we cannot enter.
pub(crate) fn uncovered(run: Run, flags: u32, file: &[u8]) {
    if !run.is_reachable() || is_silent() {
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

/// The program forbids itself system calls: ends the run for this process.
pub(crate) fn withdraw() {
    // A vforked child must not end its parent's run.
    if !run::is_own_memory() {
        return;
    }
    // Without a run, as where the supervisor is gone, the hooks have system calls of their
    // own still.
    if let Some(run) = run::current() {
        uncovered_here(run, flag::SECCOMP);
        io_uring::close_all();
    }
    run::withdraw();
}

/// The program uses an io_uring for connections, which can hold what other processes
/// have, too.
pub(crate) fn ring_is_used_for_connections() {
    if let Some(run) = run::current()
        && io_uring::stop_looking()
    {
        run::blind();
        uncovered_here(run, flag::IO_URING);
    }
}

/// Tells the supervisor that this program is not covered any more.
fn uncovered_here(run: Run, reason: u32) {
    let name = sys::thread_name();
    let length = name.iter().position(|byte| *byte == 0);
    let name = name.get(..length.unwrap_or(name.len()));
    uncovered(run, reason, name.unwrap_or_default());
}

/// `None` where the system has no random bytes.
fn nonce() -> Option<Nonce> {
    Nonce::new(sys::random()?)
}

fn is_silent() -> bool {
    let until = SILENT_UNTIL.load(Ordering::Relaxed);
    until != 0 && sys::monotonic() < until
}

fn be_silent() {
    SILENT_UNTIL.store(sys::monotonic().saturating_add(SILENCE), Ordering::Relaxed);
}

/// The answer; `None` if the supervisor is gone, or gave none within `ms`.
fn wait(run: Run, nonce: Nonce, ms: Option<u64>) -> Option<c_int> {
    let end = ms.map(|ms| sys::monotonic().saturating_add(ms.saturating_mul(MILLISECOND)));
    // Nothing wakes us where the supervisor ended just before we asked.
    let mut look = FIRST_LOOK;
    loop {
        let bell = run.control.bell(nonce)?;
        if let Some(answer) = bell.answer() {
            return Some(answer);
        }
        let left = end.map_or(look, |end| end.saturating_sub(sys::monotonic()));
        if left == 0 {
            be_silent();
            return None;
        }
        // A signal is no reason to stop waiting.
        if sys::futex_wait(bell.futex(), bell.seen, left.min(look)) == Err(libc::ETIMEDOUT)
            && sys::hung_up(run.channel)
            && bell.answer().is_none()
        {
            run::end();
            return None;
        }
        look = (look * 2).min(LOOK);
    }
}
