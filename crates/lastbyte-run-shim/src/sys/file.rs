//! Descriptors, files and folders.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;

use super::{Result, call, call_for_program, word};

/// Closes `fd`, whatever it is.
pub(crate) fn close(fd: c_int) -> Result<()> {
    // SAFETY: no memory involved.
    unsafe { call_for_program(libc::SYS_close, [word(fd), 0, 0, 0, 0, 0]) }.map(drop)
}

/// close_range(2).
pub(crate) fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    let arguments = [first as usize, last as usize, flags as usize, 0, 0, 0];
    // SAFETY: no memory involved.
    unsafe { call_for_program(libc::SYS_close_range, arguments) }.map(drop)
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

/// fstat(2): device and inode, mode.
pub(crate) fn stat(fd: c_int) -> Result<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    let arguments = [word(fd), stat.as_mut_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes one stat to a local; on our architectures its layout is libc's.
    unsafe { call(libc::SYS_fstat, arguments) }?;
    // SAFETY: zeroed, then written; a stat is plain integers.
    Ok(unsafe { stat.assume_init() })
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

/// Maps a read-only view of an io_uring, which no child inherits: it would keep the ring
/// alive there.
pub(crate) fn map_private_to_process(
    fd: c_int,
    length: usize,
    offset: usize,
) -> Result<*mut c_void> {
    let arguments = [
        0,
        length,
        word(libc::PROT_READ),
        word(libc::MAP_SHARED),
        word(fd),
        offset,
    ];
    // SAFETY: a new mapping at an address the kernel chooses.
    let address = unsafe { call(libc::SYS_mmap, arguments) }?;
    let advice = word(libc::MADV_DONTFORK);
    // SAFETY: the mapping made just now.
    match unsafe { call(libc::SYS_madvise, [address, length, advice, 0, 0, 0]) } {
        Ok(_) => Ok(address as *mut c_void),
        Err(error) => {
            unmap(address as *mut c_void, length);
            Err(error)
        }
    }
}

/// Undoes a mapping that nobody reads any more.
pub(crate) fn unmap(address: *mut c_void, length: usize) {
    // SAFETY: the caller's own mapping.
    let _ = unsafe { call(libc::SYS_munmap, [address as usize, length, 0, 0, 0, 0]) };
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

/// Opens a file for reading; the path is NUL-terminated, and begins at `folder` or
/// `AT_FDCWD`.
///
/// # Safety
/// `path` points to a NUL-terminated string.
pub(crate) unsafe fn open(folder: c_int, path: *const u8) -> Result<c_int> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    let arguments = [word(folder), path as usize, word(flags), 0, 0, 0];
    // SAFETY: the caller's promise.
    unsafe { call(libc::SYS_openat, arguments) }.map(|fd| fd as c_int)
}

/// Reads what fits of the beginning of a file; the path is NUL-terminated.
pub(crate) fn read_file<'b>(path: &[u8], buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    if path.last() != Some(&0) {
        return Err(libc::EINVAL);
    }
    // SAFETY: the path ends in NUL.
    let fd = unsafe { open(libc::AT_FDCWD, path.as_ptr()) }?;
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
