//! The run this process belongs to: where the undertaker is, and the settings.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};
use core::{ptr, slice};

use lastbyte_handoff::{Address, Control, ENVIRONMENT, ENVIRONMENT_LENGTH, Shared};

use crate::{epoch, handover, hooks, io_uring, notes, real_libc, sys};

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

/// Whether this memory is the calling process's own.
pub(crate) fn is_own_memory() -> bool {
    PROCESS.load(Ordering::Relaxed) == sys::pid()
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

/// As [`end`], for a reason that the undertaker is told.
pub(crate) fn withdraw(reason: u32) {
    if let Some(run) = current() {
        let name = sys::thread_name();
        let length = name
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(name.len());
        handover::uncovered(run, reason, name.get(..length).unwrap_or_default());
        io_uring::close_all();
        end();
        WITHDRAWN.store(true, Ordering::Relaxed);
    }
}

/// The shared block, if [`withdraw`] was called.
pub(crate) fn withdrawn() -> Option<&'static Shared> {
    if WITHDRAWN.load(Ordering::Relaxed) {
        shared()
    } else {
        None
    }
}

/// No undertaker from here on: plain close.
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

/// After a fork, in the child.
pub(crate) fn adopt_child() {
    PROCESS.store(sys::pid(), Ordering::Relaxed);
    epoch::start_as_child();
    io_uring::start_as_child();
    hooks::exit::start_as_child();
}

unsafe extern "C" {
    /// What at_quick_exit(3), which is not in the shared libc, calls.
    fn __cxa_at_quick_exit(handler: extern "C" fn(*mut c_void), library: *mut c_void) -> c_int;
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = start;

#[used]
#[unsafe(link_section = ".fini_array")]
static FINISH: extern "C" fn() = finish;

/// Before the program's own constructors. glibc passes what main will get.
extern "C" fn start(
    _count: c_int,
    _arguments: *const *const c_char,
    environment: *const *const c_char,
) {
    real_libc::resolve();
    // SAFETY: glibc passes the NUL-terminated environment.
    let Some(value) = (unsafe { variable(environment) }) else {
        return;
    };
    // SAFETY: `variable` found that many bytes there.
    let text = unsafe { slice::from_raw_parts(value, ENVIRONMENT_LENGTH) };
    let Some(address) = Address::parse(text) else {
        return;
    };
    if sys::cookie(address.channel) != Ok(address.cookie) {
        return;
    }
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    let Some(block) = map::<Shared>(address.memory, writable) else {
        return;
    };
    let Some(control) = map::<Control>(address.control, libc::PROT_READ) else {
        return;
    };
    // SAFETY: mapped, long enough, page-aligned, and all atomics; never unmapped.
    if !unsafe { (*block).is_ours() && (*control).is_ours() } {
        return;
    }
    // SAFETY: the handlers are plain functions that stay loaded.
    if unsafe {
        libc::pthread_atfork(
            Some(before_fork),
            Some(after_fork),
            Some(adopt_child_handler),
        )
    } != 0
    {
        return;
    }
    // SAFETY: as above. Handlers run in reverse order, so ours, the first, is the last.
    unsafe { __cxa_at_quick_exit(quick_finish, ptr::null_mut()) };
    CHANNEL.store(address.channel, Ordering::Relaxed);
    MEMORY.store(address.memory, Ordering::Relaxed);
    BLOCK.store(address.control, Ordering::Relaxed);
    COOKIE.store(address.cookie, Ordering::Relaxed);
    VARIABLE.store(value, Ordering::Relaxed);
    PROCESS.store(sys::pid(), Ordering::Relaxed);
    CONTROL.store(control, Ordering::Release);
    SHARED.store(block, Ordering::Release);
    // SAFETY: as above.
    unsafe { &*block }.arrive();
    notes::inherited();
}

/// Maps a block of the run. One that is too short would be a SIGBUS later.
fn map<T>(fd: c_int, protection: c_int) -> Option<*mut T> {
    let length = usize::try_from(sys::stat(fd).ok()?.st_size).ok()?;
    if length < size_of::<T>() {
        return None;
    }
    let block = sys::map(fd, size_of::<T>(), protection).ok()?;
    Some(block.cast())
}

/// At exit, after the program's own destructors.
extern "C" fn finish() {
    hooks::exit::hand_over_everything();
}

/// As [`finish`], for quick_exit(3).
extern "C" fn quick_finish(_: *mut c_void) {
    hooks::exit::hand_over_everything();
}

extern "C" fn before_fork() {
    epoch::fork_begins();
}

extern "C" fn after_fork() {
    epoch::fork_is_done();
}

extern "C" fn adopt_child_handler() {
    adopt_child();
}

/// The value of our variable, if it is there and as long as it must be.
///
/// # Safety
/// `environment` is NULL or a NULL-terminated list of strings.
unsafe fn variable(mut environment: *const *const c_char) -> Option<*mut u8> {
    if environment.is_null() {
        return None;
    }
    loop {
        // SAFETY: within the list, whose end is NULL.
        let entry = unsafe { *environment };
        if entry.is_null() {
            return None;
        }
        // SAFETY: an entry is a NUL-terminated string.
        let text = unsafe { CStr::from_ptr(entry) }.to_bytes();
        if let Some(value) = text.strip_prefix(ENVIRONMENT.as_bytes())
            && let Some(value) = value.strip_prefix(b"=")
            && value.len() == ENVIRONMENT_LENGTH
        {
            return Some(value.as_ptr().cast_mut());
        }
        // SAFETY: not at the end yet.
        environment = unsafe { environment.add(1) };
    }
}
