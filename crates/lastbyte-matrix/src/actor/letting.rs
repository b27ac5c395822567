//! How the program lets go, and who else holds the socket.

use std::ffi::CString;
use std::os::fd::RawFd;
use std::process::ExitCode;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{c_int, c_uint, pid_t};

use super::talk::{errno, say, stamp};
use crate::axes::{Cell, Shared, Way};

/// The duplicate that outlives a library's call; −1 without one.
static KEPT: AtomicI32 = AtomicI32::new(-1);

/// Closes the duplicate that outlived the call, when the stage says so.
pub fn release(cell: &Cell) {
    let dup = KEPT.load(Ordering::Relaxed);
    if cell.shared == Shared::Dup && dup >= 0 {
        super::wait_for("release");
        // SAFETY: ours, and used by nobody else.
        unsafe { libc::close(dup) };
    }
}

/// Who else holds the socket.
pub(crate) struct Others {
    fd: RawFd,
    shared: Shared,
    /// The duplicate.
    dup: Option<RawFd>,
    /// Whether the duplicate goes with the way itself.
    together: bool,
}

/// Makes the other holders.
pub(crate) fn share(cell: &Cell, fd: RawFd) -> Others {
    let dup = (cell.shared == Shared::Dup).then(|| {
        // SAFETY: no pointers.
        unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, fd + 1) }
    });
    KEPT.store(dup.unwrap_or(-1), Ordering::Relaxed);
    // Ranges take it with them; the library's call ends the connection beside it.
    let together = matches!(
        cell.way,
        Way::CloseRange
            | Way::RawCloseRange
            | Way::CloseFrom
            | Way::ChildExit
            | Way::RawChildExit
            | Way::Call
    );
    Others {
        fd,
        shared: cell.shared,
        dup,
        together: together || cell.way.ends_process(),
    }
}

impl Others {
    /// The holders that let go first do so: nothing may come of it.
    pub(crate) fn first(&self) {
        match self.shared {
            Shared::Dup if !self.together => self.close_dup(),
            Shared::Fork => {
                // SAFETY: this process has one thread.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    // SAFETY: the child's own copy; then its end, without handlers.
                    unsafe {
                        libc::close(self.fd);
                        libc::_exit(0)
                    }
                }
                wait_for(child);
            }
            _ => {}
        }
    }

    fn close_dup(&self) {
        if let Some(dup) = self.dup {
            // SAFETY: ours, and used by nobody else.
            unsafe { libc::close(dup) };
        }
    }

    fn last(&self) -> RawFd {
        self.dup.unwrap_or(self.fd)
    }
}

/// Runs itself again with the socket open.
pub(crate) fn exec_self(program: &str, cell: &Cell, fd: RawFd, told: [i64; 2]) -> ExitCode {
    let words = [
        program.to_owned(),
        cell.to_string(),
        "resumed".to_owned(),
        fd.to_string(),
        told[0].to_string(),
        told[1].to_string(),
    ];
    exec(&words);
    ExitCode::from(5)
}

fn exec(words: &[String]) {
    let words: Vec<CString> = words
        .iter()
        .filter_map(|word| CString::new(word.as_str()).ok())
        .collect();
    let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(null());
    // SAFETY: a list of strings that ends with NULL; all live until the call.
    unsafe { libc::execv(pointers[0], pointers.as_ptr()) };
}

/// Does it on another thread where the cell says so.
pub(crate) fn on_a_thread(cell: &Cell, work: impl FnOnce(&Cell) + Send + 'static) {
    match cell.shared {
        Shared::Thread => {
            let cell = *cell;
            let thread = std::thread::spawn(move || work(&cell));
            let _ = thread.join();
        }
        Shared::ForkChild => in_a_child(cell, None, work),
        _ => work(cell),
    }
}

/// The parent lets go first, the child does the work; the parent waits for its end.
fn in_a_child(cell: &Cell, fd: Option<RawFd>, work: impl FnOnce(&Cell)) {
    let mut pipe = [0; 2];
    // SAFETY: writes two descriptors.
    unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) };
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut byte = 0u8;
        // SAFETY: ends when the parent has closed its writing end, having let go.
        unsafe {
            libc::close(pipe[1]);
            libc::read(pipe[0], (&raw mut byte).cast(), 1);
        }
        work(cell);
        super::wait_for("end");
        // SAFETY: the child's end.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: the parent's own descriptors.
    unsafe {
        libc::close(pipe[0]);
        if let Some(fd) = fd {
            libc::close(fd);
        }
        libc::close(pipe[1]);
    }
    wait_for(child);
    // SAFETY: the parent's end; nothing is left to do.
    unsafe { libc::_exit(0) }
}

fn wait_for(child: pid_t) {
    // SAFETY: the status is not wanted.
    while unsafe { libc::waitpid(child, null_mut(), 0) } < 0 && errno() == libc::EINTR {}
}

/// Lets go.
pub(crate) fn let_go(cell: &Cell, fd: RawFd, others: &Others) {
    let last = others.last();
    match cell.way {
        Way::ChildExit | Way::RawChildExit => child_exit(cell, fd, others),
        Way::Return => say(&format!("closing {}", stamp())),
        _ => match cell.shared {
            Shared::ForkChild => in_a_child(cell, Some(fd), move |cell| way(cell, fd, last)),
            _ => on_a_thread(cell, move |cell| way(cell, fd, last)),
        },
    }
}

fn way(cell: &Cell, fd: RawFd, last: RawFd) {
    // What is opened for the purpose is opened before.
    // SAFETY: a constant path.
    let null_device = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    // SAFETY: `fd` is ours.
    let stream = (cell.way == Way::Fclose).then(|| unsafe { libc::fdopen(fd, c"r+".as_ptr()) });
    if cell.way == Way::Exec {
        for fd in [fd, last] {
            // SAFETY: no pointers.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    say(&format!("closing {}", stamp()));
    // SAFETY: each lets go of a descriptor of ours, or ends the process.
    let result: c_int = unsafe {
        match cell.way {
            Way::Close => libc::close(fd),
            Way::RawClose => libc::syscall(libc::SYS_close, fd) as c_int,
            Way::CloseRange => libc::close_range(fd as c_uint, last as c_uint, 0),
            Way::RawCloseRange => libc::syscall(libc::SYS_close_range, fd, last, 0) as c_int,
            Way::CloseFrom => {
                closefrom(fd);
                0
            }
            Way::Dup2 => libc::dup2(null_device, fd),
            Way::RawDup2 => raw_dup2(null_device, fd),
            Way::Dup3 => libc::dup3(null_device, fd, libc::O_CLOEXEC),
            Way::RawDup3 => {
                libc::syscall(libc::SYS_dup3, null_device, fd, libc::O_CLOEXEC) as c_int
            }
            Way::Fclose => stream.map_or(-1, |stream| libc::fclose(stream)),
            Way::Exit => libc::exit(0),
            Way::QuickExit => quick_exit(0),
            Way::UnderscoreExit => libc::_exit(0),
            Way::RawExitGroup => libc::syscall(libc::SYS_exit_group, 0) as c_int,
            Way::Exec => {
                exec(&["/bin/true".to_owned()]);
                -1
            }
            Way::Abort => libc::abort(),
            Way::Terminate => libc::raise(libc::SIGTERM),
            Way::Kill => libc::raise(libc::SIGKILL),
            Way::Return | Way::ChildExit | Way::RawChildExit | Way::Call => 0,
        }
    };
    closed(result);
}

fn closed(result: c_int) {
    let error = if result < 0 { errno() } else { 0 };
    say(&format!("closed {result} {error} {}", stamp()));
}

unsafe extern "C" {
    fn closefrom(first: c_int);
    fn quick_exit(status: c_int) -> !;
}

#[cfg(target_arch = "x86_64")]
unsafe fn raw_dup2(old: RawFd, new: RawFd) -> c_int {
    // SAFETY: no pointers.
    unsafe { libc::syscall(libc::SYS_dup2, old, new) as c_int }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn raw_dup2(old: RawFd, new: RawFd) -> c_int {
    // SAFETY: no pointers.
    unsafe { libc::syscall(libc::SYS_dup3, old, new, 0) as c_int }
}

/// A child ends, the only one that still holds the socket.
fn child_exit(cell: &Cell, fd: RawFd, others: &Others) {
    let mut pipe = [0; 2];
    // SAFETY: writes two descriptors.
    unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) };
    // SAFETY: this process has one thread.
    let child = unsafe {
        if cell.way == Way::RawChildExit {
            libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as pid_t
        } else {
            libc::fork()
        }
    };
    if child == 0 {
        let mut byte = 0u8;
        // SAFETY: ends when the parent has closed its writing end, having let go.
        unsafe {
            libc::close(pipe[1]);
            libc::read(pipe[0], (&raw mut byte).cast(), 1);
        }
        say(&format!("closing {}", stamp()));
        // SAFETY: the child's end.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: the parent's own descriptors.
    unsafe {
        libc::close(pipe[0]);
        libc::close(fd);
        others.close_dup();
        libc::close(pipe[1]);
    }
    wait_for(child);
    closed(0);
}
