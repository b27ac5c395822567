//! fclose: glibc closes the stream's descriptor without calling close(2) by name.

use core::ffi::c_int;

use lastbyte_handoff::Kind;
use libc::FILE;

use super::close::part;
use crate::fd_table::Made;
use crate::real_libc::forward;
use crate::verdict::{self, Verdict};
use crate::{descriptors, handover, sys};

/// fclose(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fclose(stream: *mut FILE) -> c_int {
    let close = || forward!(FCLOSE(stream) as fn(*mut FILE) -> c_int, else -1);
    if stream.is_null() {
        return close();
    }
    // SAFETY: the program's own stream, open until its fclose.
    let fd = unsafe { libc::fileno(stream) };
    if fd < 0 {
        return close();
    }
    if descriptors::kind(fd) == Made::Other {
        part(fd);
        return close();
    }
    // What the buffer holds belongs to the connection, and must be out before
    // its FIN. If it does not go out, fclose reports that as it always did.
    // SAFETY: as above.
    if unsafe { libc::fflush(stream) } != 0 {
        part(fd);
        return close();
    }
    let (verdict, turn) = verdict::on(fd);
    let handed = match verdict {
        Verdict::HandOver(case) => handover::give(case, fd, Kind::End),
        Verdict::FinThenPlain => {
            let _ = sys::shutdown_write(fd);
            None
        }
        Verdict::Plain | Verdict::Hidden => None,
    };
    part(fd);
    let result = close();
    turn.is_over();
    match handed.map_or(0, handover::Handed::outcome) {
        0 => result,
        error => {
            sys::set_errno(error);
            libc::EOF
        }
    }
}
