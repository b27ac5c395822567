//! What the program did before it lets go.

use std::mem::size_of;
use std::os::fd::RawFd;

use libc::{c_int, c_void, socklen_t};

use super::connection::{option, pattern};
use super::linger_seconds;
use super::talk::{check, errno};
use crate::axes::{Before, Came, Cell, Mode, Waits};

const SO_ZEROCOPY: c_int = 60;
const MSG_ZEROCOPY: c_int = 0x400_0000;

/// Bytes of a send queue that is not full.
const QUEUED: usize = 200_000;
/// Bytes of a connection in which nothing waits.
const FEW: usize = 1000;

/// Options that belong before the data.
pub(crate) fn options(cell: &Cell, fd: RawFd) -> Result<(), String> {
    match cell.before {
        Before::Cork => option(fd, libc::IPPROTO_TCP, libc::TCP_CORK, 1),
        Before::ZeroCopy => option(fd, libc::SOL_SOCKET, SO_ZEROCOPY, 1),
        Before::SendTimeout => {
            let time = libc::timeval {
                tv_sec: 0,
                tv_usec: 100_000,
            };
            set(fd, libc::SO_SNDTIMEO, &time)
        }
        Before::Filter => filter(fd),
        Before::LockedFilter | Before::ShutLocked => {
            filter(fd)?;
            option(fd, libc::SOL_SOCKET, libc::SO_LOCK_FILTER, 1)
        }
        _ => Ok(()),
    }
}

fn filter(fd: RawFd) -> Result<(), String> {
    let mut pass = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0x4_0000,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut pass,
    };
    set(fd, libc::SO_ATTACH_FILTER, &program)
}

fn set<T>(fd: RawFd, name: c_int, value: &T) -> Result<(), String> {
    // SAFETY: reads `size_of::<T>()` bytes of `value`, which is what socket(7) names
    // for the option.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as socklen_t,
        )
    };
    check(result, &format!("setsockopt {name}")).map(drop)
}

/// Writes what the cell wants to wait, from `at` on; how many bytes were taken.
pub(crate) fn write(cell: &Cell, fd: RawFd, at: usize) -> Result<usize, String> {
    let limit = match cell.waits {
        Waits::Nothing => FEW,
        Waits::Full => 8 << 20,
        _ => QUEUED,
    };
    let flags = if cell.before == Before::ZeroCopy {
        MSG_ZEROCOPY
    } else {
        0
    };
    // Lives as long as the process: the kernel may send from it.
    let bytes: &'static [u8] = pattern(at, limit).leak();
    let mut taken = send_all(fd, &bytes[..limit - 1], flags)?;
    if taken == limit - 1 {
        let last = if cell.before == Before::UrgentOut {
            libc::MSG_OOB
        } else {
            flags
        };
        taken += send_all(fd, &bytes[limit - 1..], last)?;
    }
    let may_be_acked = cell.came != Came::FastHeld && cell.before != Before::Cork;
    if cell.waits == Waits::Nothing && may_be_acked {
        settle(fd);
    }
    Ok(taken)
}

fn send_all(fd: RawFd, bytes: &'static [u8], flags: c_int) -> Result<usize, String> {
    let mut taken = 0;
    while taken < bytes.len() {
        let rest = &bytes[taken..];
        let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: reads `rest`, which lives for ever.
        match unsafe { libc::send(fd, rest.as_ptr().cast::<c_void>(), rest.len(), flags) } {
            n if n > 0 => taken += n as usize,
            _ if errno() == libc::EINTR => {}
            // ENOBUFS: no memory for further notices of MSG_ZEROCOPY.
            _ if matches!(errno(), libc::EAGAIN | libc::ENOBUFS) => break,
            _ => return Err(format!("send: {}", std::io::Error::last_os_error())),
        }
    }
    Ok(taken)
}

/// Waits until all that was sent is acknowledged; no event tells of it here.
fn settle(fd: RawFd) {
    for _ in 0..2000 {
        let mut queued: c_int = 0;
        // SAFETY: TIOCOUTQ writes one int.
        let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut queued) };
        if result < 0 || queued == 0 {
            return;
        }
        // SAFETY: no descriptors; a pause of a millisecond.
        unsafe { libc::poll(std::ptr::null_mut(), 0, 1) };
    }
}

/// The program's own shutdown().
pub(crate) fn shut(cell: &Cell, fd: RawFd) -> Result<(), String> {
    let how = match cell.before {
        Before::ShutRead => libc::SHUT_RD,
        Before::ShutWrite => libc::SHUT_WR,
        Before::ShutBoth | Before::ShutLocked => libc::SHUT_RDWR,
        _ => return Ok(()),
    };
    // SAFETY: no pointers.
    check(unsafe { libc::shutdown(fd, how) }, "shutdown").map(drop)
}

/// SO_LINGER and O_NONBLOCK.
pub(crate) fn linger(cell: &Cell, fd: RawFd) -> Result<(), String> {
    let (on, seconds) = match cell.mode {
        Mode::Off => return Ok(()),
        Mode::Abort => (1, 0),
        _ => (1, linger_seconds(cell)),
    };
    let linger = libc::linger {
        l_onoff: on,
        l_linger: seconds,
    };
    set(fd, libc::SO_LINGER, &linger)?;
    match cell.mode {
        Mode::WaitNonblocking => nonblocking(fd),
        Mode::WaitMadeNonblocking => in_another_process(|| nonblocking(fd)),
        _ => Ok(()),
    }
}

fn nonblocking(fd: RawFd) -> Result<(), String> {
    // SAFETY: no pointers.
    let set = unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
    check(set, "fcntl").map(drop)
}

/// Does the work in a forked child, which ends before this returns.
fn in_another_process(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    // SAFETY: this process has one thread.
    let child = check(unsafe { libc::fork() }, "fork")?;
    if child == 0 {
        let status = i32::from(work().is_err());
        // SAFETY: the child's end, without handlers.
        unsafe { libc::_exit(status) }
    }
    let mut status = 0;
    // SAFETY: writes the status of our own child.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    check(waited, "waitpid")?;
    if status == 0 {
        Ok(())
    } else {
        Err(format!("the other process ended with {status}"))
    }
}
