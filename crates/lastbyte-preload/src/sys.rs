//! System calls without libc in between: no `errno`, no cancellation point, and
//! no way back into our own hooks.

use core::ffi::{c_int, c_long, c_void};
use core::mem::{MaybeUninit, size_of};
use core::sync::atomic::AtomicU32;

/// A failed system call's errno, positive.
pub(crate) type Result<T> = core::result::Result<T, c_int>;

/// Makes a system call. Unused arguments are ignored by the kernel.
///
/// # Safety
/// As the call itself: pointers must be valid for what it reads and writes.
#[inline]
pub(crate) unsafe fn call(number: c_long, a: [usize; 6]) -> Result<usize> {
    let value: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel clobbers rcx and r11 and returns in rax; memory is the caller's promise.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => value,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: arguments in x0..x5, number in x8, result in x0; memory is the caller's promise.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] => value,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack),
        );
    }
    if (-4095..0).contains(&value) {
        Err(-value as c_int)
    } else {
        Ok(value as usize)
    }
}

fn word(value: c_int) -> usize {
    value as isize as usize
}

/// `errno` as the calling program sees it.
pub(crate) fn set_errno(value: c_int) {
    // SAFETY: glibc returns this thread's errno, always valid.
    unsafe { *libc::__errno_location() = value };
}

/// The calling program's `errno`.
pub(crate) fn errno() -> c_int {
    // SAFETY: as in `set_errno`.
    unsafe { *libc::__errno_location() }
}

/// Closes `fd`, whatever it is.
pub(crate) fn close(fd: c_int) -> Result<()> {
    // SAFETY: no memory involved.
    unsafe { call(libc::SYS_close, [word(fd), 0, 0, 0, 0, 0]) }.map(drop)
}

/// close_range(2).
pub(crate) fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    let arguments = [first as usize, last as usize, flags as usize, 0, 0, 0];
    // SAFETY: no memory involved.
    unsafe { call(libc::SYS_close_range, arguments) }.map(drop)
}

/// The process, never cached: a vforked child differs from what its memory says.
pub(crate) fn pid() -> c_int {
    // SAFETY: no memory involved; cannot fail.
    unsafe { call(libc::SYS_getpid, [0; 6]) }.map_or(0, |pid| pid as c_int)
}

/// The calling thread.
pub(crate) fn tid() -> c_int {
    // SAFETY: no memory involved; cannot fail.
    unsafe { call(libc::SYS_gettid, [0; 6]) }.map_or(0, |tid| tid as c_int)
}

/// The parent process.
pub(crate) fn parent() -> c_int {
    // SAFETY: no memory involved; cannot fail.
    unsafe { call(libc::SYS_getppid, [0; 6]) }.map_or(0, |pid| pid as c_int)
}

/// A socket option of plain integers.
///
/// # Safety
/// `T` must be valid for every bit pattern.
pub(crate) unsafe fn option<T: Copy + Default>(fd: c_int, level: c_int, name: c_int) -> Result<T> {
    let mut value = T::default();
    let mut length = size_of::<T>() as libc::socklen_t;
    let arguments = [
        word(fd),
        word(level),
        word(name),
        (&raw mut value) as usize,
        (&raw mut length) as usize,
        0,
    ];
    // SAFETY: both pointers are to locals, and `length` is the room there is.
    unsafe { call(libc::SYS_getsockopt, arguments) }.map(|_| value)
}

/// `SO_COOKIE`: the socket's identity for its network namespace's life.
pub(crate) fn cookie(fd: c_int) -> Result<u64> {
    // SAFETY: a u64 has no invalid patterns.
    unsafe { option(fd, libc::SOL_SOCKET, libc::SO_COOKIE) }
}

/// getsockname(2) and getpeername(2), as bytes; zeros where there is no such address.
pub(crate) fn addresses<const N: usize>(fd: c_int) -> [[u8; N]; 2] {
    [libc::SYS_getsockname, libc::SYS_getpeername].map(|number| {
        let mut address = [0; N];
        let mut length = N as libc::socklen_t;
        let arguments = [
            word(fd),
            address.as_mut_ptr() as usize,
            (&raw mut length) as usize,
            0,
            0,
            0,
        ];
        // SAFETY: both pointers are to locals, and `length` is the room there is.
        match unsafe { call(number, arguments) } {
            Ok(_) => address,
            Err(_) => [0; N],
        }
    })
}

/// `SO_PROTOCOL`.
pub(crate) fn protocol(fd: c_int) -> Result<c_int> {
    // SAFETY: as above.
    unsafe { option(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) }
}

/// `SO_LINGER`: `[l_onoff, l_linger]`.
pub(crate) fn linger(fd: c_int) -> Result<[c_int; 2]> {
    // SAFETY: as above.
    unsafe { option(fd, libc::SOL_SOCKET, libc::SO_LINGER) }
}

/// The classic filter of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// None.
    None,
    /// The one of [`attach_trim`].
    Trim,
    /// Another.
    Other,
}

/// Keeps one byte of what arrives, which is less than a header: `ret #1`
/// (include/uapi/linux/bpf_common.h). The kernel keeps the header all the same.
const TRIM: libc::sock_filter = libc::sock_filter {
    code: 6,
    jt: 0,
    jf: 0,
    k: 1,
};

/// `SO_GET_FILTER`.
pub(crate) fn filter(fd: c_int) -> Result<Filter> {
    let mut program = [libc::sock_filter {
        code: 0,
        jt: 0,
        jf: 0,
        k: 0,
    }; 1];
    // In instructions, as is what is written back.
    let mut length: libc::socklen_t = 0;
    let mut ask = |room: libc::socklen_t| {
        length = room;
        let arguments = [
            word(fd),
            word(libc::SOL_SOCKET),
            word(libc::SO_GET_FILTER),
            program.as_mut_ptr() as usize,
            (&raw mut length) as usize,
            0,
        ];
        // SAFETY: both pointers are to locals, and there is room for one instruction.
        unsafe { call(libc::SYS_getsockopt, arguments) }.map(|_| length)
    };
    match ask(0) {
        Ok(0) => return Ok(Filter::None),
        Ok(1) => {}
        // More, or a program of another kind, which fails with EACCES.
        Ok(_) | Err(libc::EACCES) => return Ok(Filter::Other),
        Err(error) => return Err(error),
    }
    ask(1)?;
    let [found] = program;
    let is_ours =
        (found.code, found.jt, found.jf, found.k) == (TRIM.code, TRIM.jt, TRIM.jf, TRIM.k);
    Ok(if is_ours { Filter::Trim } else { Filter::Other })
}

/// Attaches a filter that cuts the payload off whatever arrives.
pub(crate) fn attach_trim(fd: c_int) -> Result<()> {
    let mut code = TRIM;
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut code,
    };
    let arguments = [
        word(fd),
        word(libc::SOL_SOCKET),
        word(libc::SO_ATTACH_FILTER),
        (&raw const program) as usize,
        size_of::<libc::sock_fprog>(),
        0,
    ];
    // SAFETY: the kernel reads the program, and through it one instruction, both locals.
    unsafe { call(libc::SYS_setsockopt, arguments) }.map(drop)
}

/// What is read of `struct tcp_info` (include/uapi/linux/tcp.h).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct TcpInfo {
    /// `tcpi_state`.
    pub(crate) state: u8,
    skipped: [u8; 199],
    /// `tcpi_bytes_sent`: payload, retransmissions included. Since Linux 4.19;
    /// before that it stays at all ones.
    pub(crate) bytes_sent: u64,
}

/// `TCP_INFO`.
pub(crate) fn tcp_info(fd: c_int) -> Result<TcpInfo> {
    let mut info = TcpInfo {
        state: 0,
        skipped: [0; 199],
        bytes_sent: u64::MAX,
    };
    let mut length = size_of::<TcpInfo>() as libc::socklen_t;
    let arguments = [
        word(fd),
        word(libc::IPPROTO_TCP),
        word(libc::TCP_INFO),
        (&raw mut info) as usize,
        (&raw mut length) as usize,
        0,
    ];
    // SAFETY: both pointers are to locals, and `length` is the room there is.
    unsafe { call(libc::SYS_getsockopt, arguments) }.map(|_| info)
}

/// `SO_SNDBUF`.
pub(crate) fn send_buffer(fd: c_int) -> Result<c_int> {
    // SAFETY: an int has no invalid patterns.
    unsafe { option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF) }
}

/// `TCP_REPAIR`.
pub(crate) fn repair(fd: c_int) -> Result<c_int> {
    // SAFETY: as above.
    unsafe { option(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR) }
}

/// Sets `SO_LINGER`.
pub(crate) fn set_linger(fd: c_int, linger: [c_int; 2]) -> Result<()> {
    let arguments = [
        word(fd),
        word(libc::SOL_SOCKET),
        word(libc::SO_LINGER),
        linger.as_ptr() as usize,
        size_of::<[c_int; 2]>(),
        0,
    ];
    // SAFETY: the kernel reads two integers from a local.
    unsafe { call(libc::SYS_setsockopt, arguments) }.map(drop)
}

/// An ioctl that answers an int.
pub(crate) fn ioctl_int(fd: c_int, request: u64) -> Result<c_int> {
    let mut value: c_int = 0;
    let arguments = [
        word(fd),
        request as usize,
        (&raw mut value) as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the kernel writes one int to a local.
    unsafe { call(libc::SYS_ioctl, arguments) }.map(|_| value)
}

/// fcntl(2) with an integer argument.
pub(crate) fn fcntl(fd: c_int, command: c_int, argument: c_int) -> Result<c_int> {
    // SAFETY: used with commands whose argument is an integer only.
    unsafe {
        call(
            libc::SYS_fcntl,
            [word(fd), word(command), word(argument), 0, 0, 0],
        )
    }
    .map(|value| value as c_int)
}

/// shutdown(fd, SHUT_WR).
pub(crate) fn shutdown_write(fd: c_int) -> Result<()> {
    // SAFETY: no memory involved.
    unsafe {
        call(
            libc::SYS_shutdown,
            [word(fd), word(libc::SHUT_WR), 0, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Takes `fd` out of the epoll set `epoll`.
pub(crate) fn epoll_delete(epoll: c_int, fd: c_int) -> Result<()> {
    let arguments = [word(epoll), word(libc::EPOLL_CTL_DEL), word(fd), 0, 0, 0];
    // SAFETY: EPOLL_CTL_DEL reads no event.
    unsafe { call(libc::SYS_epoll_ctl, arguments) }.map(drop)
}

/// fstat(2): device and inode, mode.
pub(crate) fn stat(fd: c_int) -> Result<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    let arguments = [word(fd), stat.as_mut_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes one stat to a local; on our architectures its layout is libc's.
    unsafe { call(libc::SYS_fstat, arguments) }?;
    // SAFETY: zeroed, then written; a stat is plain integers.
    Ok(unsafe { stat.assume_init() })
}

/// Sends one message, with a descriptor riding along if there is one.
pub(crate) fn send(channel: c_int, bytes: &[u8], rider: Option<c_int>) -> Result<()> {
    #[repr(C, align(8))]
    struct Control {
        header: libc::cmsghdr,
        fd: c_int,
    }
    let mut control = Control {
        header: libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + size_of::<c_int>(),
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        },
        fd: rider.unwrap_or(-1),
    };
    let mut vector = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: a msghdr is pointers and integers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    if rider.is_some() {
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Control>();
    }
    let arguments = [
        word(channel),
        (&raw const message) as usize,
        word(libc::MSG_NOSIGNAL),
        0,
        0,
        0,
    ];
    loop {
        // SAFETY: everything the message points to outlives the call.
        match unsafe { call(libc::SYS_sendmsg, arguments) } {
            Err(libc::EINTR) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}

/// Nanoseconds as the kernel wants them.
fn time(nanoseconds: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000).cast_signed(),
        tv_nsec: (nanoseconds % 1_000_000_000).cast_signed(),
    }
}

/// Sleeps so many nanoseconds, or until a signal.
pub(crate) fn sleep(nanoseconds: u32) {
    let time = time(nanoseconds.into());
    // SAFETY: a local; no remainder is wanted.
    let _ = unsafe {
        call(
            libc::SYS_nanosleep,
            [(&raw const time) as usize, 0, 0, 0, 0, 0],
        )
    };
}

/// Sleeps while `*word == expected`, so many nanoseconds at most.
pub(crate) fn futex_wait(word: *const AtomicU32, expected: u32, nanoseconds: u64) -> Result<()> {
    let time = time(nanoseconds);
    let arguments = [
        word as usize,
        libc::FUTEX_WAIT as usize,
        expected as usize,
        (&raw const time) as usize,
        0,
        0,
    ];
    // SAFETY: the word lies in the control block, which is never unmapped.
    unsafe { call(libc::SYS_futex, arguments) }.map(drop)
}

/// Eight random bytes; `None` where the system has none, or not without waiting.
pub(crate) fn random() -> Option<[u8; 8]> {
    let mut bytes = [0; 8];
    let arguments = [
        bytes.as_mut_ptr() as usize,
        bytes.len(),
        libc::GRND_NONBLOCK as usize,
        0,
        0,
        0,
    ];
    // SAFETY: room for as many bytes as asked for.
    let got = unsafe { call(libc::SYS_getrandom, arguments) };
    (got == Ok(bytes.len())).then_some(bytes)
}

/// CLOCK_MONOTONIC in nanoseconds; zero where the system does not tell.
pub(crate) fn monotonic() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let arguments = [
        libc::CLOCK_MONOTONIC as usize,
        (&raw mut time) as usize,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: room for a time.
    match unsafe { call(libc::SYS_clock_gettime, arguments) } {
        Ok(_) => time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned(),
        Err(_) => 0,
    }
}

/// Whether the other end of `channel` is gone.
pub(crate) fn hung_up(channel: c_int) -> bool {
    let mut poll = libc::pollfd {
        fd: channel,
        events: 0,
        revents: 0,
    };
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let arguments = [
        (&raw mut poll) as usize,
        1,
        (&raw const time) as usize,
        0,
        0,
        0,
    ];
    // SAFETY: one pollfd and a time, both locals.
    match unsafe { call(libc::SYS_ppoll, arguments) } {
        Ok(_) => poll.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0,
        Err(_) => false,
    }
}

/// Maps a shared view of `length` bytes of `fd`, with `protection`.
pub(crate) fn map(fd: c_int, length: usize, protection: c_int) -> Result<*mut c_void> {
    let arguments = [
        0,
        length,
        word(protection),
        word(libc::MAP_SHARED),
        word(fd),
        0,
    ];
    // SAFETY: a new mapping at an address the kernel chooses.
    unsafe { call(libc::SYS_mmap, arguments) }.map(|address| address as *mut c_void)
}

/// readlink(2) into `buffer`; the path is NUL-terminated.
pub(crate) fn readlink<'b>(path: &[u8], buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    if path.last() != Some(&0) {
        return Err(libc::EINVAL);
    }
    let arguments = [
        word(libc::AT_FDCWD),
        path.as_ptr() as usize,
        buffer.as_mut_ptr() as usize,
        buffer.len(),
        0,
        0,
    ];
    // SAFETY: the path ends in NUL, the buffer is as long as said.
    let length = unsafe { call(libc::SYS_readlinkat, arguments) }?;
    buffer.get(..length).ok_or(libc::EIO)
}

/// Opens a file for reading; the path is NUL-terminated.
///
/// # Safety
/// `path` points to a NUL-terminated string.
pub(crate) unsafe fn open(path: *const u8) -> Result<c_int> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    let arguments = [word(libc::AT_FDCWD), path as usize, word(flags), 0, 0, 0];
    // SAFETY: the caller's promise.
    unsafe { call(libc::SYS_openat, arguments) }.map(|fd| fd as c_int)
}

/// Reads what fits of the beginning of a file; the path is NUL-terminated.
pub(crate) fn read_file<'b>(path: &[u8], buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    if path.last() != Some(&0) {
        return Err(libc::EINVAL);
    }
    // SAFETY: the path ends in NUL.
    let fd = unsafe { open(path.as_ptr()) }?;
    let length = read_at(fd, buffer, 0);
    let _ = close(fd);
    buffer.get(..length?).ok_or(libc::EIO)
}

/// A folder's link count; the path is NUL-terminated.
pub(crate) fn link_count(path: &[u8]) -> Result<u64> {
    if path.last() != Some(&0) {
        return Err(libc::EINVAL);
    }
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    let arguments = [
        word(libc::AT_FDCWD),
        path.as_ptr() as usize,
        stat.as_mut_ptr() as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the path ends in NUL; the kernel writes one stat to a local.
    unsafe { call(libc::SYS_newfstatat, arguments) }?;
    // SAFETY: zeroed, then written; a stat is plain integers.
    let stat = unsafe { stat.assume_init() };
    // 32 bits wide on aarch64.
    #[allow(clippy::useless_conversion)]
    Ok(stat.st_nlink.into())
}

/// Whether the process has one thread, asked without /proc: unshare(CLONE_THREAD) does
/// nothing then, and fails otherwise.
pub(crate) fn has_one_thread() -> Result<bool> {
    // SAFETY: no memory involved.
    match unsafe { call(libc::SYS_unshare, [word(libc::CLONE_THREAD), 0, 0, 0, 0, 0]) } {
        Ok(_) => Ok(true),
        Err(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether there is such a thread in this process.
pub(crate) fn thread_exists(thread: c_int) -> bool {
    // SAFETY: no memory involved; signal 0 only asks.
    unsafe { call(libc::SYS_tgkill, [word(pid()), word(thread), 0, 0, 0, 0]) }.is_ok()
}

/// Opens a folder; the path is NUL-terminated.
pub(crate) fn open_folder(path: &[u8]) -> Result<c_int> {
    if path.last() != Some(&0) {
        return Err(libc::EINVAL);
    }
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECTORY;
    let arguments = [
        word(libc::AT_FDCWD),
        path.as_ptr() as usize,
        word(flags),
        0,
        0,
        0,
    ];
    // SAFETY: the path ends in NUL.
    unsafe { call(libc::SYS_openat, arguments) }.map(|fd| fd as c_int)
}

/// getdents64(2); empty at the end.
pub(crate) fn read_folder(fd: c_int, buffer: &mut [u8]) -> Result<&[u8]> {
    let arguments = [
        word(fd),
        buffer.as_mut_ptr() as usize,
        buffer.len(),
        0,
        0,
        0,
    ];
    // SAFETY: the buffer is as long as said.
    let length = unsafe { call(libc::SYS_getdents64, arguments) }?;
    buffer.get(..length).ok_or(libc::EIO)
}

/// pread(2).
pub(crate) fn read_at(fd: c_int, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let arguments = [
        word(fd),
        buffer.as_mut_ptr() as usize,
        buffer.len(),
        offset as usize,
        0,
        0,
    ];
    // SAFETY: the buffer is as long as said.
    unsafe { call(libc::SYS_pread64, arguments) }
}

/// The calling thread's name.
pub(crate) fn thread_name() -> [u8; 16] {
    let mut name = [0; 16];
    let arguments = [
        word(libc::PR_GET_NAME),
        name.as_mut_ptr() as usize,
        0,
        0,
        0,
        0,
    ];
    // SAFETY: PR_GET_NAME writes at most 16 bytes.
    let _ = unsafe { call(libc::SYS_prctl, arguments) };
    name
}

/// The real user.
pub(crate) fn user() -> u32 {
    user_and_group().0
}

/// The real user and group.
pub(crate) fn user_and_group() -> (u32, u32) {
    // SAFETY: no memory involved; neither can fail.
    let id = |number| unsafe { call(number, [0; 6]) }.map_or(0, |id| id as u32);
    (id(libc::SYS_getuid), id(libc::SYS_getgid))
}
