//! The structures that cross, and how they can grow.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::net::Shutdown;
use std::time::Duration;

use lastbyte::{Fate, Linger, Policy, Report, Side, Sums};
use libc::{c_char, c_int};

use crate::platform::{AsSocket, code};

/// What a close is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum lb_linger {
    /// What the socket's own SO_LINGER says.
    LB_LINGER_OF_SOCKET = 0,
    /// Return at once, deliver in the background.
    LB_LINGER_OFF = 1,
    /// Reset the connection, discard what is queued, leave no TIME_WAIT.
    LB_LINGER_ABORT = 2,
    /// Wait up to `wait_ms` for data and FIN to be acknowledged.
    LB_LINGER_WAIT = 3,
}

/// Bits of `lb_policy.flags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum lb_policy_flag {
    /// After delivery, also wait for the peer to close its side.
    LB_POLICY_CONFIRM = 1,
    /// Once everything is acknowledged, end with an RST instead of TIME_WAIT.
    LB_POLICY_WITHOUT_TIME_WAIT = 2,
    /// The program has shut down its sending side itself, and left its reading side
    /// open: needed for exact counts of a connection that is gone before the close.
    LB_POLICY_HALF_CLOSED = 4,
    /// The program has shut down both sides itself (SHUT_RDWR): needed as
    /// LB_POLICY_HALF_CLOSED is, and so that a reset of a connection that is gone before
    /// the close is not blamed on the peer where input may have made this host send it.
    LB_POLICY_SHUT_DOWN = 8,
}

/// How a connection is to be ended. Start from LB_POLICY_INIT.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct lb_policy {
    /// sizeof(lb_policy), so that the structure can grow.
    pub size: usize,
    /// An `lb_linger`.
    pub linger: c_int,
    /// Bits of `lb_policy_flag`; others are refused with EINVAL.
    pub flags: u32,
    /// Milliseconds to wait at most, with LB_LINGER_WAIT; 0 is refused with
    /// EINVAL, since it would be an abort.
    pub wait_ms: u64,
    /// Give up when nothing new was acknowledged for so many milliseconds; 0: do not.
    pub stall_ms: u64,
    /// Bytes of late input discarded at most; 0: the default, 64 MiB.
    pub drain_bytes: u64,
    /// Milliseconds that late input is discarded after delivery; 0: the default, 10 s.
    pub drain_ms: u64,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum lb_fate {
    /// Not known (yet).
    LB_FATE_NONE = 0,
    /// Data and FIN were acknowledged by the peer's TCP.
    LB_FATE_DELIVERED = 1,
    /// Delivered, and the peer closed its side.
    LB_FATE_CONFIRMED = 2,
    /// The time ran out.
    LB_FATE_TIMED_OUT = 3,
    /// Nothing new was acknowledged for the policy's stall time.
    LB_FATE_STALLED = 4,
    /// The peer sent an RST.
    LB_FATE_RESET = 5,
    /// The connection broke otherwise, or it is not known that it was the peer;
    /// `error` says why, 0 where a read or write of the program's has taken it.
    LB_FATE_FAILED = 6,
    /// We reset the connection, as asked.
    LB_FATE_ABORTED = 7,
    /// Left to the background or to the kernel; its fate is not awaited, or cannot
    /// be seen.
    LB_FATE_DETACHED = 8,
}

/// An end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum lb_side {
    /// Not known.
    LB_SIDE_UNKNOWN = 0,
    /// This host.
    LB_SIDE_LOCAL = 1,
    /// The other end.
    LB_SIDE_PEER = 2,
}

/// What became of a connection's bytes. Start from LB_REPORT_INIT. Counts are
/// payload; a number that is not known is -1.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct lb_report {
    /// sizeof(lb_report), so that the structure can grow.
    pub size: usize,
    /// An `lb_fate`.
    pub fate: c_int,
    /// Whether we sent an RST: 0, 1, or -1 where that is not known.
    pub rst_sent: c_int,
    /// Bytes of the connection's whole life that the peer's TCP acknowledged.
    pub acked: i64,
    /// Bytes that send() accepted and the peer never acknowledged.
    pub lost: i64,
    /// Of these, bytes that were never transmitted.
    pub unsent: i64,
    /// Bytes of input that arrived and were discarded.
    pub unread: i64,
    /// An `lb_side`: whose FIN (or, in an abort, RST) came first.
    pub closed_first: c_int,
    /// Why the close failed: EWOULDBLOCK (time ran out), ECONNRESET, what the kernel
    /// gave up with, or (LB_FATE_DETACHED) what kept a close that was to wait from
    /// seeing how it goes on; 0 if it did not fail, or the reason is not known.
    pub error: c_int,
    /// Microseconds from the call to the fate.
    pub elapsed_us: u64,
}

/// The sums of many reports. Start from LB_SUMS_INIT. A sum in which a number is
/// not known is -1; its `_known` is then the sum of those that are, and its `_unknown`
/// the number of connections that are not in that.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct lb_sums {
    /// sizeof(lb_sums), so that the structure can grow.
    pub size: usize,
    /// Connections in all: those of each fate, and `unseen`.
    pub connections: u64,
    /// Connections with LB_FATE_DELIVERED.
    pub delivered: u64,
    /// Connections with LB_FATE_CONFIRMED.
    pub confirmed: u64,
    /// Connections with LB_FATE_TIMED_OUT.
    pub timed_out: u64,
    /// Connections with LB_FATE_STALLED.
    pub stalled: u64,
    /// Connections with LB_FATE_RESET.
    pub reset: u64,
    /// Connections with LB_FATE_FAILED.
    pub failed: u64,
    /// Connections with LB_FATE_ABORTED.
    pub aborted: u64,
    /// Connections with LB_FATE_DETACHED.
    pub detached: u64,
    /// Connections that ended without a report: the kernel would not show them.
    pub unseen: u64,
    /// Bytes that the peers' TCP acknowledged.
    pub acked: i64,
    /// Bytes that send() accepted and the peers never acknowledged.
    pub lost: i64,
    /// Of these, bytes that were never transmitted.
    pub unsent: i64,
    /// Bytes of input that arrived and were discarded.
    pub unread: i64,
    /// Connections to which we sent an RST.
    pub rst_sent: i64,
    /// The known part of `acked`.
    pub acked_known: u64,
    /// Connections of which that is not known.
    pub acked_unknown: u64,
    /// The known part of `lost`.
    pub lost_known: u64,
    /// Connections of which that is not known.
    pub lost_unknown: u64,
    /// The known part of `unsent`.
    pub unsent_known: u64,
    /// Connections of which that is not known.
    pub unsent_unknown: u64,
    /// The known part of `unread`.
    pub unread_known: u64,
    /// Connections of which that is not known.
    pub unread_unknown: u64,
    /// The known part of `rst_sent`.
    pub rst_sent_known: u64,
    /// Connections of which that is not known.
    pub rst_sent_unknown: u64,
}

/// The version of the library that is loaded, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn lb_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// The version of the library that is loaded, as major * 1000000 + minor * 1000
/// + patch.
#[unsafe(no_mangle)]
pub extern "C" fn lb_version_number() -> u32 {
    let number = |text: &str| {
        text.bytes()
            .fold(0_u32, |n, digit| n * 10 + u32::from(digit - b'0'))
    };
    number(env!("CARGO_PKG_VERSION_MAJOR")) * 1_000_000
        + number(env!("CARGO_PKG_VERSION_MINOR")) * 1000
        + number(env!("CARGO_PKG_VERSION_PATCH"))
}

/// The word for an `lb_fate`: "delivered", "timed_out" ...; "none" for
/// LB_FATE_NONE, NULL for what is no fate.
#[unsafe(no_mangle)]
pub extern "C" fn lb_fate_name(fate: c_int) -> *const c_char {
    const NAMES: [&CStr; 9] = [
        c"none",
        c"delivered",
        c"confirmed",
        c"timed_out",
        c"stalled",
        c"reset",
        c"failed",
        c"aborted",
        c"detached",
    ];
    usize::try_from(fate)
        .ok()
        .and_then(|fate| NAMES.get(fate))
        .map_or(std::ptr::null(), |name| name.as_ptr())
}

/// The layout of the first version: what every caller has at least.
const POLICY_SIZE: usize = size_of::<lb_policy>();
const REPORT_SIZE: usize = size_of::<lb_report>();

impl lb_policy {
    /// The policy at `policy`, for `socket`; NULL is the socket's own option.
    ///
    /// # Safety
    /// NULL, or valid for as many bytes as its `size` says.
    pub(crate) unsafe fn read(
        policy: *const Self,
        socket: &impl AsSocket,
    ) -> Result<Policy, c_int> {
        if policy.is_null() {
            return own(socket).map(Policy::new);
        }
        // SAFETY: the size comes first, whatever the version.
        let size = unsafe { (&raw const (*policy).size).read() };
        if size < POLICY_SIZE {
            return Err(code::EINVAL);
        }
        // SAFETY: at least as long as ours; a later version's fields are not known here,
        // and their zero means what this version does.
        let asked = unsafe { policy.read() };
        // SAFETY: as long as it says.
        let rest = unsafe {
            std::slice::from_raw_parts(policy.cast::<u8>().add(POLICY_SIZE), size - POLICY_SIZE)
        };
        if rest.iter().any(|byte| *byte != 0) {
            return Err(code::EINVAL);
        }
        asked.policy(socket)
    }

    fn policy(&self, socket: &impl AsSocket) -> Result<Policy, c_int> {
        let time = Duration::from_millis;
        let linger = match self.linger {
            value if value == lb_linger::LB_LINGER_OF_SOCKET as c_int => own(socket)?,
            value if value == lb_linger::LB_LINGER_OFF as c_int => Linger::Off,
            value if value == lb_linger::LB_LINGER_ABORT as c_int => Linger::Abort,
            value if value == lb_linger::LB_LINGER_WAIT as c_int && self.wait_ms > 0 => {
                Linger::Wait(time(self.wait_ms))
            }
            _ => return Err(code::EINVAL),
        };
        let confirm = lb_policy_flag::LB_POLICY_CONFIRM as u32;
        let without_time_wait = lb_policy_flag::LB_POLICY_WITHOUT_TIME_WAIT as u32;
        let half_closed = lb_policy_flag::LB_POLICY_HALF_CLOSED as u32;
        let shut_down = lb_policy_flag::LB_POLICY_SHUT_DOWN as u32;
        if self.flags & !(confirm | without_time_wait | half_closed | shut_down) != 0 {
            return Err(code::EINVAL);
        }
        let mut policy = Policy::new(linger);
        if self.stall_ms > 0 {
            policy = policy.with_stall(time(self.stall_ms));
        }
        if self.flags & confirm != 0 {
            policy = policy.with_confirm(true);
        }
        if self.flags & without_time_wait != 0 {
            policy = policy.with_time_wait(false);
        }
        if self.flags & shut_down != 0 {
            policy = policy.with_shut_down(Shutdown::Both);
        } else if self.flags & half_closed != 0 {
            policy = policy.with_shut_down(Shutdown::Write);
        }
        if self.drain_bytes > 0 {
            policy = policy.with_drain_bytes(self.drain_bytes);
        }
        if self.drain_ms > 0 {
            policy = policy.with_drain_time(time(self.drain_ms));
        }
        Ok(policy)
    }
}

fn own(socket: &impl AsSocket) -> Result<Linger, c_int> {
    Linger::of(socket).map_err(|error| error.raw_os_error().unwrap_or(code::EIO))
}

/// A number that is not known, or does not fit, is -1.
fn count(value: Option<u64>) -> i64 {
    value.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1)
}

impl From<&Sums> for lb_sums {
    fn from(sums: &Sums) -> Self {
        Self {
            size: size_of::<Self>(),
            connections: sums.connections,
            delivered: sums.delivered,
            confirmed: sums.confirmed,
            timed_out: sums.timed_out,
            stalled: sums.stalled,
            reset: sums.reset,
            failed: sums.failed,
            aborted: sums.aborted,
            detached: sums.detached,
            unseen: sums.unseen,
            acked: count(sums.acked.exact()),
            lost: count(sums.lost.exact()),
            unsent: count(sums.unsent.exact()),
            unread: count(sums.unread.exact()),
            rst_sent: count(sums.rst_sent.exact()),
            acked_known: sums.acked.known,
            acked_unknown: sums.acked.unknown,
            lost_known: sums.lost.known,
            lost_unknown: sums.lost.unknown,
            unsent_known: sums.unsent.known,
            unsent_unknown: sums.unsent.unknown,
            unread_known: sums.unread.known,
            unread_unknown: sums.unread.unknown,
            rst_sent_known: sums.rst_sent.known,
            rst_sent_unknown: sums.rst_sent.unknown,
        }
    }
}

impl From<&Report> for lb_report {
    fn from(report: &Report) -> Self {
        Self {
            size: REPORT_SIZE,
            fate: fate(report.fate) as c_int,
            rst_sent: report.rst_sent.map_or(-1, c_int::from),
            acked: count(report.acked),
            lost: count(report.lost),
            unsent: count(report.unsent),
            unread: count(report.unread),
            closed_first: match report.closed_first {
                None => lb_side::LB_SIDE_UNKNOWN,
                Some(Side::Local) => lb_side::LB_SIDE_LOCAL,
                Some(Side::Peer) => lb_side::LB_SIDE_PEER,
            } as c_int,
            error: report.error.map_or(0, |errno| errno.raw()),
            elapsed_us: u64::try_from(report.elapsed.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

fn fate(fate: Fate) -> lb_fate {
    match fate {
        Fate::Delivered => lb_fate::LB_FATE_DELIVERED,
        Fate::Confirmed => lb_fate::LB_FATE_CONFIRMED,
        Fate::TimedOut => lb_fate::LB_FATE_TIMED_OUT,
        Fate::Stalled => lb_fate::LB_FATE_STALLED,
        Fate::Reset => lb_fate::LB_FATE_RESET,
        Fate::Failed => lb_fate::LB_FATE_FAILED,
        Fate::Aborted => lb_fate::LB_FATE_ABORTED,
        Fate::Detached => lb_fate::LB_FATE_DETACHED,
        // A fate of a later library, which this ABI has no number for.
        _ => lb_fate::LB_FATE_NONE,
    }
}

/// A structure that tells how long it is, so that it can grow.
///
/// # Safety
/// `repr(C)`, and its first field is `size`, a usize.
pub(crate) unsafe trait Versioned: Copy {
    /// The same with this size.
    fn sized(self, size: usize) -> Self;
}

// SAFETY: it begins with its size.
unsafe impl Versioned for lb_report {
    fn sized(self, size: usize) -> Self {
        Self { size, ..self }
    }
}

// SAFETY: it begins with its size.
unsafe impl Versioned for lb_sums {
    fn sized(self, size: usize) -> Self {
        Self { size, ..self }
    }
}

/// A structure of the caller's to be written, which may be a later version's.
pub(crate) struct Out<'a, T> {
    place: *mut T,
    size: usize,
    caller: PhantomData<&'a mut T>,
}

impl<T: Versioned> Out<'_, T> {
    /// # Safety
    /// NULL, or valid for as many bytes as its `size` says.
    pub(crate) unsafe fn new(place: *mut T) -> Result<Option<Self>, c_int> {
        if place.is_null() {
            return Ok(None);
        }
        // SAFETY: the size comes first, whatever the version.
        let size = unsafe { place.cast::<usize>().read() };
        if size < size_of::<T>() {
            return Err(code::EINVAL);
        }
        Ok(Some(Self {
            place,
            size,
            caller: PhantomData,
        }))
    }

    /// Writes the fields of this version; the size stays the caller's.
    pub(crate) fn write(&mut self, value: &T) {
        // SAFETY: checked by `new` to be long enough, and valid by its promise.
        unsafe { self.place.write(value.sized(self.size)) };
    }
}
