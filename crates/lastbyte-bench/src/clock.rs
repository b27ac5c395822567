//! CPU time of this process and of the whole machine; memory and threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A moment, and the CPU time spent up to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: Instant,
    process: Duration,
    idle: Duration,
}

/// What passed between two marks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) process: Duration,
    /// What all CPUs did but idle: this process, the peer's, softirq, and
    /// whatever else the machine was busy with.
    pub(crate) machine: Duration,
}

impl Mark {
    pub(crate) fn now() -> io::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            process: process()?,
            idle: idle()?,
        })
    }

    pub(crate) fn spent(self) -> io::Result<Spent> {
        let now = Self::now()?;
        let wall = now.at - self.at;
        let cpus = std::thread::available_parallelism()?.get() as u32;
        Ok(Spent {
            process: now.process - self.process,
            machine: (wall * cpus).saturating_sub(now.idle - self.idle),
        })
    }
}

fn process() -> io::Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a live timespec.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Time the CPUs were idle, from /proc/stat (proc(5)). Without tick sampling, so
/// its complement is finer than the busy columns; read to 1/100 s.
fn idle() -> io::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let [_user, _nice, _system, idle, iowait, ..] = fields[..] else {
        return Err(io::Error::other("/proc/stat is not as proc(5) says"));
    };
    // SAFETY: sysconf takes no pointer.
    let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    Ok(Duration::from_nanos(
        (idle + iowait) * (1_000_000_000 / hertz),
    ))
}

/// Threads of this process.
pub(crate) fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Bytes of heap in use, as asked for.
pub(crate) fn heap() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps to GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
