//! Whether an io_uring holds sockets that no descriptor table shows: registered files,
//! and those of operations that have not ended.

use std::fs;

/// The lock that the kernel takes for its answer may be taken: so many questions.
const TRIES: u32 = 3;

/// Whether the ring that is descriptor `fd` of a process may hold a socket. `true` also
/// where that cannot be excluded.
pub(crate) fn may_hold(pid: libc::pid_t, fd: Option<i32>) -> bool {
    let Some(fd) = fd else { return true };
    let holds = (0..TRIES).find_map(|_| {
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
        holds(&text)
    });
    holds != Some(false) || has_workers(pid)
}

/// What /proc/PID/fdinfo says of a ring; `None` where it does not.
fn holds(text: &str) -> Option<bool> {
    let files = text
        .lines()
        .find_map(|line| line.strip_prefix("UserFiles:"))?;
    let mut polled = text.lines().skip_while(|line| *line != "PollList:").skip(1);
    // Another list ends this one.
    let next = polled.next()?;
    Some(files.trim() != "0" || next.starts_with(char::is_whitespace))
}

/// Whether threads of the kernel work for the rings of a process, on what is not shown.
fn has_workers(pid: libc::pid_t) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    threads.flatten().any(|thread| {
        fs::read(thread.path().join("comm")).is_ok_and(|name| name.starts_with(b"iou-wrk-"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "pos:\t0\nSqHead:\t0\nSqThread:\t-1\n";

    #[test]
    fn files_and_operations_are_held() {
        let text = |files: &str, polled: &str| {
            format!("{HEAD}UserFiles:\t{files}\nUserBufs:\t0\nPollList:\n{polled}CqOverflowList:\n")
        };
        assert_eq!(holds(&text("0", "")), Some(false));
        assert_eq!(holds(&text("1", "")), Some(true));
        assert_eq!(holds(&text("0", "  op=6, task_works=0\n")), Some(true));
        assert_eq!(holds(HEAD), None, "the kernel did not get its lock");
        assert_eq!(holds(""), None);
    }

    #[test]
    fn a_new_ring_holds_nothing_and_what_is_gone_cannot_be_told() {
        let mut parameters = [0_u32; 30];
        // SAFETY: room for the parameters of io_uring_setup(2), which are 120 bytes.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
        let Ok(fd) = i32::try_from(fd) else { return };
        if fd < 0 {
            return;
        }
        let pid = libc::pid_t::try_from(std::process::id()).expect("a pid");
        assert!(!may_hold(pid, Some(fd)));
        // SAFETY: ours, and used nowhere else.
        unsafe { libc::close(fd) };
        assert!(may_hold(pid, Some(fd)));
        assert!(may_hold(pid, None));
    }
}
