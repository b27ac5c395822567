//! Before an exec: will the shim be in what comes next?

use core::ffi::{CStr, c_char, c_int};

use lastbyte_run_protocol::elf::{self, Program};
use lastbyte_run_protocol::flag;

use crate::run::{self, Run};
use crate::text::Text;
use crate::{handover, sys};

/// Interpreters of interpreters the kernel follows (fs/exec.c).
const DEPTH: u32 = 5;
/// PATH_MAX.
const PATH: usize = 4096;

/// Tells the supervisor if `path` cannot be covered.
///
/// # Safety
/// `path` is NULL or a NUL-terminated string.
pub(crate) unsafe fn announce(path: *const c_char) {
    // exec in a vforked child is the usual case: borrowed memory will do.
    if path.is_null() {
        return;
    }
    if let Some(run) = run::borrowed() {
        // SAFETY: the caller's promise.
        unsafe { announce_file(run, CStr::from_ptr(path)) };
    }
}

/// As [`announce`], for a name that is searched for in PATH.
///
/// # Safety
/// `file` is NULL or a NUL-terminated string.
pub(crate) unsafe fn announce_found(file: *const c_char) {
    if file.is_null() {
        return;
    }
    let Some(run) = run::borrowed() else { return };
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(file) };
    if name.to_bytes().contains(&b'/') {
        announce_file(run, name);
        return;
    }
    // SAFETY: a NUL-terminated name; the value is read before anything could change it.
    let path = unsafe { libc::getenv(c"PATH".as_ptr()) };
    if path.is_null() {
        return;
    }
    // SAFETY: getenv's result is NUL-terminated.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    let mut buffer = [0; PATH];
    for folder in path.split(|byte| *byte == b':') {
        let length = folder.len() + 1 + name.to_bytes_with_nul().len();
        let Some(room) = buffer.get_mut(..length) else {
            continue;
        };
        let pieces = folder.iter().chain(b"/").chain(name.to_bytes_with_nul());
        for (place, byte) in room.iter_mut().zip(pieces) {
            *place = *byte;
        }
        if let Ok(candidate) = CStr::from_bytes_with_nul(room)
            && announce_file(run, candidate)
        {
            return;
        }
    }
}

/// As [`announce`], for execveat(2): `path` begins at `folder`, or is empty and `folder`
/// the file itself.
///
/// # Safety
/// `path` is NULL or a NUL-terminated string.
pub(crate) unsafe fn announce_at(folder: c_int, path: *const c_char) {
    if path.is_null() {
        return;
    }
    let Some(run) = run::borrowed() else { return };
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    if path.is_empty() {
        return announce_descriptor(run, folder);
    }
    // SAFETY: a CStr ends in NUL.
    if let Ok(fd) = unsafe { sys::open(folder, path.as_ptr().cast()) } {
        tell(run, examine_open(fd, DEPTH), path.to_bytes());
        let _ = sys::close(fd);
    }
}

/// As [`announce`], for fexecve(3).
pub(crate) fn announce_open(fd: c_int) {
    if let Some(run) = run::borrowed() {
        announce_descriptor(run, fd);
    }
}

/// The descriptor may be one that cannot be read (O_PATH), so it is opened anew.
fn announce_descriptor(run: Run, fd: c_int) {
    let mut path = Text::new();
    path.push(b"/proc/self/fd/");
    path.number(fd.unsigned_abs().into());
    path.push(b"\0");
    let Ok(name) = CStr::from_bytes_with_nul(path.bytes()) else {
        return;
    };
    if let Some(flags) = examine(name, DEPTH) {
        let mut buffer = [0; PATH];
        let file = sys::readlink(path.bytes(), &mut buffer).unwrap_or_default();
        tell(run, flags, file);
    }
}

/// False if the file cannot be opened.
fn announce_file(run: Run, path: &CStr) -> bool {
    let flags = examine(path, DEPTH);
    tell(run, flags.unwrap_or(0), path.to_bytes());
    flags.is_some()
}

fn tell(run: Run, flags: u32, file: &[u8]) {
    if flags != 0 {
        handover::uncovered(run, flags, file);
    }
}

/// The reasons why `path` cannot be covered; `None` if it cannot be opened.
fn examine(path: &CStr, depth: u32) -> Option<u32> {
    // SAFETY: a CStr ends in NUL.
    let fd = unsafe { sys::open(libc::AT_FDCWD, path.as_ptr().cast()) }.ok()?;
    let flags = examine_open(fd, depth);
    let _ = sys::close(fd);
    Some(flags)
}

fn examine_open(fd: c_int, depth: u32) -> u32 {
    match elf::inspect(|buffer, offset| sys::read_at(fd, buffer, offset).unwrap_or(0)) {
        Program::Uncovered(flags) => flags,
        Program::Covered => gains_privilege(fd),
        Program::Script(start, end) if depth > 0 => {
            let mut head = [0; elf::HEAD + 1];
            let room = head.get_mut(..elf::HEAD).unwrap_or_default();
            if sys::read_at(fd, room, 0).is_err() {
                return 0;
            }
            if let Some(byte) = head.get_mut(end) {
                *byte = 0;
            }
            head.get(start..=end)
                .and_then(|name| CStr::from_bytes_with_nul(name).ok())
                .and_then(|name| examine(name, depth - 1))
                .unwrap_or(0)
        }
        Program::Script(..) | Program::Unknown => 0,
    }
}

/// The loader ignores LD_PRELOAD where exec changes the user or the group.
fn gains_privilege(fd: c_int) -> u32 {
    let Ok(stat) = sys::stat(fd) else { return 0 };
    let (user, group) = sys::user_and_group();
    let by_user = stat.st_mode & libc::S_ISUID != 0 && stat.st_uid != user;
    let by_group = stat.st_mode & libc::S_ISGID != 0
        && stat.st_mode & libc::S_IXGRP != 0
        && stat.st_gid != group;
    if by_user || by_group { flag::SETUID } else { 0 }
}
