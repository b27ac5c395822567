//! A user and network namespace of our own, where nothing but the rows speaks.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, getgid, getuid};
use socket2::{Domain, Socket, Type};

/// Where the rows run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A private user and network namespace, its loopback interface up.
    Namespace,
    /// This host's own loopback interface, and why.
    Loopback {
        /// What kept us out of a namespace.
        why: String,
    },
}

impl Place {
    /// `namespace` or `loopback`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Place::Namespace => "namespace",
            Place::Loopback { .. } => "loopback",
        }
    }
}

/// Moves this process into a namespace of its own where the system allows it,
/// and raises the soft limit of open files to the hard one.
///
/// Must be called before any thread exists: a process with threads cannot enter
/// a user namespace ([unshare(2)]). Nothing has to be undone: the namespace ends
/// with the process. Needs no privilege where unprivileged user namespaces are
/// allowed. A throw-away child tries first, so a refusal half-way leaves this
/// process where it was.
///
/// [unshare(2)]: https://man7.org/linux/man-pages/man2/unshare.2.html
#[must_use]
pub fn enter() -> Place {
    raise_file_limit();
    let entered = single_threaded().and_then(|()| rehearse()).and_then(|()| {
        // The rehearsal in a child went well; this is the same again.
        into_namespace().map_err(|e| format!("entering a namespace worked in a child only: {e}"))
    });
    match entered {
        Ok(()) => Place::Namespace,
        Err(why) => Place::Loopback { why },
    }
}

fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // A refusal is no harm: the rows that need many files say so themselves.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn single_threaded() -> Result<(), String> {
    let threads = fs::read_dir("/proc/self/task")
        .map_err(|e| format!("cannot count this process's threads: {e}"))?
        .count();
    match threads {
        1 => Ok(()),
        n => Err(format!(
            "this process has {n} threads, and only one without threads can enter a namespace"
        )),
    }
}

fn rehearse() -> Result<(), String> {
    // SAFETY: this process has one thread, so the child may run any code.
    match unsafe { fork() } {
        Err(e) => Err(format!("fork: {e}")),
        Ok(ForkResult::Child) => {
            let code = match into_namespace() {
                Ok(()) => 0,
                Err(e) => e.raw_os_error().unwrap_or(libc::EIO).clamp(1, 255),
            };
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(code) }
        }
        Ok(ForkResult::Parent { child }) => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(WaitStatus::Exited(_, code)) => Err(format!(
                "the system refuses a private user and network namespace: {}",
                io::Error::from_raw_os_error(code)
            )),
            other => Err(format!("the child that tried a namespace: {other:?}")),
        },
    }
}

fn into_namespace() -> io::Result<()> {
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    raise_loopback()
}

fn raise_loopback() -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: `ifreq` is plain integers and arrays; all zeroes is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
