//! What the kernel says about a connection that is about to be closed.

use core::ffi::c_int;

use lastbyte_run_protocol::Linger;

use crate::decide::Facts;
use crate::run::Run;
use crate::sys;

const SIOCINQ: u64 = 0x541b;
const SIOCATMARK: u64 = 0x8905;

/// `None`: not a TCP socket any more.
pub(crate) fn of(run: Run, fd: c_int) -> Option<Facts> {
    let [l_onoff, l_linger] = sys::linger(fd).ok()?;
    let info = sys::tcp_info(fd).ok()?;
    Some(Facts {
        linger: Linger { l_onoff, l_linger },
        state: info.state,
        in_flight: info.in_flight,
        not_sent: info.not_sent,
        bytes_sent: info.bytes_sent,
        has_unread: has_unread(fd)?,
        is_in_repair: run.shared.has_repaired() && sys::repair(fd).is_ok_and(|on| on != 0),
    })
}

/// Whether input waits. An urgent byte is not counted by `SIOCINQ`, and neither is what
/// lies behind it; but the kernel's close looks at the queue and sees it.
fn has_unread(fd: c_int) -> Option<bool> {
    if sys::receive_memory(fd).ok()? == 0 {
        return Some(false);
    }
    // A FIN takes memory and is no input.
    let is_input =
        sys::ioctl_int(fd, SIOCINQ).ok()? > 0 || sys::ioctl_int(fd, SIOCATMARK).ok()? > 0;
    Some(is_input)
}
