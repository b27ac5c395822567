//! For threads that need little, but soon.

/// Makes the calling thread run before others (`SCHED_RR`), but not what it starts. Needs
/// root; without it nothing changes.
///
/// A nice value would not do. It counts within a session or control group only
/// (`sched_autogroup_enabled`), that is against our own other threads; and Linux
/// 6.18 was seen to leave a whole session without a CPU for three seconds beside
/// one that was busy with sockets.
pub fn raise_priority() {
    // SAFETY: plain integers, for which all zero is a value; musl has more of them.
    let mut lowest: libc::sched_param = unsafe { std::mem::zeroed() };
    lowest.sched_priority = 1;
    // SAFETY: plain system call; 0 is the calling thread.
    unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_RR | libc::SCHED_RESET_ON_FORK,
            &raw const lowest,
        )
    };
}
