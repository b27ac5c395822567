//! Signals as something to read, and the program's own state restored for it.
//!
//! All signals but KILL, STOP and the two that glibc keeps for itself are taken, and
//! passed on where the program would have got them without us.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::channel::check;

/// signal(7): NPTL's own.
const GLIBC: [libc::c_int; 2] = [32, 33];
/// siginfo: not sent by a process, but by the kernel.
const FROM_THE_KERNEL: libc::c_int = 0;

/// Whether SIGPIPE was ignored when the process began.
static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);

/// Before Rust's own start, which ignores SIGPIPE.
extern "C" fn note_pipe() {
    PIPE_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_PIPE: extern "C" fn() = note_pipe;

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only reads the disposition, into room for one.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeroed, which is a value, or written.
    result == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// What SIGPIPE is to do in the program, as it would have without us.
pub(crate) fn inherited_pipe() -> libc::sighandler_t {
    if PIPE_IGNORED.load(Ordering::Relaxed) {
        libc::SIG_IGN
    } else {
        libc::SIG_DFL
    }
}

/// Our signals.
pub(crate) struct Signals {
    fd: OwnedFd,
    /// What was blocked before, which is what the program gets.
    pub(crate) before: libc::sigset_t,
    us: u32,
    leads_session: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    pub(crate) number: libc::c_int,
    /// The program would not get it but for us.
    pub(crate) is_for_program: bool,
    /// With sigqueue(3): the value that came along.
    pub(crate) value: Option<usize>,
    /// The terminal stops its foreground group, us with the program.
    pub(crate) stops_us: bool,
}

impl Signals {
    pub(crate) fn take_over() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set; the others read and write locals.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in 1..=libc::SIGRTMAX() {
                if !GLIBC.contains(&signal) && ![libc::SIGKILL, libc::SIGSTOP].contains(&signal) {
                    libc::sigaddset(set.as_mut_ptr(), signal);
                }
            }
            check(libc::sigprocmask(
                libc::SIG_BLOCK,
                set.as_ptr(),
                before.as_mut_ptr(),
            ))?;
            let fd = check(libc::signalfd(
                -1,
                set.as_ptr(),
                libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
            ))?;
            Ok(Self {
                fd: OwnedFd::from_raw_fd(fd),
                before: before.assume_init(),
                us: std::process::id(),
                leads_session: libc::getsid(0) == libc::getpid(),
            })
        }
    }

    pub(crate) fn next(&self) -> Option<Signal> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: room for one, and the kernel writes whole ones.
        let got = unsafe { libc::read(self.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if usize::try_from(got) != Ok(size) {
            return None;
        }
        // SAFETY: written whole.
        let info = unsafe { info.assume_init() };
        Some(self.judge(&info))
    }

    fn judge(&self, info: &libc::signalfd_siginfo) -> Signal {
        let number = libc::c_int::try_from(info.ssi_signo).unwrap_or(0);
        let is_from_kernel = info.ssi_code > FROM_THE_KERNEL;
        let is_for_program = if is_from_kernel {
            match number {
                // A terminal's go to its whole foreground group, which the program is
                // in; a hang-up to the leader of the session alone.
                libc::SIGHUP => self.leads_session,
                // An alarm(2) that was set before the exec that made us.
                libc::SIGALRM | libc::SIGVTALRM | libc::SIGPROF => true,
                _ => false,
            }
        } else {
            // SIGPIPE and SIGXFSZ for what we write ourselves look like our own.
            info.ssi_pid != self.us
        };
        Signal {
            number,
            is_for_program,
            value: (info.ssi_code == libc::SI_QUEUE)
                .then(|| usize::try_from(info.ssi_ptr).unwrap_or(0)),
            stops_us: is_from_kernel
                && matches!(number, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU),
        }
    }
}

impl Signal {
    /// Sends it on to `process`.
    pub(crate) fn pass_on(self, process: libc::pid_t) {
        // SAFETY: no memory involved; a process that is gone is an error.
        unsafe {
            match self.value {
                Some(value) => {
                    let value = libc::sigval {
                        sival_ptr: value as *mut libc::c_void,
                    };
                    libc::sigqueue(process, self.number, value);
                }
                None => {
                    libc::kill(process, self.number);
                }
            }
        }
    }

    /// Whether it ends a wait of ours: those that end programs, unless we were started
    /// with it ignored (nohup).
    pub(crate) fn ends_a_wait(self) -> bool {
        matches!(
            self.number,
            libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT
        ) && !is_ignored(self.number)
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals() -> Signals {
        Signals {
            // SAFETY: a descriptor of our own.
            fd: unsafe { OwnedFd::from_raw_fd(libc::dup(0)) },
            // SAFETY: a set of signals is plain memory.
            before: unsafe { MaybeUninit::zeroed().assume_init() },
            us: 77,
            leads_session: false,
        }
    }

    fn judge(number: libc::c_int, code: libc::c_int, pid: u32) -> Signal {
        // SAFETY: plain memory.
        let mut info: libc::signalfd_siginfo = unsafe { MaybeUninit::zeroed().assume_init() };
        info.ssi_signo = number.unsigned_abs();
        info.ssi_code = code;
        info.ssi_pid = pid;
        info.ssi_ptr = 42;
        signals().judge(&info)
    }

    const KERNEL: libc::c_int = 0x80;

    #[test]
    fn what_a_process_sent_is_for_the_program() {
        for number in [libc::SIGTERM, libc::SIGWINCH, libc::SIGCHLD, 40] {
            assert!(judge(number, libc::SI_USER, 5).is_for_program);
            assert_eq!(judge(number, libc::SI_USER, 5).value, None);
        }
        assert_eq!(judge(40, libc::SI_QUEUE, 5).value, Some(42));
        assert!(!judge(libc::SIGPIPE, libc::SI_USER, 77).is_for_program);
    }

    #[test]
    fn what_a_terminal_sent_reaches_the_program_without_us() {
        for number in [libc::SIGINT, libc::SIGQUIT, libc::SIGWINCH, libc::SIGTSTP] {
            assert!(!judge(number, KERNEL, 0).is_for_program);
        }
        assert!(judge(libc::SIGTSTP, KERNEL, 0).stops_us);
        assert!(!judge(libc::SIGTSTP, libc::SI_USER, 5).stops_us);
        assert!(judge(libc::SIGALRM, KERNEL, 0).is_for_program);
        assert!(!judge(libc::SIGCHLD, libc::CLD_EXITED, 5).is_for_program);
    }
}
