//! The last look at a living socket.

use super::story::Nanos;
use crate::parse::inet_diag::Socket;
use crate::parse::tcp_info::Counts;
use crate::process::Process;
use crate::tuple::{State, Tuple};
use crate::verdict::{Role, control_bytes};

/// How far two readings of the same moment may lie apart: the kernel counts in
/// ticks of up to 10 ms, and an obituary is written a moment after the end.
const SLACK: Nanos = 25_000_000;

/// A socket as a dump showed it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When.
    pub at: Nanos,
    /// The ends.
    pub tuple: Tuple,
    /// The state.
    pub state: State,
    /// Received, unread.
    pub rqueue: u32,
    /// Sent, unacknowledged.
    pub wqueue: u32,
    /// Its inode; 0 when no descriptor holds it.
    pub inode: u32,
    /// The counters.
    pub counts: Option<Counts>,
    /// Who sent the SYN, known while no FIN is sent.
    pub role: Option<Role>,
    /// The process that holds it, and by which descriptor.
    pub owner: Option<(Process, u32)>,
    /// Since when it has been in this state, at least: the first look that
    /// showed it so.
    pub since: Nanos,
    /// Which dump it was in last.
    pub round: u32,
    last_ack: Nanos,
    last_sent: Nanos,
    widest_window: u32,
}

impl Seen {
    /// From a row of a dump; `before` is what the dump before showed.
    #[must_use]
    pub fn new(at: Nanos, round: u32, socket: &Socket, before: Option<&Self>) -> Self {
        let counts = socket.info.and_then(|info| info.counts);
        let ago = |ms: u32| at.saturating_sub(u64::from(ms) * 1_000_000);
        let info = socket.info.unwrap_or_default();
        let open = matches!(socket.state, State::Established | State::CloseWait);
        let control = counts.and_then(|c| control_bytes(&c, socket.wqueue));
        let role = match control.filter(|_| open) {
            Some(0) => Some(Role::Accepted),
            Some(1) => Some(Role::Connected),
            _ => None,
        };
        Self {
            at,
            tuple: socket.tuple,
            state: socket.state,
            rqueue: socket.rqueue,
            wqueue: socket.wqueue,
            inode: socket.inode,
            counts,
            role: role.or(before.and_then(|seen| seen.role)),
            owner: before.and_then(|seen| seen.owner),
            since: before
                .filter(|seen| seen.state == socket.state)
                .map_or(at, |seen| seen.since),
            round,
            last_ack: ago(info.last_ack_recv_ms),
            last_sent: ago(info.last_data_sent_ms),
            widest_window: info
                .snd_wnd
                .unwrap_or(0)
                .max(before.map_or(0, |seen| seen.widest_window)),
        }
    }

    /// Whether a wiped socket's obituary shows that since this look nothing was
    /// sent and nothing acknowledged.
    ///
    /// A disconnect clears the counters and moves `write_seq` on by the widest
    /// window the peer ever offered, plus 2; but it leaves the times of the last
    /// segment sent and the last ACK. When those are the same moments as at the
    /// look, and the queue has grown by a window that can be, the look still
    /// holds.
    #[must_use]
    pub fn unmoved_until(&self, wiped: &Socket, at: Nanos) -> bool {
        let Some(info) = wiped.info else { return false };
        let ago = |ms: u32| at.saturating_sub(u64::from(ms) * 1_000_000);
        let same = |a: Nanos, b: Nanos| a.abs_diff(b) <= SLACK;
        let grown = wiped.wqueue.wrapping_sub(self.wqueue);
        same(ago(info.last_ack_recv_ms), self.last_ack)
            && same(ago(info.last_data_sent_ms), self.last_sent)
            && grown >= self.widest_window.saturating_add(2)
            && grown < u32::MAX / 2
    }
}

impl Seen {
    /// For how long, at least, it has been as it is: since the first look that
    /// showed this state, or since the last ACK arrived, whichever is longer. In
    /// CLOSE_WAIT the peer's FIN carried that ACK, unless we have sent since.
    #[must_use]
    pub fn age(&self) -> std::time::Duration {
        let since = self.since.min(self.last_ack);
        std::time::Duration::from_nanos(self.at.saturating_sub(since))
    }
}
