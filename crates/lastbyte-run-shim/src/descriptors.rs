//! Which descriptors are open, those included that were not seen being made: inherited
//! by exec, received, or made by a system call in line.

use core::ffi::c_int;

use crate::fd_table::Made;
use crate::{fd_table, run, sys};

/// Up to so many numbers are tried one by one.
const FEW: c_int = 64;
/// Tried where /proc cannot be read.
const USUAL: c_int = 1023;

/// Calls `each` for every number from `first` to `last` that may be open, in ascending
/// order. `each` may close it.
pub(crate) fn each(first: c_int, last: c_int, mut each: impl FnMut(c_int)) {
    let are_few = last.saturating_sub(first) < FEW;
    if !are_few && listed(first, last, &mut each) {
        return;
    }
    // Of few numbers none is left out: what was open before an exec has no entry.
    let end = match are_few {
        true => last,
        false => last.min(fd_table::highest().max(USUAL)),
    };
    for fd in first..=end {
        each(fd);
    }
}

/// As [`each`], by the kernel's list. False if there is none to be had.
fn listed(first: c_int, last: c_int, each: &mut impl FnMut(c_int)) -> bool {
    let Ok(list) = sys::open_folder(b"/proc/self/fd\0") else {
        return false;
    };
    let mut buffer = [0; 2048];
    let mut is_whole = false;
    loop {
        match sys::read_folder(list, &mut buffer) {
            Ok([]) => {
                is_whole = true;
                break;
            }
            Ok(entries) => names(entries, |name| {
                if let Some(fd) = number(name)
                    && fd != list
                    && (first..=last).contains(&fd)
                {
                    each(fd);
                }
            }),
            Err(_) => break,
        }
    }
    let _ = sys::close(list);
    is_whole
}

/// What `fd` is. It costs other descriptors one cheap check at most.
pub(crate) fn kind(fd: c_int) -> Made {
    if run::owns(fd) {
        return Made::Other;
    }
    match fd_table::entry(fd) {
        Some(entry) if entry.is_tcp() => Made::Tcp,
        Some(entry) if entry.is_mptcp() => Made::Mptcp,
        Some(entry) if entry.is_other() => Made::Other,
        _ => match sys::protocol(fd) {
            Ok(libc::IPPROTO_TCP) => Made::Tcp,
            Ok(libc::IPPROTO_MPTCP) => Made::Mptcp,
            _ => Made::Other,
        },
    }
}

/// Whether `fd` is a TCP socket that the program may know of.
pub(crate) fn is_tcp(fd: c_int) -> bool {
    kind(fd) == Made::Tcp
}

/// The names in what getdents64(2) wrote: `d_ino:8 d_off:8 d_reclen:2 d_type:1 d_name`.
pub(crate) fn names(mut entries: &[u8], mut each: impl FnMut(&[u8])) {
    while let Some(&[low, high]) = entries.get(16..18) {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let name = entries.get(19..length).unwrap_or_default();
        each(name.split(|byte| *byte == 0).next().unwrap_or_default());
        entries = match entries.get(length..) {
            Some(rest) if length > 0 => rest,
            _ => return,
        };
    }
}

/// A decimal number.
pub(crate) fn number(text: &[u8]) -> Option<c_int> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0, |value: c_int, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(c_int::from(digit))
    })
}
