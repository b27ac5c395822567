//! The functions that programs would have called without us: libc's, or those of
//! another preloaded library.
//!
//! They are looked up once, before the program starts, because dlsym(3) may
//! allocate. Whoever calls earlier than that gets the bare system call where
//! there is one, and a look-up where there is not.

use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

macro_rules! real {
    ($($constant:ident $name:literal;)*) => {
        $(pub(crate) static $constant: Real = Real::new(
            // The literal ends in NUL, so the cut is never taken.
            match CStr::from_bytes_with_nul(concat!($name, "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => c"",
            }
        );)*
        /// Looks all of them up.
        pub(crate) fn resolve() {
            $($constant.find();)*
        }
    };
}

real! {
    ACCEPT "accept"; ACCEPT4 "accept4"; CLONE "clone"; CLOSE "close";
    CLOSE_RANGE "close_range"; CONNECT "connect"; SENDTO "sendto"; DUP "dup"; DUP2 "dup2"; DUP3 "dup3";
    EPOLL_CTL "epoll_ctl"; EXECVE "execve"; EXECVEAT "execveat"; EXECVP "execvp"; EXECVPE "execvpe"; EXIT "_exit";
    FCLOSE "fclose"; FCNTL "fcntl"; FCNTL64 "fcntl64"; FORK "fork"; FORK_BARE "_Fork";
    IOCTL "ioctl"; POPEN "popen"; POSIX_SPAWN "posix_spawn"; POSIX_SPAWNP "posix_spawnp";
    PIDFD_SPAWN "pidfd_spawn"; PIDFD_SPAWNP "pidfd_spawnp"; WORDEXP "wordexp"; FREOPEN "freopen"; FREOPEN64 "freopen64";
    PRCTL "prctl"; RECVMMSG "recvmmsg"; RECVMSG "recvmsg"; SENDMMSG "sendmmsg";
    SENDMSG "sendmsg"; SHUTDOWN "shutdown"; SETSOCKOPT "setsockopt"; GETSOCKOPT "getsockopt";
    EXECL "execl"; EXECLE "execle"; EXECLP "execlp"; FEXECVE "fexecve"; SOCKET "socket"; SPAWN_ADDDUP2 "posix_spawn_file_actions_adddup2";
    SYSCALL "syscall"; SYSTEM "system"; UNSHARE "unshare";
}

/// One function of libc.
pub(crate) struct Real {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Real {
    const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            address: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// The address if it was looked up already.
    pub(crate) fn known(&self) -> Option<*mut c_void> {
        let address = self.address.load(Ordering::Relaxed);
        (!address.is_null()).then_some(address)
    }

    /// The address, looked up if need be.
    pub(crate) fn find(&self) -> Option<*mut c_void> {
        if let Some(address) = self.known() {
            return Some(address);
        }
        // SAFETY: a NUL-terminated name.
        let address = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.address.store(address, Ordering::Relaxed);
        (!address.is_null()).then_some(address)
    }
}

/// Calls libc's function, looking it up if need be; without one, fails with
/// ENOSYS.
macro_rules! forward {
    ($real:ident($($argument:expr),*) as fn($($type:ty),*) -> $result:ty, else $failed:expr) => {
        match crate::real_libc::$real.find() {
            // SAFETY: the symbol of that name has that type; the arguments are the program's own.
            Some(address) => unsafe {
                core::mem::transmute::<*mut core::ffi::c_void, unsafe extern "C-unwind" fn($($type),*) -> $result>(address)($($argument),*)
            },
            None => {
                crate::sys::set_errno(libc::ENOSYS);
                $failed
            }
        }
    };
}
pub(crate) use forward;
