//! The last look at a living socket.

use lastbyte_tcp::info::Counters;

use super::history::Nanos;
use super::payload::control_bytes;
use crate::parse::inet_diag::Socket;
use crate::process::Process;
use crate::tuple::{Place, Role, State, Tuple};

/// How far two readings of the same moment may lie apart: the kernel counts in
/// ticks of up to 10 ms, and a destroy notice is written a moment after the end.
const SLACK: Nanos = 25_000_000;

/// A socket as a dump showed it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastSample {
    /// When, at the latest.
    pub at: Nanos,
    /// When, at the earliest: the dump began.
    pub from: Nanos,
    /// The network namespace, by the watch's own number.
    pub space: u32,
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
    /// Whether it is a subflow of an MPTCP connection.
    pub mptcp: bool,
    /// The counters.
    pub counts: Option<Counters>,
    /// Who sent the SYN, known while no FIN is sent.
    pub role: Option<Role>,
    /// The process that holds it, and by which descriptor.
    pub owner: Option<(Process, u32)>,
    /// Since when it has been in this state, at least: the first look that
    /// showed it so.
    pub since: Nanos,
    /// Which dump it was in last.
    pub round: u32,
    full: bool,
    last_ack: Nanos,
    last_sent: Nanos,
    window: u32,
    widest_window: u32,
}

impl LastSample {
    /// From a row of a dump; `before` is what the dump before showed.
    #[must_use]
    pub(crate) fn new(
        at: Nanos,
        (round, from): (u32, Nanos),
        socket: &Socket,
        before: Option<&Self>,
    ) -> Self {
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
        let window = info.snd_wnd.unwrap_or(0);
        Self {
            at,
            from,
            space: socket.space,
            tuple: socket.tuple,
            state: socket.state,
            rqueue: socket.rqueue,
            wqueue: socket.wqueue,
            inode: socket.inode,
            mptcp: socket.mptcp,
            counts,
            role: role.or(before.and_then(|sample| sample.role)),
            owner: before.and_then(|sample| sample.owner),
            since: before
                .filter(|sample| sample.state == socket.state)
                .map_or(at, |sample| sample.since),
            round,
            full: socket.full == Some(true),
            last_ack: ago(info.last_ack_recv_ms),
            last_sent: ago(info.last_data_sent_ms),
            window,
            widest_window: window.max(before.map_or(0, |sample| sample.widest_window)),
        }
    }

    /// Whether a wiped socket's destroy notice, written between `ended` and `told`, shows
    /// that since this look nothing was sent and nothing acknowledged.
    ///
    /// A disconnect clears the counters, but it leaves the times of the last segment
    /// sent and of the last ACK: they are before this look, or the same moments as it
    /// showed; and the queue has grown as it then does (`grown`).
    #[must_use]
    pub(crate) fn unmoved_until(&self, wiped: &Socket, ended: Nanos, told: Nanos) -> bool {
        let Some(info) = wiped.info else { return false };
        let still = |ms: u32, then: Nanos| {
            let ago = u64::from(ms) * 1_000_000;
            let at_the_latest = told.saturating_sub(ago);
            at_the_latest + SLACK <= self.from || ended.saturating_sub(ago).abs_diff(then) <= SLACK
        };
        still(info.last_ack_recv_ms, self.last_ack)
            && still(info.last_data_sent_ms, self.last_sent)
            && self.grown(wiped).is_some()
    }

    /// Whether, of a socket that has not moved, send() has taken nothing more either:
    /// its buffer was full, or empty with a window to send into, or has grown by the
    /// window alone.
    #[must_use]
    pub(crate) fn took_no_more(&self, wiped: &Socket) -> bool {
        let empty = self.wqueue == 0 && self.window > 0;
        self.full || empty || self.grown(wiped) == Some(0)
    }

    /// By how much the queue of a wiped socket has grown, beyond what the disconnect
    /// itself adds: the widest window that the peer ever offered, plus 2. `None` where
    /// that was not so wide as a look has shown.
    fn grown(&self, wiped: &Socket) -> Option<u32> {
        wiped
            .wqueue
            .wrapping_sub(self.wqueue)
            .checked_sub(self.widest_window.saturating_add(2))
            .filter(|more| *more < u32::MAX / 2)
    }
}

impl LastSample {
    /// The ends, and in which network namespace.
    #[must_use]
    pub(crate) fn place(&self) -> Place {
        let Self { space, tuple, .. } = *self;
        Place { space, tuple }
    }

    /// A moment at which it was established already: it last sent data then, or, having
    /// sent none, was established then.
    #[must_use]
    pub(crate) const fn existed_at(&self) -> Nanos {
        self.last_sent
    }

    /// For how long, at least, it has been as it is: since the first look that
    /// showed this state, or since the last ACK arrived, whichever is longer. In
    /// CLOSE_WAIT the peer's FIN carried that ACK, unless we have sent since.
    #[must_use]
    pub(crate) fn age(&self) -> std::time::Duration {
        let since = self.since.min(self.last_ack);
        std::time::Duration::from_nanos(self.at.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::inet_diag::Info;
    use crate::tuple::Endpoint;

    const MS: Nanos = 1_000_000;
    const WINDOW: u32 = 65_536;

    fn socket(wqueue: u32, last_ack: u32, last_sent: u32, snd_wnd: u32, full: bool) -> Socket {
        Socket {
            space: 0,
            tuple: Tuple {
                local: Endpoint::UNKNOWN,
                remote: Endpoint::UNKNOWN,
            },
            state: State::Established,
            cookie: 1,
            rqueue: 0,
            wqueue,
            expires_ms: 0,
            uid: 0,
            inode: 1,
            full: Some(full),
            mptcp: false,
            info: Some(Info {
                last_ack_recv_ms: last_ack,
                last_data_sent_ms: last_sent,
                snd_wnd: Some(snd_wnd),
                ..Info::default()
            }),
        }
    }

    /// A dump from 990 to 1000 ms; the last ACK came at 500, the last segment left at 600.
    fn look(wqueue: u32, window: u32, full: bool) -> LastSample {
        let socket = socket(wqueue, 500, 400, window, full);
        LastSample::new(1000 * MS, (1, 990 * MS), &socket, None)
    }

    #[test]
    fn what_came_and_went_before_the_look_has_not_moved_however_late_it_is_told() {
        let look = look(0, WINDOW, false);
        let unmoved = |last_ack: u32, last_sent: u32, told: u64| {
            // It ended at 1400 ms.
            let wiped = socket(WINDOW + 2, last_ack, last_sent, WINDOW, false);
            look.unmoved_until(&wiped, 1400 * MS, told * MS)
        };
        assert!(unmoved(900, 800, 1400));
        // Written at 1480 ms, read at 1500.
        assert!(unmoved(980, 880, 1500));
        // An ACK, or a segment, after the look.
        assert!(!unmoved(100, 800, 1400));
        assert!(!unmoved(900, 100, 1400));
        // So late that it may have been either.
        assert!(!unmoved(700, 800, 1700));
    }

    #[test]
    fn what_moved_right_before_the_look_is_known_by_its_moment() {
        let busy = socket(0, 20, 20, WINDOW, false);
        let look = LastSample::new(1000 * MS, (1, 990 * MS), &busy, None);
        let wiped = |ago| socket(WINDOW + 2, ago, ago, WINDOW, false);
        assert!(look.unmoved_until(&wiped(420), 1400 * MS, 1401 * MS));
        assert!(!look.unmoved_until(&wiped(300), 1400 * MS, 1401 * MS));
    }

    #[test]
    fn more_may_have_been_written_unless_there_was_no_room_or_nothing_to_wait_for() {
        let wiped = |wqueue| socket(wqueue + WINDOW + 2, 900, 800, 0, false);
        // Its widest window was seen: not one byte more.
        let stalled = look(5000, WINDOW, false);
        assert!(stalled.took_no_more(&wiped(5000)));
        assert!(!stalled.took_no_more(&wiped(5001)));
        // A window was wider than any look has shown, or more was written.
        assert!(!look(5000, 0, false).took_no_more(&wiped(5000)));
        assert!(look(5000, 0, true).took_no_more(&wiped(5000)));
        assert!(look(0, 1000, false).took_no_more(&wiped(0)));
        assert!(!look(0, 0, false).took_no_more(&wiped(0)));
        // Less than a disconnect adds: it was none.
        assert!(!look(5000, WINDOW, false).unmoved_until(&wiped(4999), 1400 * MS, 1400 * MS));
    }

    #[test]
    fn more_may_have_been_written_than_the_disconnect_adds() {
        let stalled = look(5000, WINDOW, false);
        let wiped = socket(5000 + 700 + WINDOW + 2, 900, 800, 0, false);
        assert!(stalled.unmoved_until(&wiped, 1400 * MS, 1400 * MS));
        assert!(!stalled.took_no_more(&wiped));
    }

    #[test]
    fn it_is_as_old_as_its_state_or_its_last_ack() {
        // First seen in this state at 1000 ms; the last ACK came 500 ms before.
        let first = look(0, WINDOW, false);
        assert_eq!(first.age(), std::time::Duration::from_millis(500));
        let later = socket(0, 100, 100, WINDOW, false);
        let again = LastSample::new(4000 * MS, (2, 3990 * MS), &later, Some(&first));
        assert_eq!(again.age(), std::time::Duration::from_secs(3));
        let closing = Socket {
            state: State::CloseWait,
            ..later
        };
        let changed = LastSample::new(4000 * MS, (2, 3990 * MS), &closing, Some(&first));
        assert_eq!(changed.age(), std::time::Duration::from_millis(100));
    }
}
