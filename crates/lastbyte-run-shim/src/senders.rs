//! Whether another thread is inside send(2) on a descriptor that is being closed.
//!
//! The kernel lets such a send finish, because the thread holds the file. A
//! shutdown(SHUT_WR), ours or the supervisor's, would make it fail with EPIPE and raise
//! SIGPIPE. The kernel does not tell who is inside a file, so the threads are looked at,
//! and only where one can be: the socket is blocking, it has a good part of a send
//! buffer unacknowledged, and the process has more than one thread. (Counting the sends
//! in hooks of their own would cost every write(2) of a program, and miss those that
//! libc and the program make without a symbol.)

use core::ffi::c_int;

use crate::text::Text;
use crate::{descriptors, sys};

/// A thread that runs may be about to sleep: so many looks at it.
const LOOKS: u32 = 5;
/// Nanoseconds between two.
const PAUSE: u32 = 100_000;

/// Whether a thread is, or may be, sending on the blocking socket of `fd`.
pub(crate) fn may_be_inside(fd: c_int) -> bool {
    let room = sys::send_buffer(fd).unwrap_or(0);
    let unacknowledged = sys::ioctl_int(fd, libc::TIOCOUTQ).unwrap_or(c_int::MAX);
    if unacknowledged.saturating_mul(4) < room {
        return false;
    }
    // A folder's link count is its folders and two.
    match sys::link_count(b"/proc/self/task\0") {
        Ok(0..=3) => false,
        Ok(_) => a_thread_is(fd),
        Err(_) => sys::has_one_thread() != Ok(true),
    }
}

fn a_thread_is(fd: c_int) -> bool {
    let Ok(list) = sys::open_folder(b"/proc/self/task\0") else {
        return true;
    };
    let own = sys::tid();
    let mut found = false;
    let mut buffer = [0; 2048];
    while let Ok(entries) = sys::read_folder(list, &mut buffer) {
        if entries.is_empty() || found {
            break;
        }
        descriptors::names(entries, |name| {
            if let Some(thread) = descriptors::number(name)
                && thread != own
                && !found
            {
                found = is_sending(thread, fd);
            }
        });
    }
    let _ = sys::close(list);
    found
}

fn is_sending(thread: c_int, fd: c_int) -> bool {
    let mut path = Text::new();
    path.push(b"/proc/self/task/");
    path.number(thread.unsigned_abs().into());
    path.push(b"/syscall\0");
    for look in 0..LOOKS {
        let mut buffer = [0; 128];
        // A process that may not be looked at (prctl(2), PR_SET_DUMPABLE) cannot be told.
        let Ok(line) = sys::read_file(path.bytes(), &mut buffer) else {
            return look == 0 && sys::thread_exists(thread);
        };
        match inside(line) {
            Inside::Running => sys::sleep(PAUSE),
            Inside::Call(number, arguments) => return sends(number, arguments, fd),
            Inside::Elsewhere => return false,
        }
    }
    false
}

enum Inside {
    Running,
    /// The call's number, and its first and third argument.
    Call(i64, [u64; 2]),
    Elsewhere,
}

/// `/proc/PID/syscall` (proc(5)): "running", or a number and six arguments.
fn inside(line: &[u8]) -> Inside {
    if line.starts_with(b"running") {
        return Inside::Running;
    }
    let mut words = line.split(|byte| *byte == b' ');
    let number = words.next().and_then(descriptors::number);
    let first = words.next().and_then(hexadecimal);
    let third = words.nth(1).and_then(hexadecimal);
    match (number, first, third) {
        (Some(number), Some(first), Some(third)) => Inside::Call(number.into(), [first, third]),
        _ => Inside::Elsewhere,
    }
}

fn hexadecimal(word: &[u8]) -> Option<u64> {
    word.strip_prefix(b"0x")?
        .iter()
        .try_fold(0_u64, |value, byte| {
            let digit = char::from(*byte).to_digit(16)?;
            Some(value << 4 | u64::from(digit))
        })
}

fn sends(number: i64, [first, third]: [u64; 2], fd: c_int) -> bool {
    let descriptor = match number {
        libc::SYS_write
        | libc::SYS_writev
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_sendmmsg
        | libc::SYS_sendfile => first,
        libc::SYS_splice => third,
        _ => return false,
    };
    descriptor as u32 == fd.cast_unsigned()
}
