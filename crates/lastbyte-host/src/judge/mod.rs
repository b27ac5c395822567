//! From evidence to verdict, in the words of the contract's section G. Pure: the
//! same evidence always gives the same verdict.

use lastbyte::{Errno, Fate, Side};

use crate::ending::{Bytes, Evidence, Rst};
use crate::evidence::history::{End, History};
use crate::evidence::last_sample::LastSample;
use crate::parse::inet_diag::Socket;
use crate::parse::tcp_info::Counts;
use crate::reason::Reason;
use crate::tuple::State;

/// Who sent the SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We connected: our SYN counts among the acknowledged bytes.
    Connected,
    /// We accepted.
    Accepted,
}

/// Everything known of one ended connection.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The kernel's destroy notice.
    pub socket: &'a Socket,
    /// What the tracepoints told, if they could.
    pub history: Option<&'a History>,
    /// Steps were missed when the history ended: what was not told, an RST above all,
    /// may have happened.
    pub blind: bool,
    /// The last look at the living socket, if there was one.
    pub sample: Option<&'a LastSample>,
    /// Whether it is known to be a subflow of an MPTCP connection.
    pub mptcp: bool,
    /// When it ended, in nanoseconds of `CLOCK_MONOTONIC`; else as `told`.
    pub at: u64,
    /// When the destroy notice came.
    pub told: u64,
    /// Whether its local port was ever seen listening.
    pub port_listens: bool,
    /// The kernel's error for the application.
    pub errno: Option<i32>,
    /// Why the peer sent its RST, when the peer is on this host.
    pub peer_reason: Option<(Option<Reason>, bool)>,
    /// Whether that was after the socket was gone.
    pub peer_reset_later: bool,
    /// What the table of TIME_WAIT sockets said afterwards.
    pub after: After,
}

/// What became of the connection after its socket was gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Not asked.
    Unasked,
    /// The kernel holds it in TIME_WAIT: the peer's FIN has come.
    TimeWait,
    /// The kernel holds it in FIN_WAIT2: the peer's FIN has not come.
    FinWait2,
    /// The kernel held it in FIN_WAIT2 until the time for that was over.
    Expired,
    /// The kernel holds nothing (any more), who knows since when.
    Nothing,
    /// The peer sent something that we answered with an RST.
    Reset(Reason),
}

/// The verdict on one ending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The fate.
    pub fate: Option<Fate>,
    /// What the kernel gave up with.
    pub error: Option<Errno>,
    /// Whose FIN or RST came first.
    pub closed_first: Option<Side>,
    /// The RST.
    pub rst: Option<Rst>,
    /// The counts.
    pub bytes: Bytes,
    /// How it is known.
    pub evidence: Evidence,
    /// Whether the table of TIME_WAIT sockets would tell more.
    pub ask: bool,
}

/// Judges.
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    let signs = Signs::read(case);
    let mut verdict = match case.history.filter(|history| history.end.is_some()) {
        Some(history) => observed(case, history, &signs),
        None => inferred(case, &signs),
    };
    if let After::Reset(reason) = case.after {
        verdict.rst = Some(Rst::By {
            side: Side::Local,
            reason: Some(reason),
            listener: false,
        });
        // What arrived too late was discarded uncounted.
        verdict.bytes.unread = None;
    }
    if case.mptcp {
        // What send() took, and what recv() did not, is the whole connection's affair;
        // and what this subflow lost another one may have brought.
        verdict.bytes = Bytes {
            acked: verdict.bytes.acked,
            received: verdict.bytes.received,
            ..Bytes::default()
        };
    }
    verdict
}

/// What the evidence says of SYN and FIN, which the counters mix with payload.
struct Signs {
    role: Option<Role>,
    fin_queued: Option<bool>,
    fin_received: Option<bool>,
    /// Whether the peer's FIN is in the counts: it may have come after them.
    fin_counted: Option<bool>,
    /// The socket was wiped by a disconnect: its counts mean nothing.
    scrubbed: bool,
}

impl Signs {
    fn read(case: &Case<'_>) -> Self {
        let scrubbed = case.socket.tuple.remote.port == 0;
        let counts = counts(case.socket).filter(|_| !scrubbed);
        let control = counts.and_then(|c| control_bytes(&c, case.socket.wqueue));
        let role = case
            .history
            .and_then(|history| history.role)
            .or(case.sample.and_then(|sample| sample.role))
            .or_else(|| role(control?, case.port_listens));
        let fin_sent = match (control, role) {
            (Some(control), Some(role)) => Some(control > syn(role)),
            _ => None,
        };
        Self {
            role,
            fin_queued: fin_queued(case, fin_sent, counts),
            fin_received: fin_received(case, counts),
            fin_counted: fin_counted(case, counts),
            scrubbed,
        }
    }
}

fn counts(socket: &Socket) -> Option<Counts> {
    socket.info.and_then(|info| info.counts)
}

const fn syn(role: Role) -> u64 {
    match role {
        Role::Connected => 1,
        Role::Accepted => 0,
    }
}

/// How many of SYN and FIN are in the sequence numbers used so far: what was
/// acknowledged and what is queued, less the payload that was transmitted and
/// what was never transmitted. `None` when that is no possible number.
#[must_use]
pub fn control_bytes(counts: &Counts, wqueue: u32) -> Option<u64> {
    let used = counts.acked.checked_add(wqueue.into())?;
    used.checked_sub(counts.sent)?
        .checked_sub(counts.unsent.into())
        .filter(|control| *control <= 2)
}

fn role(control: u64, port_listens: bool) -> Option<Role> {
    match control {
        0 => Some(Role::Accepted),
        2 => Some(Role::Connected),
        // One of SYN and FIN: a port that listens does not connect.
        _ if port_listens => Some(Role::Accepted),
        _ => None,
    }
}

fn fin_queued(case: &Case<'_>, fin_sent: Option<bool>, counts: Option<Counts>) -> Option<bool> {
    if let Some(end) = case.history.and_then(|history| history.end) {
        return Some(has_queued_fin(end.from));
    }
    if case
        .sample
        .is_some_and(|sample| has_queued_fin(sample.state))
        || fin_sent == Some(true)
    {
        return Some(true);
    }
    // It may be queued behind what was never transmitted.
    let all_sent = counts?.unsent == 0;
    fin_sent.filter(|_| all_sent)
}

/// Whether our FIN comes before this state.
pub(crate) const fn has_queued_fin(state: State) -> bool {
    matches!(
        state,
        State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck | State::TimeWait
    )
}

fn fin_received(case: &Case<'_>, counts: Option<Counts>) -> Option<bool> {
    match case.after {
        After::TimeWait => return Some(true),
        After::FinWait2 | After::Expired | After::Reset(_) => return Some(false),
        After::Unasked | After::Nothing => {}
    }
    if let Some(history) = case.history
        && let Some(end) = history.end
    {
        match end.from {
            State::CloseWait | State::LastAck | State::Closing => return Some(true),
            State::FinWait2 if case.blind => return None,
            State::FinWait2 if !history.got_reset && history.sent_reset.is_none() => {
                // The peer's FIN, or the move of an orphan into a smaller
                // socket that waits for it.
                let held = history.outlived_end() == Some(true);
                return (case.socket.rqueue > 0 || held).then_some(true);
            }
            _ => return Some(false),
        }
    }
    if case
        .sample
        .is_some_and(|sample| has_received_fin(sample.state))
    {
        return Some(true);
    }
    // Without payload, what was received is the FIN.
    let counts = counts?;
    (counts.data_segments_in == 0).then_some(counts.received > 0)
}

/// Where the counts end: with or without the peer's FIN.
fn fin_counted(case: &Case<'_>, counts: Option<Counts>) -> Option<bool> {
    if let Some(counts) = counts
        && counts.data_segments_in == 0
    {
        return Some(counts.received > 0);
    }
    let Some(history) = case.history else {
        return match case.after {
            // It came before the socket was gone, or after.
            After::TimeWait => (case.socket.rqueue > 0).then_some(true),
            _ => fin_received(case, counts),
        };
    };
    match history.end?.from {
        // Nothing but TIME_WAIT shows that no RST ended it.
        State::FinWait2 if case.blind && case.after != After::TimeWait => None,
        State::FinWait2 if !history.got_reset && history.sent_reset.is_none() => {
            // An orphan's receive queue was empty when it was closed; only a FIN
            // takes a place in it since. A socket that outlived its end was still
            // held, and then nothing but the FIN ends it.
            if case.socket.rqueue > 0 {
                Some(true)
            } else {
                history.outlived_end()
            }
        }
        _ => fin_received(case, counts),
    }
}

const fn has_received_fin(state: State) -> bool {
    matches!(
        state,
        State::CloseWait | State::LastAck | State::Closing | State::TimeWait
    )
}

/// The verdict when the transitions are known.
fn observed(case: &Case<'_>, history: &History, signs: &Signs) -> Verdict {
    let end = history
        .end
        .expect("the caller has checked that the history has an end");
    let fin_acked = fin_acked(case, history, end, signs.scrubbed);
    let answered = history.sent_reset.is_some_and(|reset| reset.answers);
    let side = match (history.sent_reset, history.got_reset) {
        (Some(_), _) if answered || !history.got_reset => Some(Side::Local),
        // Our own RST to a segment it could not take looks the same at first.
        (_, true) if !case.blind => Some(Side::Peer),
        _ => None,
    };
    let gave_up = case
        .errno
        .filter(|&e| !matches!(e, libc::ECONNRESET | libc::EPIPE | libc::ECONNREFUSED));
    let unresolved = end.from == State::FinWait2 && signs.fin_received.is_none();
    let fate = match side {
        _ if fin_acked == Some(true) && signs.fin_received == Some(true) => Some(Fate::Confirmed),
        _ if fin_acked == Some(true) => Some(Fate::Delivered),
        _ if gave_up.is_some() => Some(Fate::Failed),
        None if fin_acked.is_none() => None,
        Some(Side::Local) => Some(Fate::Aborted),
        Some(Side::Peer) => Some(Fate::Reset),
        None if case.blind || history.broken => None,
        None if end.in_process => Some(Fate::Aborted),
        // A timer gave it up. Of a socket that nobody held the kernel reports no error.
        None => Some(Fate::Failed),
    };
    let closed_first = history.closed_first.or(match side {
        Some(side) if gave_up.is_none() && !history.crossed => Some(side),
        _ => None,
    });
    let mut verdict = Verdict {
        fate,
        error: gave_up
            .filter(|_| fate == Some(Fate::Failed))
            .map(Errno::from_raw),
        closed_first,
        rst: match side {
            // An RST ends the small socket that waits for the peer's FIN, too.
            None if unresolved && case.after == After::Nothing && case.peer_reset_later => {
                peers_rst(case)
            }
            None if unresolved || case.blind && case.after != After::TimeWait => None,
            None => Some(Rst::None),
            Some(Side::Local) => Some(Rst::By {
                side: Side::Local,
                reason: history.sent_reset.and_then(|reset| reset.reason),
                listener: history.listener_closed,
            }),
            Some(Side::Peer) => peers_rst(case),
        },
        bytes: Bytes::default(),
        // That the peer had not closed is not known where the table was asked in
        // vain, or not at all.
        evidence: match unresolved || case.blind || history.broken || !history.from_start {
            true => Evidence::Inferred,
            false => Evidence::Observed,
        },
        ask: unresolved && case.after == After::Unasked,
    };
    if signs.scrubbed {
        verdict.evidence = Evidence::Inferred;
        verdict.bytes = match history.listener_closed {
            true => never_accepted_bytes(case),
            false => scrubbed_bytes(case),
        };
    } else if let Some(counts) = counts(case.socket) {
        verdict.bytes = bytes(&counts, case.socket, signs);
        let discards = history
            .sent_reset
            .and_then(|reset| reset.reason)
            .is_some_and(Reason::discards_input);
        // After the peer's FIN nothing can arrive.
        let unseen = case.blind && fate != Some(Fate::Confirmed);
        if discards || unseen {
            verdict.bytes.unread = None;
        }
    }
    verdict
}

/// Whether our FIN was acknowledged; `None` where a disconnect has wiped that.
fn fin_acked(case: &Case<'_>, history: &History, end: End, scrubbed: bool) -> Option<bool> {
    let reset = history.sent_reset.is_some() || scrubbed && history.got_reset;
    match end.from {
        State::FinWait2 => Some(true),
        State::Closing | State::LastAck if scrubbed && !reset => {
            // It was wiped later, unless a process did both. (What arrives while a
            // process is at the socket is taken in that process.) A timer that ended
            // it would have told whoever held it.
            let held = history.outlived_end() == Some(true);
            (held && case.errno.is_none()).then_some(true)
        }
        // An RST ends these without the last ACK.
        State::Closing | State::LastAck => Some(!scrubbed && !reset && case.socket.wqueue == 0),
        _ => Some(false),
    }
}

fn peers_rst(case: &Case<'_>) -> Option<Rst> {
    let (reason, listener) = case.peer_reason.unwrap_or_default();
    Some(Rst::By {
        side: Side::Peer,
        reason,
        listener,
    })
}

/// The verdict from the final counts and an earlier look.
fn inferred(case: &Case<'_>, signs: &Signs) -> Verdict {
    let mut verdict = Verdict {
        fate: None,
        error: None,
        closed_first: case.sample.and_then(|sample| match sample.state {
            State::FinWait1 | State::FinWait2 => Some(Side::Local),
            State::CloseWait | State::LastAck => Some(Side::Peer),
            _ => None,
        }),
        rst: None,
        bytes: Bytes::default(),
        evidence: Evidence::Inferred,
        ask: false,
    };
    if signs.scrubbed {
        // A connection the peer had reset before can be wiped as well; one that
        // was alive at the last look was aborted.
        let alive = case
            .sample
            .is_some_and(|sample| sample.unmoved_until(case.socket, case.at, case.told));
        verdict.fate = alive.then_some(Fate::Aborted);
        verdict.bytes = scrubbed_bytes(case);
        return verdict;
    }
    let Some(counts) = counts(case.socket) else {
        return verdict;
    };
    verdict.bytes = bytes(&counts, case.socket, signs);
    if case.socket.wqueue > 0 || signs.fin_queued != Some(true) {
        if signs.fin_queued != Some(false) {
            // What arrives after close() is discarded uncounted.
            verdict.bytes.unread = None;
        }
        return verdict;
    }
    // All is acknowledged, our FIN included.
    let crossed = case
        .sample
        .is_some_and(|sample| sample.state == State::Closing);
    match case.after {
        After::TimeWait | After::FinWait2 | After::Expired if !crossed => {
            verdict.closed_first = Some(Side::Local);
        }
        After::Unasked if verdict.closed_first != Some(Side::Peer) => verdict.ask = true,
        _ => {}
    }
    let confirmed = case.after == After::TimeWait || verdict.closed_first == Some(Side::Peer);
    verdict.fate = Some(if confirmed {
        Fate::Confirmed
    } else {
        Fate::Delivered
    });
    if case.after == After::TimeWait {
        verdict.rst = Some(Rst::None);
    }
    if !confirmed {
        verdict.bytes.unread = None;
    }
    verdict
}

fn bytes(counts: &Counts, socket: &Socket, signs: &Signs) -> Bytes {
    let wqueue = u64::from(socket.wqueue);
    let rqueue = u64::from(socket.rqueue);
    let fin_queued = signs.fin_queued.map(u64::from);
    let fin_received = signs.fin_counted.map(u64::from);
    // The FIN comes last: while anything is queued, it is.
    let fin_acked = if wqueue == 0 { fin_queued } else { Some(0) };
    let acked = (|| counts.acked.checked_sub(syn(signs.role?) + fin_acked?))();
    let lost = if wqueue == 0 {
        Some(0)
    } else {
        fin_queued.and_then(|fin| wqueue.checked_sub(fin))
    };
    let unread = if rqueue == 0 {
        Some(0)
    } else {
        fin_received.and_then(|fin| rqueue.checked_sub(fin))
    };
    Bytes {
        sent: (|| acked?.checked_add(lost?))(),
        acked,
        received: fin_received.and_then(|fin| counts.received.checked_sub(fin)),
        lost,
        unread,
    }
}

/// Nobody had it to write to, or to read from: what the last look said had come.
fn never_accepted_bytes(case: &Case<'_>) -> Bytes {
    let received = case
        .sample
        .filter(|sample| sample.unmoved_until(case.socket, case.at, case.told))
        .and_then(|sample| {
            let fin = u64::from(has_received_fin(sample.state));
            sample.counts?.received.checked_sub(fin)
        });
    Bytes {
        sent: Some(0),
        acked: Some(0),
        lost: Some(0),
        received,
        unread: received,
    }
}

/// What is known of a socket that was wiped: what the last look said, provided that
/// nothing has moved in between.
fn scrubbed_bytes(case: &Case<'_>) -> Bytes {
    let known = Bytes {
        // With input unread, a close would not have wiped it.
        unread: case
            .history
            .filter(|history| history.ended_by_close())
            .map(|_| 0),
        ..Bytes::default()
    };
    let Some(sample) = case
        .sample
        .filter(|sample| sample.unmoved_until(case.socket, case.at, case.told))
    else {
        return known;
    };
    let Some(counts) = sample.counts else {
        return known;
    };
    let control = control_bytes(&counts, sample.wqueue);
    let role = case
        .history
        .and_then(|history| history.role)
        .or(sample.role)
        .or_else(|| role(control?, case.port_listens));
    let fin_received = has_received_fin(sample.state);
    let signs = Signs {
        role,
        fin_queued: Some(has_queued_fin(sample.state)),
        fin_received: Some(fin_received),
        fin_counted: Some(fin_received),
        scrubbed: false,
    };
    let living = Socket {
        rqueue: sample.rqueue,
        wqueue: sample.wqueue,
        ..*case.socket
    };
    let then = bytes(&counts, &living, &signs);
    let took_no_more = sample.took_no_more(case.socket);
    Bytes {
        acked: then.acked,
        sent: then.sent.filter(|_| took_no_more),
        lost: then.lost.filter(|_| took_no_more),
        // More may have come since, and left no trace, unless the FIN had come.
        received: then.received.filter(|_| fin_received),
        ..known
    }
}
