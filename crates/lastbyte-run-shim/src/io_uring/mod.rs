//! The process's io_urings.
//!
//! A ring can hold, make, send and close sockets unseen. But libuv, so Node.js and
//! uvloop, has two in each event loop, and uses them for files and epoll_ctl(2). So each
//! ring's submission queue is mapped here too, and what is submitted is looked at. Up to
//! the first operation that can concern a connection the process's closes are covered;
//! from then on they are the kernel's.

mod operation;

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, Ordering, fence};

use operation::{Effect, SQPOLL, Submission};

use crate::fd_table::{self, Made};
use crate::{descriptors, sys};

pub(crate) use operation::{enters_by_descriptor, registers_no_descriptor};

/// `IORING_OFF_SQ_RING`, `IORING_OFF_SQES`.
const QUEUE: usize = 0;
const SUBMISSIONS: usize = 0x1000_0000;
/// Rings at a time; a program with more is not covered.
const ROOM: usize = 64;
/// Looks at whether a ring that is being closed is still read.
const TRIES: u32 = 1000;

static RINGS: [Ring; ROOM] = [const { Ring::new() }; ROOM];
/// Whether there is a ring whose submissions need no system call.
static HAS_POLLED: AtomicBool = AtomicBool::new(false);

/// Whether something was submitted that concerns a connection.
static IS_USED_FOR_CONNECTIONS: AtomicBool = AtomicBool::new(false);

/// A ring; read-only views of what the program writes.
struct Ring {
    /// Its descriptor plus one; zero is free, and -1 is being filled in.
    fd: AtomicI32,
    /// Threads that read it this moment.
    readers: AtomicU32,
    queue: AtomicPtr<c_void>,
    queue_length: AtomicU32,
    submissions: AtomicPtr<c_void>,
    /// How many submissions there is room for, a power of two.
    entries: AtomicU32,
    /// Where in the queue these are.
    head: AtomicU32,
    tail: AtomicU32,
    array: AtomicU32,
    is_polled: AtomicBool,
    /// With `is_polled`: up to here all was looked at.
    seen: AtomicU32,
}

/// `struct io_uring_params`, as far as the submission queue goes.
#[repr(C)]
pub(crate) struct Parameters {
    entries: u32,
    completions: u32,
    flags: u32,
    skipped: [u32; 7],
    head: u32,
    tail: u32,
    mask: u32,
    ring_entries: u32,
    ring_flags: u32,
    dropped: u32,
    array: u32,
}

/// A submission was found that can concern a connection, or it cannot be excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Concerns;

/// Takes note of the ring `fd`.
///
/// # Safety
/// `parameters` is what io_uring_setup(2) has filled in.
pub(crate) unsafe fn set_up(fd: c_int, parameters: *const Parameters) -> Result<(), Concerns> {
    // SAFETY: the caller's promise.
    let parameters = unsafe { parameters.as_ref() }.ok_or(Concerns)?;
    let is_powerful = parameters.entries.is_power_of_two();
    if !operation::is_readable(parameters.flags) || !is_powerful {
        return Err(Concerns);
    }
    let ring = RINGS
        .iter()
        .find(|ring| {
            ring.fd
                .compare_exchange(0, -1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        })
        .ok_or(Concerns)?;
    let result = ring.open(fd, parameters);
    match result {
        Ok(()) => {
            // Whoever closes the descriptor closes the ring here as well.
            fd_table::made_ring(fd);
            ring.fd.store(fd.wrapping_add(1), Ordering::Release);
        }
        Err(Concerns) => ring.fd.store(0, Ordering::Release),
    }
    result
}

/// Whether what is submitted is still looked at.
pub(crate) fn is_looked_at() -> bool {
    !IS_USED_FOR_CONNECTIONS.load(Ordering::Relaxed)
}

/// From here on it cannot be told who holds which connection. False if that was so
/// before.
pub(crate) fn stop_looking() -> bool {
    close_all();
    !IS_USED_FOR_CONNECTIONS.swap(true, Ordering::Relaxed)
}

/// Looks at what io_uring_enter(2) is about to submit by the ring `fd`.
pub(crate) fn submits(fd: c_int, count: u32) -> Result<(), Concerns> {
    let ring = of(fd).ok_or(Concerns)?;
    if ring.is_polled.load(Ordering::Relaxed) {
        return look_at_polled();
    }
    ring.read(|queue| {
        let head = queue.word(&ring.head);
        let waiting = queue.word(&ring.tail).wrapping_sub(head);
        let count = count.min(waiting).min(queue.entries);
        queue.look(head, count)
    })
}

/// Looks at what was submitted without a system call. Fails for good once a ring is used
/// for connections.
pub(crate) fn look_at_polled() -> Result<(), Concerns> {
    if !is_looked_at() {
        return Err(Concerns);
    }
    if !HAS_POLLED.load(Ordering::Relaxed) {
        return Ok(());
    }
    for ring in &RINGS {
        if ring.fd.load(Ordering::Acquire) > 0 && ring.is_polled.load(Ordering::Relaxed) {
            ring.read(|queue| {
                let tail = queue.word(&ring.tail);
                let seen = ring.seen.load(Ordering::Relaxed);
                let count = tail.wrapping_sub(seen);
                if count > queue.entries {
                    // Some were overwritten.
                    return Err(Concerns);
                }
                queue.look(seen, count)?;
                ring.seen.store(tail, Ordering::Relaxed);
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Before the descriptor of a ring is closed. A view that stayed would keep it alive.
pub(crate) fn close(fd: c_int) {
    if let Some(ring) = of(fd) {
        ring.close();
    }
}

/// No ring will be looked at any more.
pub(crate) fn close_all() {
    for ring in &RINGS {
        if ring.fd.load(Ordering::Acquire) > 0 {
            ring.close();
        }
    }
}

/// After a fork, in the child, which has the descriptors but not the views.
pub(crate) fn start_as_child() {
    HAS_POLLED.store(false, Ordering::Relaxed);
    for ring in &RINGS {
        ring.readers.store(0, Ordering::Relaxed);
        ring.fd.store(0, Ordering::Relaxed);
    }
}

fn of(fd: c_int) -> Option<&'static Ring> {
    let wanted = fd.wrapping_add(1);
    RINGS
        .iter()
        .find(|ring| wanted > 0 && ring.fd.load(Ordering::Acquire) == wanted)
}

impl Ring {
    const fn new() -> Self {
        Self {
            fd: AtomicI32::new(0),
            readers: AtomicU32::new(0),
            queue: AtomicPtr::new(ptr::null_mut()),
            queue_length: AtomicU32::new(0),
            submissions: AtomicPtr::new(ptr::null_mut()),
            entries: AtomicU32::new(0),
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            array: AtomicU32::new(0),
            is_polled: AtomicBool::new(false),
            seen: AtomicU32::new(0),
        }
    }

    /// Maps what the program writes.
    fn open(&self, fd: c_int, parameters: &Parameters) -> Result<(), Concerns> {
        let entries = parameters.entries;
        let length = parameters.array as usize + entries as usize * size_of::<u32>();
        let queue = sys::map_private_to_process(fd, length, QUEUE).map_err(|_| Concerns)?;
        let room = entries as usize * size_of::<Submission>();
        let Ok(submissions) = sys::map_private_to_process(fd, room, SUBMISSIONS) else {
            sys::unmap(queue, length);
            return Err(Concerns);
        };
        self.queue.store(queue, Ordering::Relaxed);
        self.queue_length.store(length as u32, Ordering::Relaxed);
        self.submissions.store(submissions, Ordering::Relaxed);
        self.entries.store(entries, Ordering::Relaxed);
        self.head.store(parameters.head, Ordering::Relaxed);
        self.tail.store(parameters.tail, Ordering::Relaxed);
        self.array.store(parameters.array, Ordering::Relaxed);
        let is_polled = parameters.flags & SQPOLL != 0;
        self.is_polled.store(is_polled, Ordering::Relaxed);
        self.seen.store(0, Ordering::Relaxed);
        if is_polled {
            HAS_POLLED.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads the queue, unless it is being closed, which ends what it holds.
    fn read(&self, read: impl FnOnce(&Queue) -> Result<(), Concerns>) -> Result<(), Concerns> {
        self.readers.fetch_add(1, Ordering::SeqCst);
        let result = if self.fd.load(Ordering::SeqCst) > 0 {
            read(&Queue {
                base: self.queue.load(Ordering::Relaxed).cast(),
                array: self.array.load(Ordering::Relaxed),
                submissions: self.submissions.load(Ordering::Relaxed).cast(),
                entries: self.entries.load(Ordering::Relaxed),
            })
        } else {
            Ok(())
        };
        self.readers.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn close(&self) {
        if self.fd.swap(-1, Ordering::SeqCst) <= 0 {
            return;
        }
        for _ in 0..TRIES {
            if self.readers.load(Ordering::SeqCst) == 0 {
                sys::unmap(
                    self.queue.load(Ordering::Relaxed),
                    self.queue_length.load(Ordering::Relaxed) as usize,
                );
                let room = self.entries.load(Ordering::Relaxed) as usize * size_of::<Submission>();
                sys::unmap(self.submissions.load(Ordering::Relaxed), room);
                self.fd.store(0, Ordering::SeqCst);
                return;
            }
            core::hint::spin_loop();
        }
        // A thread was interrupted while it read: the view stays for good, and its place.
    }
}

/// A ring's submission queue while it is read.
struct Queue {
    base: *const u8,
    array: u32,
    submissions: *const Submission,
    entries: u32,
}

impl Queue {
    /// The word at an offset that the kernel named.
    fn word(&self, offset: &AtomicU32) -> u32 {
        self.at(offset.load(Ordering::Relaxed))
    }

    fn at(&self, offset: u32) -> u32 {
        // SAFETY: the kernel named the offset, which lies in the view, and aligned it;
        // the view is there while it is read.
        let word =
            unsafe { AtomicU32::from_ptr(self.base.add(offset as usize).cast::<u32>().cast_mut()) };
        let value = word.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    /// Looks at `count` submissions from the one numbered `first`.
    fn look(&self, first: u32, count: u32) -> Result<(), Concerns> {
        for number in 0..count {
            let place = first.wrapping_add(number) & (self.entries - 1);
            let index = self.at(self.array + place * size_of::<u32>() as u32);
            if index >= self.entries {
                // The kernel drops it.
                continue;
            }
            // SAFETY: within the view, which is there while it is read. The program may
            // write it this moment, so it is read as what can change.
            let submission = unsafe { self.submissions.add(index as usize).read_volatile() };
            note(&submission)?;
        }
        Ok(())
    }
}

/// Takes note of what a submission does.
fn note(submission: &Submission) -> Result<(), Concerns> {
    match submission.effect() {
        Effect::None => Ok(()),
        Effect::Uses(fd) if descriptors::kind(fd) == Made::Other => Ok(()),
        Effect::Closes(fd) if descriptors::kind(fd) == Made::Other => {
            fd_table::forget(fd);
            Ok(())
        }
        Effect::Uses(_) | Effect::Closes(_) | Effect::Connection => Err(Concerns),
        Effect::Epoll { set, operation, fd } => {
            // A removal may fail; a set too many is asked in vain.
            if operation == libc::EPOLL_CTL_ADD {
                fd_table::joins_set(fd, set);
            }
            Ok(())
        }
    }
}
