//! The kernel's side of the connection, and the peer behind it: what is true.

use std::time::Duration;

use super::super::*;
use crate::sys::{Look, code};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts that vary on their own"
)]
pub(super) struct Net {
    pub(super) hand: Hand,
    /// The connecting side, whose SYN counts as acknowledged.
    pub(super) connecting: bool,
    pub(super) unsent: u64,
    pub(super) flight: u64,
    pub(super) acked: u64,
    pub(super) fin: LocalFin,
    /// Input that may still come, that waits, that was read.
    pub(super) coming: u64,
    pub(super) unread: u64,
    pub(super) read: u64,
    /// Kept out by the filter.
    pub(super) trimmed_away: u64,
    pub(super) segments_in: u32,
    pub(super) peer_fin: bool,
    /// Whose FIN was first.
    pub(super) first: Option<Side>,
    pub(super) both_open_at_start: bool,
    pub(super) read_shut: bool,
    pub(super) trim_works: bool,
    pub(super) trimmed: bool,
    /// Input that comes between the first look and the FIN.
    pub(super) slips_in: Option<SlipsIn>,
    pub(super) gone: Option<Gone>,
    pub(super) freeze_works: bool,
    pub(super) frozen: bool,
    /// The kernel refuses SIOCOUTQ and SIOCINQ, from now on; or may begin to.
    pub(super) blind: bool,
    pub(super) may_go_blind: bool,
    /// The kernel refuses shutdown(2).
    pub(super) fin_forbidden: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Gone {
    pub(super) whose: Whose,
    /// The error that was pending, or was taken.
    pub(super) error: Option<Errno>,
    pub(super) taken: bool,
    /// It went with an RST of ours.
    rst: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    Peer,
    /// Input for a reading side that is shut down.
    Input,
    Kernel,
}

/// When a segment of input is counted that comes before our FIN is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SlipsIn {
    /// After the first look, and taken in before the FIN.
    BeforeFin,
    /// Before the first look, and not acted on until the FIN is queued.
    CountedBefore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Hand {
    SynSent,
    SynReceived,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(super) enum LocalFin {
    None,
    /// Asked for during the handshake.
    Deferred,
    Queued,
    Sent,
    Acked,
}

const EPERM: NoCount = NoCount::Refused(Errno::from_raw(code::EPERM));

impl Net {
    fn fin_waits(&self) -> u64 {
        u64::from(matches!(self.fin, LocalFin::Queued | LocalFin::Sent))
    }

    pub(super) fn queued(&self) -> u64 {
        self.unsent + self.flight + self.fin_waits()
    }

    pub(super) fn payload(&self) -> u64 {
        self.unsent + self.flight
    }

    pub(super) fn state(&self) -> TcpState {
        if self.gone.is_some() {
            return TcpState::Closed;
        }
        match self.hand {
            Hand::SynSent => return TcpState::SynSent,
            Hand::SynReceived => return TcpState::SynReceived,
            Hand::Done => {}
        }
        match (self.fin, self.peer_fin) {
            (LocalFin::None | LocalFin::Deferred, false) => TcpState::Established,
            (LocalFin::None | LocalFin::Deferred, true) => TcpState::CloseWait,
            (LocalFin::Queued | LocalFin::Sent, false) => TcpState::FinWait1,
            (LocalFin::Queued | LocalFin::Sent, true) if self.first == Some(Side::Peer) => {
                TcpState::LastAck
            }
            (LocalFin::Queued | LocalFin::Sent, true) => TcpState::Closing,
            (LocalFin::Acked, false) => TcpState::FinWait2,
            // TIME_WAIT, or nothing at all.
            (LocalFin::Acked, true) => TcpState::Closed,
        }
    }

    /// shutdown(2) of the sending side.
    pub(super) fn shut_down(&mut self) -> Result<(), Errno> {
        if self.fin_forbidden {
            return Err(Errno::from_raw(code::EPERM));
        }
        if self.gone.is_some() {
            return Err(Errno::ENOTCONN);
        }
        assert_eq!(self.fin, LocalFin::None, "a second FIN");
        assert_ne!(self.hand, Hand::SynSent, "breaks the handshake off");
        self.first = self.first.or(Some(Side::Local));
        if self.slips_in == Some(SlipsIn::BeforeFin) {
            self.segments_in += 1;
            self.unread += 1;
        }
        self.fin = match self.hand {
            Hand::SynReceived => LocalFin::Deferred,
            Hand::SynSent | Hand::Done => LocalFin::Queued,
        };
        if self.slips_in == Some(SlipsIn::CountedBefore) {
            self.die(Whose::Input, code::ECONNRESET, true);
        }
        Ok(())
    }

    pub(super) fn first_look(&mut self) -> Observation {
        let input = (self.state() == TcpState::Closed).then_some(Input {
            drained: 0,
            left: Some(self.unread),
            ended: false,
        });
        let mut seen = self.full(input);
        if let Some(detail) = &mut seen.detail {
            detail.read_shut = match self.state() {
                TcpState::Closed => None,
                state if state.peer_closed() => Some(false),
                _ => Some(self.read_shut),
            };
        }
        seen
    }

    pub(super) fn look(&mut self, allowance: u64, how: Look) -> Observation {
        let early = self.hand != Hand::Done && self.gone.is_none();
        let queued = match how {
            _ if self.blind => Err(EPERM),
            Look::Late => Ok(0),
            // SIOCOUTQ, before the handshake is over.
            _ if early => Ok(0),
            _ => Ok(self.queued()),
        };
        if how == Look::Queue && queued != Ok(0) {
            return Observation {
                queued,
                input: None,
                detail: None,
            };
        }
        let drained = self.unread.min(allowance);
        self.unread -= drained;
        self.read += drained;
        let exhausted = drained == allowance;
        let pending = self.gone.is_some_and(|g| !g.taken && g.error.is_some());
        let at_end = self.peer_fin || self.read_shut || self.state() == TcpState::Closed;
        let input = Input {
            drained,
            left: match exhausted {
                true if self.blind => None,
                true => Some(self.unread),
                false => Some(0),
            },
            ended: at_end && !exhausted && !pending,
        };
        if input.ended || (pending && !exhausted) || matches!(how, Look::Full | Look::HangUp) {
            let mut seen = self.full(Some(input));
            let proof = how == Look::Full || pending;
            if let (Some(detail), false) = (&mut seen.detail, proof) {
                detail.peer_fin = PeerFin::NotAsked;
            }
            return seen;
        }
        Observation {
            queued,
            input: Some(input),
            detail: None,
        }
    }

    fn full(&self, input: Option<Input>) -> Observation {
        let state = self.state();
        let closed = state == TcpState::Closed;
        let syn = self.connecting && self.hand == Hand::Done;
        Observation {
            // During the handshake the counters tell, also to one who may not ask.
            queued: match self.blind && self.hand == Hand::Done {
                true => Err(EPERM),
                false => Ok(self.queued()),
            },
            input,
            detail: Some(Detail {
                state,
                unsent: Some(self.unsent + u64::from(self.fin == LocalFin::Queued)),
                acked: Some(self.acked + u64::from(self.fin == LocalFin::Acked) + u64::from(syn)),
                transmitted: Some(self.acked + self.flight),
                error: match self.gone {
                    Some(Gone {
                        error: Some(error),
                        taken: false,
                        ..
                    }) => Pending::Error(error),
                    _ => Pending::None,
                },
                fin_acked: Some(self.fin == LocalFin::Acked),
                peer_fin: match (closed, self.peer_fin) {
                    (false, _) => PeerFin::NotAsked,
                    (true, true) => PeerFin::Came,
                    (true, false) => PeerFin::Missing,
                },
                connected: Some(self.hand == Hand::Done),
                unanswered: false,
                since_ack: Duration::ZERO,
                data_segments_in: Some(self.segments_in),
                read_shut: None,
                input_trimmed: false,
            }),
        }
    }

    pub(super) fn close_sends_rst(&self) -> bool {
        let open = !matches!(self.state(), TcpState::Closed);
        open && self.unread > 0
    }

    pub(super) fn abort_sends_rst(&self) -> bool {
        match self.state() {
            TcpState::Closing | TcpState::LastAck => {
                self.unsent > 0 || self.fin == LocalFin::Queued
            }
            TcpState::Closed | TcpState::TimeWait | TcpState::SynSent => false,
            _ => true,
        }
    }

    pub(super) fn rst_by_us(&self) -> bool {
        self.gone.is_some_and(|gone| gone.rst)
    }

    /// Somebody has taken the error, and with it the reason.
    pub(super) fn taken(&self) -> bool {
        self.gone.is_some_and(|gone| gone.taken)
    }

    /// Nobody can tell who reset it: it was gone when the close began, with a FIN of
    /// ours in the counts and input that had come; or its reading side was shut, and
    /// input was kept out uncounted, or came at the moment of the FIN.
    pub(super) fn shut_at_death(&self) -> bool {
        let shut_before = !self.both_open_at_start && self.fin >= LocalFin::Queued;
        let uncounted = self.read_shut && (self.trimmed || self.slips_in.is_some());
        self.gone.is_some() && (shut_before || uncounted)
    }

    /// Everything that can happen next on the network.
    pub(super) fn moves(&self) -> Vec<Net> {
        let mut next = Vec::new();
        let mut then = |change: &dyn Fn(&mut Net)| {
            let mut net = self.clone();
            change(&mut net);
            next.push(net);
        };
        if self.may_go_blind && !self.blind {
            then(&|n| n.blind = true);
        }
        if self.gone.is_some() || self.frozen {
            return next;
        }
        match self.hand {
            Hand::SynSent | Hand::SynReceived => {
                then(&|n| {
                    n.hand = Hand::Done;
                    if n.fin == LocalFin::Deferred {
                        n.fin = LocalFin::Queued;
                    }
                });
                // An ICMP message gives the same error as the peer's RST.
                let (whose, refused) = match self.hand {
                    Hand::SynSent => (Whose::Kernel, code::ECONNREFUSED),
                    Hand::SynReceived | Hand::Done => (Whose::Peer, code::ECONNRESET),
                };
                then(&|n| n.die(whose, refused, false));
                then(&|n| n.die(Whose::Kernel, code::ETIMEDOUT, false));
                return next;
            }
            Hand::Done => {}
        }
        if self.unsent > 0 {
            then(&|n| {
                n.unsent -= 1;
                n.flight += 1;
            });
        } else if self.fin == LocalFin::Queued {
            then(&|n| n.fin = LocalFin::Sent);
        }
        if self.flight > 0 {
            then(&|n| {
                n.flight -= 1;
                n.acked += 1;
            });
        } else if self.fin == LocalFin::Sent && self.unsent == 0 {
            then(&|n| n.fin = LocalFin::Acked);
        }
        if !self.peer_fin {
            if self.coming > 0 {
                then(&Net::input_comes);
            }
            then(&Net::peer_closes);
        }
        let state = self.state();
        if state != TcpState::Closed {
            let reset = match state {
                TcpState::CloseWait => code::EPIPE,
                _ => code::ECONNRESET,
            };
            then(&|n| n.die(Whose::Peer, reset, false));
            // Keepalives run while nothing is queued, and say goodbye.
            then(&|n| n.die(Whose::Kernel, code::ETIMEDOUT, n.queued() == 0));
            let says_goodbye = !matches!(state, TcpState::Closing | TcpState::LastAck);
            then(&|n| n.die(Whose::Kernel, code::ENDED_BY_ADMINISTRATOR, says_goodbye));
        }
        next
    }

    fn input_comes(&mut self) {
        self.coming -= 1;
        if self.trimmed {
            self.trimmed_away += 1;
            return;
        }
        self.segments_in += 1;
        if self.input_resets() {
            self.die(Whose::Input, code::ECONNRESET, true);
        } else {
            self.unread += 1;
        }
    }

    fn input_resets(&self) -> bool {
        self.read_shut && matches!(self.state(), TcpState::FinWait1 | TcpState::FinWait2)
    }

    fn peer_closes(&mut self) {
        // Its FIN is behind data that never came in.
        if self.trimmed_away > 0 && self.input_resets() {
            return self.die(Whose::Input, code::ECONNRESET, true);
        }
        self.peer_fin = true;
        self.first = self.first.or(Some(Side::Peer));
    }

    fn die(&mut self, whose: Whose, error: i32, rst: bool) {
        self.gone = Some(Gone {
            whose,
            error: Some(Errno::from_raw(error)),
            taken: false,
            rst,
        });
    }
}

/// Returns what a close may find.
pub(super) fn starts() -> Vec<(u64, Net)> {
    let fresh = Net {
        hand: Hand::Done,
        connecting: false,
        unsent: 1,
        flight: 1,
        acked: 0,
        fin: LocalFin::None,
        coming: 1,
        unread: 1,
        read: 0,
        trimmed_away: 0,
        segments_in: 1,
        peer_fin: false,
        first: None,
        both_open_at_start: true,
        read_shut: false,
        trim_works: true,
        trimmed: false,
        slips_in: None,
        gone: None,
        freeze_works: true,
        frozen: false,
        blind: false,
        may_go_blind: false,
        fin_forbidden: false,
    };
    let mut starts = open_starts(&fresh);
    starts.extend(gone_starts(&fresh));
    starts.extend(odd_starts(&fresh));
    starts.into_iter().map(|net| (net.payload(), net)).collect()
}

fn open_starts(fresh: &Net) -> Vec<Net> {
    let mut starts = Vec::new();
    for unread in [0, 1] {
        for (fin, first) in [
            (LocalFin::None, None),
            (LocalFin::None, Some(Side::Peer)),
            (LocalFin::Queued, Some(Side::Local)),
            (LocalFin::Acked, Some(Side::Local)),
            (LocalFin::Queued, Some(Side::Peer)),
            (LocalFin::Acked, Some(Side::Peer)),
        ] {
            for (unsent, flight) in [(0, 0), (1, 1)] {
                if fin == LocalFin::Acked && unsent > 0 {
                    continue;
                }
                starts.push(Net {
                    unsent,
                    flight,
                    fin,
                    first,
                    unread,
                    both_open_at_start: first.is_none(),
                    peer_fin: first == Some(Side::Peer),
                    ..fresh.clone()
                });
            }
        }
    }
    starts
}

/// Gone before the close began, the error pending or taken already.
fn gone_starts(fresh: &Net) -> Vec<Net> {
    let mut starts = Vec::new();
    for (whose, error, taken) in [
        (Whose::Peer, code::ECONNRESET, false),
        (Whose::Peer, code::ECONNRESET, true),
        (Whose::Kernel, code::ETIMEDOUT, false),
        (Whose::Kernel, code::ETIMEDOUT, true),
    ] {
        for unread in [0, 1] {
            starts.push(Net {
                gone: Some(Gone {
                    whose,
                    error: Some(Errno::from_raw(error)),
                    taken,
                    rst: false,
                }),
                unread,
                ..fresh.clone()
            });
        }
    }
    starts
}

/// A handshake with data in it, reading shut down, and a kernel that refuses.
fn odd_starts(fresh: &Net) -> Vec<Net> {
    let mut starts = Vec::new();
    let quiet = Net {
        unread: 0,
        segments_in: 0,
        ..fresh.clone()
    };
    for (hand, connecting) in [(Hand::SynSent, true), (Hand::SynReceived, false)] {
        starts.push(Net {
            hand,
            connecting,
            unsent: 0,
            flight: 2,
            ..quiet.clone()
        });
    }
    for trim_works in [true, false] {
        for fin in [LocalFin::None, LocalFin::Queued] {
            starts.push(Net {
                read_shut: true,
                trim_works,
                fin,
                first: (fin == LocalFin::Queued).then_some(Side::Local),
                unsent: 0,
                ..quiet.clone()
            });
        }
    }
    for trim_works in [true, false] {
        for slips_in in [SlipsIn::BeforeFin, SlipsIn::CountedBefore] {
            starts.push(Net {
                read_shut: true,
                trim_works,
                slips_in: Some(slips_in),
                segments_in: u32::from(slips_in == SlipsIn::CountedBefore),
                unsent: 0,
                coming: 0,
                ..quiet.clone()
            });
        }
    }
    for (may_go_blind, fin_forbidden, freeze_works) in [
        (true, false, true),
        (false, true, true),
        (false, false, false),
    ] {
        for unread in [0, 1] {
            starts.push(Net {
                may_go_blind,
                fin_forbidden,
                freeze_works,
                unread,
                unsent: 0,
                ..fresh.clone()
            });
        }
    }
    starts
}
