//! Time, CPU time, memory and threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// A moment, and the CPU time spent up to it.
pub(crate) struct Mark {
    at: Instant,
    closer: ClockId,
    process: Duration,
    idle: Duration,
    others: Others,
}

/// CPU time of every unrelated process, and when it was asked for.
struct Others {
    at: Instant,
    times: HashMap<i32, Duration>,
}

/// What passed between two marks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// CPU time of the process that closes.
    pub(crate) process: Duration,
    /// What all CPUs did but idle, without what unrelated processes were seen to
    /// use: the process that closes, its peer, softirq, the kernel's threads.
    pub(crate) machine: Duration,
    /// What unrelated processes used, as a share of all that the CPUs could do.
    /// Those that ended meanwhile are not seen here, and so are in `machine`.
    pub(crate) noise: f64,
}

impl Mark {
    /// Now; `closer` is the process that closes.
    pub(crate) fn now(closer: Pid) -> io::Result<Self> {
        let closer = ClockId::pid_cpu_clock_id(closer)?;
        Ok(Self {
            others: others()?,
            closer,
            process: clock_gettime(closer)?.into(),
            idle: idle()?,
            at: Instant::now(),
        })
    }

    pub(crate) fn spent(&self) -> io::Result<Spent> {
        let wall = self.at.elapsed();
        let idle = idle()?.saturating_sub(self.idle);
        let process = Duration::from(clock_gettime(self.closer)?) - self.process;
        let others = self.others.used_until(&others()?, wall);
        let all = wall * cpus();
        Ok(Spent {
            process,
            machine: all.saturating_sub(idle).saturating_sub(others),
            noise: others.as_secs_f64() / all.as_secs_f64(),
        })
    }
}

impl Others {
    /// What they used in `wall`, at the rate at which they did from one look to
    /// the other: looking takes its time too.
    fn used_until(&self, now: &Self, wall: Duration) -> Duration {
        let used: Duration = now
            .times
            .iter()
            .map(|(pid, time)| {
                let before = self.times.get(pid).copied().unwrap_or_default();
                time.saturating_sub(before)
            })
            .sum();
        let between = now.at - self.at;
        used.mul_f64(wall.as_secs_f64() / between.as_secs_f64().max(1e-9))
    }
}

/// Waits until unrelated processes use next to nothing, `patience` at most.
pub(crate) fn await_quiet(patience: Duration) -> io::Result<()> {
    const LOOK: Duration = Duration::from_millis(30);
    const QUIET: f64 = 0.03;
    let until = Instant::now() + patience;
    while Instant::now() < until {
        let mark = Mark::now(Pid::this())?;
        std::thread::sleep(LOOK);
        if mark.spent()?.noise < QUIET {
            break;
        }
    }
    Ok(())
}

/// CLOCK_MONOTONIC in nanoseconds: the same in every process.
pub(crate) fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    // clock_gettime(2): fails only for a clock that is unknown or a bad pointer.
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

/// Time the CPUs were idle. cpuidle counts it in microseconds, interrupts not
/// included (Documentation/admin-guide/pm/cpuidle.rst); where there is none,
/// /proc/stat does in 1/100 s (proc(5)).
fn idle() -> io::Result<Duration> {
    if idle_states().is_empty() {
        return idle_ticks();
    }
    visit_each_cpu()?;
    let mut micros = 0;
    for file in idle_states() {
        let text = fs::read_to_string(file)?;
        micros += text.trim().parse::<u64>().map_err(io::Error::other)?;
    }
    Ok(Duration::from_micros(micros))
}

/// A CPU's idle time is added up when it stops being idle.
fn visit_each_cpu() -> io::Result<()> {
    let this = Pid::from_raw(0);
    let home = sched_getaffinity(this)?;
    for cpu in 0..CpuSet::count() {
        if home.is_set(cpu)? {
            let mut only = CpuSet::new();
            only.set(cpu)?;
            sched_setaffinity(this, &only)?;
        }
    }
    sched_setaffinity(this, &home)?;
    Ok(())
}

fn idle_states() -> &'static [PathBuf] {
    static FILES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FILES.get_or_init(|| {
        let list = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
        list("/sys/devices/system/cpu".into())
            .flat_map(|cpu| list(cpu.path().join("cpuidle")))
            .map(|state| state.path().join("time"))
            .filter(|time| time.exists())
            .collect()
    })
}

fn idle_ticks() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
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

/// CPUs that are online.
pub(crate) fn cpus() -> u32 {
    static CPUS: OnceLock<u32> = OnceLock::new();
    *CPUS.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let cpus = stat.lines().skip(1).take_while(|l| l.starts_with("cpu"));
        cpus.count().max(1) as u32
    })
}

/// CPU time of every process that has nothing to do with us.
fn others() -> io::Result<Others> {
    let at = Instant::now();
    let mut times = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that ended just now has neither.
        let (true, Ok(clock)) = (
            is_unrelated(pid),
            ClockId::pid_cpu_clock_id(Pid::from_raw(pid)),
        ) else {
            continue;
        };
        if let Ok(time) = clock_gettime(clock) {
            times.insert(pid, time.into());
        }
    }
    Ok(Others { at, times })
}

/// Neither this process, nor a child of it, nor a thread of the kernel.
fn is_unrelated(pid: i32) -> bool {
    const KTHREADD: i32 = 2;
    static KNOWN: Mutex<Option<HashMap<i32, bool>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known.get_or_insert_default().entry(pid).or_insert_with(|| {
        let us = Pid::this().as_raw();
        let related = [us, KTHREADD];
        !related.contains(&pid) && !parent(pid).is_some_and(|p| related.contains(&p))
    })
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, parentheses too.
    let after_name = stat.rsplit(')').next()?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

/// Threads of a process.
pub(crate) fn threads(pid: Pid) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

/// Bytes of heap that this process has in use, as asked for.
pub(crate) fn heap() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// The heap's size once it has not changed for 0.3 s: everything submitted has
/// been taken in. The last size seen if that takes longer than two seconds.
pub(crate) fn settled_heap() -> usize {
    const LOOK: Duration = Duration::from_millis(20);
    let mut size = heap();
    let mut same = 0;
    for _ in 0..100 {
        std::thread::sleep(LOOK);
        let now = heap();
        same = if now == size { same + 1 } else { 0 };
        size = now;
        if same == 15 {
            break;
        }
    }
    size
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

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        IN_USE.fetch_add(size, Ordering::Relaxed);
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
