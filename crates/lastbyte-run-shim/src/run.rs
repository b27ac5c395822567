//! The run this process belongs to: where the supervisor is, and the settings.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};
use core::{ptr, slice};

use lastbyte_run_protocol::{Address, Control, ENVIRONMENT_LENGTH, Shared};

use crate::sys;

static CHANNEL: AtomicI32 = AtomicI32::new(-1);
static MEMORY: AtomicI32 = AtomicI32::new(-1);
static BLOCK: AtomicI32 = AtomicI32::new(-1);
static OWN: [&AtomicI32; 3] = [&CHANNEL, &MEMORY, &BLOCK];
static COOKIE: AtomicU64 = AtomicU64::new(0);
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());
/// Mapped for reading only.
static CONTROL: AtomicPtr<Control> = AtomicPtr::new(ptr::null_mut());
/// The process this memory belongs to; a vforked child finds another's number.
static PROCESS: AtomicI32 = AtomicI32::new(0);
static OVER: AtomicBool = AtomicBool::new(false);
static WITHDRAWN: AtomicBool = AtomicBool::new(false);
/// The variable's value in this process's environment, to be kept true for the
/// next exec.
static VARIABLE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

/// What a hook needs of a run that goes on.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) shared: &'static Shared,
    pub(crate) control: &'static Control,
    pub(crate) channel: c_int,
}

/// The run, if this process is in one that goes on, and this is the process and
/// not a child that borrows its memory.
pub(crate) fn current() -> Option<Run> {
    borrowed().filter(|_| PROCESS.load(Ordering::Relaxed) == sys::pid())
}

/// The run, also for a child that borrows this memory and must not change it.
pub(crate) fn borrowed() -> Option<Run> {
    let shared = shared()?;
    // SAFETY: set once, before `SHARED`, to a mapping that is never unmapped.
    let control = unsafe { CONTROL.load(Ordering::Acquire).as_ref() }?;
    (!OVER.load(Ordering::Relaxed)).then(|| Run {
        shared,
        control,
        channel: CHANNEL.load(Ordering::Relaxed),
    })
}

/// The shared block, which is true for borrowed memory too.
pub(crate) fn shared() -> Option<&'static Shared> {
    let shared = SHARED.load(Ordering::Acquire);
    // SAFETY: set once, to a mapping that is never unmapped.
    unsafe { shared.as_ref() }
}

/// Whether this memory is the calling process's own. After [`withdraw`] nothing can be
/// asked, and it counts as that.
pub(crate) fn is_own_memory() -> bool {
    WITHDRAWN.load(Ordering::Relaxed) || PROCESS.load(Ordering::Relaxed) == sys::pid()
}

impl Run {
    /// Whether the channel's descriptor still means the channel.
    pub(crate) fn is_reachable(&self) -> bool {
        let reachable = sys::cookie(self.channel) == Ok(COOKIE.load(Ordering::Relaxed));
        if !reachable && is_own_memory() {
            end();
        }
        reachable
    }
}

/// As [`end`], by the program's doing: closes are counted from here on, and cost no
/// system call.
pub(crate) fn withdraw() {
    end();
    WITHDRAWN.store(true, Ordering::Relaxed);
    sys::forbid();
}

/// The shared block, if [`withdraw`] was called.
pub(crate) fn withdrawn() -> Option<&'static Shared> {
    if WITHDRAWN.load(Ordering::Relaxed) {
        shared()
    } else {
        None
    }
}

/// No supervisor from here on: plain close.
pub(crate) fn end() {
    OVER.store(true, Ordering::Relaxed);
}

/// From here on nobody in the run can tell who holds what.
pub(crate) fn blind() {
    if let Some(shared) = shared() {
        shared.set_blind();
    }
}

/// Whether `fd` is one of the run's own, which the program does not know of.
pub(crate) fn owns(fd: c_int) -> bool {
    fd >= 0
        && OWN.iter().any(|own| own.load(Ordering::Relaxed) == fd)
        && !OVER.load(Ordering::Relaxed)
}

/// The run's own descriptors, in ascending order.
pub(crate) fn own_descriptors() -> [c_int; 3] {
    if OVER.load(Ordering::Relaxed) {
        return [-1; 3];
    }
    let [a, b, c] = OWN.map(|own| own.load(Ordering::Relaxed));
    let (a, b) = if a < b { (a, b) } else { (b, a) };
    let (b, c) = if b < c { (b, c) } else { (c, b) };
    if a < b { [a, b, c] } else { [b, a, c] }
}

/// Moves the run's descriptor `fd` elsewhere, because the program wants the number.
pub(crate) fn make_way(fd: c_int) {
    if !is_own_memory() {
        // A vforked child: its parent's notes must stay true, and what it
        // executes will find no channel and go on with plain close.
        return;
    }
    let Some(place) = OWN.iter().find(|own| own.load(Ordering::Relaxed) == fd) else {
        return;
    };
    match sys::fcntl(fd, libc::F_DUPFD, fd) {
        Ok(moved) => place.store(moved, Ordering::Relaxed),
        Err(_) => end(),
    }
    let text = Address {
        channel: CHANNEL.load(Ordering::Relaxed),
        memory: MEMORY.load(Ordering::Relaxed),
        control: BLOCK.load(Ordering::Relaxed),
        cookie: COOKIE.load(Ordering::Relaxed),
    }
    .encode();
    let variable = VARIABLE.load(Ordering::Relaxed);
    if variable.is_null() {
        return;
    }
    // SAFETY: the value lies in the initial environment block, which stays
    // mapped and writable; programs that overwrite it are noticed next.
    let value = unsafe { slice::from_raw_parts_mut(variable, ENVIRONMENT_LENGTH) };
    if Address::parse(value).is_some() {
        value.copy_from_slice(&text);
    }
}

/// What is found when the shim is loaded.
pub(crate) struct Found {
    pub(crate) address: Address,
    /// The variable's value, `ENVIRONMENT_LENGTH` bytes in the environment block.
    pub(crate) variable: *mut u8,
    pub(crate) shared: *mut Shared,
    pub(crate) control: *mut Control,
}

/// Joins the run. Once, before the program starts.
///
/// # Safety
/// The blocks are mapped, of the run's version, and never unmapped.
pub(crate) unsafe fn join(found: &Found) {
    CHANNEL.store(found.address.channel, Ordering::Relaxed);
    MEMORY.store(found.address.memory, Ordering::Relaxed);
    BLOCK.store(found.address.control, Ordering::Relaxed);
    COOKIE.store(found.address.cookie, Ordering::Relaxed);
    VARIABLE.store(found.variable, Ordering::Relaxed);
    own_memory();
    CONTROL.store(found.control, Ordering::Release);
    SHARED.store(found.shared, Ordering::Release);
    if let Some(shared) = shared() {
        shared.arrive();
    }
}

/// This memory is the calling process's own, from its start or from a fork on.
pub(crate) fn own_memory() {
    PROCESS.store(sys::pid(), Ordering::Relaxed);
}
