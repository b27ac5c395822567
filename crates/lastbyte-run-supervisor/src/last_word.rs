//! What became of a connection that the kernel closed, out of the kernel's notice of its
//! end and what was known before.

use lastbyte_tcp::info::Counters;
use lastbyte_tcp::payload::SendCounts;
use lastbyte_tcp::{State, TcpInfo, diag};

/// The kernel's notice of a socket's end, as far as it is used here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notice {
    pub(crate) cookie: u64,
    /// Received and never read, the peer's FIN included.
    pub(crate) rqueue: u64,
    /// Never acknowledged, our FIN included.
    pub(crate) wqueue: u64,
    /// The counters; `None` where the kernel wiped them, as an abort does.
    pub(crate) info: Option<TcpInfo>,
}

impl From<diag::Socket<'_>> for Notice {
    fn from(socket: diag::Socket<'_>) -> Self {
        // An aborted socket is wiped before its notice is made: no port, no counters.
        let is_wiped = socket.remote().port() == 0;
        Self {
            cookie: socket.cookie(),
            rqueue: socket.rqueue().into(),
            wqueue: socket.wqueue().into(),
            info: socket.info().filter(|_| !is_wiped),
        }
    }
}

/// What was known before the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    /// Whether this side connected; `None` where that is not known.
    pub(crate) connected: Option<bool>,
    /// The program shut down its sending side.
    pub(crate) half_closed: bool,
    /// The shim's filter kept input out, which nothing counts.
    pub(crate) input_is_trimmed: bool,
    /// How it was closed, where its shim announced that.
    pub(crate) close: Option<Close>,
}

/// A close as its shim announced it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Close {
    /// The state just before; `None` where it is not known.
    pub(crate) state: Option<State>,
    /// Input that lay unread just before; `None` where it is not known.
    pub(crate) unread: Option<u64>,
    /// Another holder may have gone on with it.
    pub(crate) may_be_held: bool,
}

/// What is known of the end. Each number is `None` where it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastWord {
    pub(crate) acked: Option<u64>,
    pub(crate) lost: Option<u64>,
    pub(crate) unsent: Option<u64>,
    pub(crate) unread: Option<u64>,
    pub(crate) rst_sent: Option<bool>,
    /// Data and FIN were acknowledged.
    pub(crate) is_delivered: bool,
}

/// Whether there was a connection: it was established, or data went out to establish it.
pub(crate) fn was_connection(notice: &Notice) -> bool {
    // What was wiped had something to abort.
    notice
        .info
        .is_none_or(|info| info.was_connected() || info.accepted() != Some(0))
}

/// What the notice and what was known before say together.
pub(crate) fn read(notice: &Notice, before: &Before) -> LastWord {
    let Some(counters) = notice.info.and_then(|info| info.counters()) else {
        return LastWord::default();
    };
    if notice.info.is_some_and(|info| !info.was_connected()) {
        return never_answered(&counters);
    }
    let queued = notice.wqueue;
    let mut counts = counters.send_counts(queued);
    counts.unsent = counts.unsent.min(queued);
    let fin = fin(&counts, notice, before);
    let lost = match fin {
        Some(fin) => Some(queued - u64::from(fin && queued > 0)),
        None if queued == 0 => Some(0),
        None => None,
    };
    let written = match fin {
        Some(fin) => counts.written(fin),
        None if queued == 0 => Some(counts.transmitted),
        None => None,
    };
    let unsent = match fin {
        Some(fin) => Some(counts.unsent - u64::from(fin && counts.unsent > 0)),
        None => (queued == 0).then_some(0),
    };
    let is_delivered = fin == Some(true) && queued == 0;
    let unread = unread(notice, before, is_delivered);
    LastWord {
        acked: written
            .zip(lost)
            .and_then(|(written, lost)| written.checked_sub(lost)),
        lost: lost.filter(|_| written.is_some()),
        unsent: unsent.filter(|_| written.is_some()),
        unread,
        // The kernel answers unread input with an RST instead of a FIN.
        rst_sent: (fin == Some(false) && has_unread(before)).then_some(true),
        is_delivered,
    }
}

/// The SYN was not answered, and what went out with it is lost.
fn never_answered(counters: &Counters) -> LastWord {
    // A FIN that waits behind data would be one of the unsent.
    let payload = (counters.unsent == 0).then_some(counters.transmitted);
    LastWord {
        acked: Some(0),
        lost: payload,
        unsent: payload.map(|_| 0),
        ..LastWord::default()
    }
}

fn has_unread(before: &Before) -> bool {
    let is_open = |state| matches!(state, State::Established | State::CloseWait);
    before
        .close
        .is_some_and(|close| close.unread > Some(0) && close.state.is_some_and(is_open))
}

/// Whether our FIN is in the counts.
fn fin(counts: &SendCounts, notice: &Notice, before: &Before) -> Option<bool> {
    let guess = || fin_by_the_close(notice, before);
    if counts.unsent > 0 {
        // It would be one of the unsent.
        return guess();
    }
    let control = counts.control()?;
    match (control, before.connected) {
        (0..=2, Some(connected)) => match control.checked_sub(u64::from(connected))? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        (0, None) => Some(false),
        (2, None) => Some(true),
        (1, None) => guess(),
        _ => None,
    }
}

/// Whether a FIN was queued, by how the connection was closed.
fn fin_by_the_close(notice: &Notice, before: &Before) -> Option<bool> {
    if before.half_closed {
        return Some(true);
    }
    match before.close.filter(|close| !close.may_be_held) {
        Some(close) => {
            let state = close.state?;
            match state {
                State::Closed => None,
                _ if state.fin_queued() => Some(true),
                _ => close.unread.map(|unread| unread == 0),
            }
        }
        // Nobody announced its close. With two bytes or more unread, of which one may be
        // the peer's FIN, the kernel resets. With none it may have sent a FIN, or have
        // been reset by the peer while it was still held.
        None => (notice.rqueue >= 2).then_some(false),
    }
}

/// Input that nobody read. The length of the queue counts the peer's FIN, too.
fn unread(notice: &Notice, before: &Before, is_delivered: bool) -> Option<u64> {
    if before.input_is_trimmed {
        return None;
    }
    if notice.rqueue == 0 {
        return Some(0);
    }
    let close = before.close.filter(|close| !close.may_be_held)?;
    let fin_was_in = close.state?.peer_closed();
    let unread = close.unread?;
    let expected = unread + u64::from(fin_was_in);
    // Nothing is taken into the queue after the close; a FIN may be.
    (notice.rqueue == expected || is_delivered && notice.rqueue == expected + 1).then_some(unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct tcp_info` of a connection that is gone.
    fn info(acked: u64, received: u64, sent: u64, unsent: u32) -> TcpInfo {
        let mut bytes = [0; 240];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &[7]);
        put(68, &1000_u32.to_ne_bytes());
        put(120, &acked.to_ne_bytes());
        put(128, &received.to_ne_bytes());
        put(144, &unsent.to_ne_bytes());
        put(200, &sent.to_ne_bytes());
        TcpInfo::from_bytes(&bytes).expect("a whole structure")
    }

    fn notice(info: TcpInfo, rqueue: u64, wqueue: u64) -> Notice {
        Notice {
            cookie: 1,
            rqueue,
            wqueue,
            info: Some(info),
        }
    }

    fn accepted(close: Option<Close>) -> Before {
        Before {
            connected: Some(false),
            half_closed: false,
            input_is_trimmed: false,
            close,
        }
    }

    fn close(state: State, unread: u64) -> Option<Close> {
        Some(Close {
            state: Some(state),
            unread: Some(unread),
            may_be_held: false,
        })
    }

    #[test]
    fn a_killed_process_loses_what_was_queued_without_a_fin() {
        // 1000 unread, so an RST and no FIN: 30 acknowledged, 20 in flight, 50 not sent.
        let word = read(&notice(info(30, 1000, 50, 50), 1000, 70), &accepted(None));
        assert_eq!(
            (word.acked, word.lost, word.unsent),
            (Some(30), Some(70), Some(50))
        );
        assert_eq!((word.unread, word.is_delivered), (None, false));
    }

    #[test]
    fn the_syn_of_who_connected_is_no_payload() {
        let before = Before {
            connected: Some(true),
            ..accepted(None)
        };
        // The SYN is acknowledged, and 40 of 40 with the FIN.
        let word = read(&notice(info(42, 0, 40, 0), 1, 0), &before);
        assert_eq!((word.acked, word.lost), (Some(40), Some(0)));
        assert!(word.is_delivered);
        // The SYN and 40, and no FIN.
        let word = read(&notice(info(41, 0, 40, 0), 9, 0), &before);
        assert_eq!(
            (word.acked, word.lost, word.is_delivered),
            (Some(40), Some(0), false)
        );
    }

    #[test]
    fn an_unacknowledged_fin_is_no_lost_byte() {
        let quiet = accepted(close(State::Established, 0));
        let word = read(&notice(info(40, 0, 40, 0), 0, 1), &quiet);
        assert_eq!((word.lost, word.is_delivered), (Some(0), false));
        // Behind data that was not sent.
        let word = read(&notice(info(30, 0, 40, 6), 0, 16), &quiet);
        assert_eq!(
            (word.acked, word.lost, word.unsent),
            (Some(30), Some(15), Some(5))
        );
    }

    #[test]
    fn where_a_fin_may_be_queued_or_not_nothing_is_guessed() {
        // Nothing unread: a FIN was queued, unless the peer had reset before.
        let word = read(&notice(info(30, 0, 40, 6), 0, 16), &accepted(None));
        assert_eq!((word.acked, word.lost, word.unsent), (None, None, None));
        let half_closed = Before {
            half_closed: true,
            ..accepted(None)
        };
        let word = read(&notice(info(30, 9, 40, 6), 9, 16), &half_closed);
        assert_eq!(word.lost, Some(15));
        let held = Before {
            close: close(State::Established, 0).map(|close| Close {
                may_be_held: true,
                ..close
            }),
            ..accepted(None)
        };
        assert_eq!(read(&notice(info(30, 0, 40, 6), 0, 16), &held).lost, None);
        let reset = accepted(close(State::Closed, 0));
        assert_eq!(read(&notice(info(30, 0, 40, 6), 0, 16), &reset).lost, None);
    }

    #[test]
    fn who_inherited_it_does_not_know_who_connected() {
        let unknown = Before::default();
        let lost = |acked, wqueue| read(&notice(info(acked, 0, 40, 0), 0, wqueue), &unknown).lost;
        assert_eq!(lost(30, 10), Some(10), "neither SYN nor FIN");
        assert_eq!(lost(31, 11), Some(10), "both");
        assert_eq!(lost(31, 10), None, "one of the two");
        assert_eq!(lost(41, 0), Some(0), "all is acknowledged");
    }

    #[test]
    fn unread_input_is_answered_with_an_rst() {
        let word = read(
            &notice(info(0, 7, 0, 0), 7, 0),
            &accepted(close(State::Established, 7)),
        );
        assert_eq!(
            (word.unread, word.rst_sent, word.lost),
            (Some(7), Some(true), Some(0))
        );
        // The peer's FIN was in before, and counts in the queue.
        let word = read(
            &notice(info(0, 8, 0, 0), 8, 0),
            &accepted(close(State::CloseWait, 7)),
        );
        assert_eq!(word.unread, Some(7));
        // One more than there was may be a byte or the peer's FIN.
        let word = read(
            &notice(info(0, 8, 0, 0), 8, 0),
            &accepted(close(State::Established, 7)),
        );
        assert_eq!(word.unread, None);
        // Delivered, so it is the FIN: no byte is taken after the close.
        let word = read(
            &notice(info(41, 1, 40, 0), 1, 0),
            &accepted(close(State::Established, 0)),
        );
        assert_eq!(
            (word.unread, word.rst_sent, word.is_delivered),
            (Some(0), None, true)
        );
    }

    #[test]
    fn an_unread_queue_that_the_kernel_did_not_tell_is_not_empty() {
        let unknown = close(State::Established, 0).map(|close| Close {
            unread: None,
            ..close
        });
        let word = read(&notice(info(41, 1, 40, 0), 1, 0), &accepted(unknown));
        assert_eq!((word.unread, word.rst_sent), (None, None));
        // Without it nobody knows whether a FIN is among the bytes not sent.
        let word = read(&notice(info(30, 0, 50, 50), 0, 70), &accepted(unknown));
        assert_eq!((word.lost, word.unsent), (None, None));
        let empty = close(State::Established, 0);
        let word = read(&notice(info(30, 0, 50, 50), 0, 70), &accepted(empty));
        assert_eq!(word.lost, Some(69));
    }

    #[test]
    fn what_a_filter_kept_out_is_not_counted() {
        let trimmed = Before {
            input_is_trimmed: true,
            ..accepted(None)
        };
        let word = read(&notice(info(41, 0, 40, 0), 0, 0), &trimmed);
        assert_eq!((word.unread, word.lost), (None, Some(0)));
    }

    #[test]
    fn what_was_wiped_says_nothing() {
        let wiped = Notice {
            info: None,
            ..notice(info(0, 0, 0, 0), 0, 5)
        };
        assert_eq!(read(&wiped, &accepted(None)), LastWord::default());
        assert!(was_connection(&wiped), "there was something to abort");
    }

    #[test]
    fn a_syn_that_nobody_answered_is_a_connection_only_with_data() {
        let unanswered = |sent: u64| {
            let mut bytes = [0; 240];
            bytes[200..208].copy_from_slice(&sent.to_ne_bytes());
            notice(
                TcpInfo::from_bytes(&bytes).expect("a whole structure"),
                0,
                sent + 1,
            )
        };
        assert!(!was_connection(&unanswered(0)));
        assert!(was_connection(&unanswered(1000)));
        let word = read(&unanswered(1000), &accepted(None));
        assert_eq!(
            (word.acked, word.lost, word.unsent),
            (Some(0), Some(1000), Some(0))
        );
    }
}
