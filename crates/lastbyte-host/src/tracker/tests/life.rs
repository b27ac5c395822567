//! A connection as the tracepoints and the destroy notice tell of it.

use std::net::Ipv4Addr;

use crate::ending::Ending;
use crate::parse::inet_diag::Socket;
use crate::parse::trace::{Event, Trace};
use crate::process::{Comm, Process};
use crate::reason::Reason;
use crate::tracker::Tracker;
use crate::tuple::State::{self, *};
use crate::tuple::{Endpoint, Tuple};
use lastbyte::Side;
use lastbyte_tcp::netlink;

pub(crate) const MS: u64 = 1_000_000;

/// A connection: its socket in the kernel, and what becomes of it.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) number: u32,
    pub(crate) sk: u64,
    /// When it is established.
    pub(crate) at: u64,
}

impl Life {
    pub(crate) fn new(number: u32) -> Self {
        Self {
            number,
            sk: 0x1000 + u64::from(number),
            at: u64::from(number) * MS,
        }
    }

    pub(crate) fn tuple(&self) -> Tuple {
        let ip = Ipv4Addr::from(0x0a00_0000 + self.number).into();
        Tuple {
            local: Endpoint::new(ip, 40_000),
            remote: Endpoint::new(Ipv4Addr::LOCALHOST.into(), 80),
        }
    }

    pub(crate) fn step(&self, tracker: &mut Tracker, ms: u64, old: State, new: State) {
        let in_process = matches!(
            (old, new),
            (_, SynSent | FinWait1 | LastAck) | (Established, Closed)
        );
        self.event(
            tracker,
            ms,
            in_process,
            Event::SetState {
                sk: self.sk,
                tuple: self.tuple(),
                old,
                new,
            },
        );
    }

    pub(crate) fn event(&self, tracker: &mut Tracker, ms: u64, in_process: bool, event: Event) {
        let process = Process {
            pid: 812,
            comm: Comm::from_bytes(b"app"),
        };
        let trace = Trace {
            event,
            in_process,
            thread: 813,
        };
        tracker.trace(self.at + ms * MS, &trace, Some(process));
    }

    pub(crate) fn opens(&self, tracker: &mut Tracker) {
        self.step(tracker, 0, Closed, SynSent);
        self.step(tracker, 0, SynSent, Established);
    }

    /// Our close, its ACK, and the end, seen from an orphan.
    pub(crate) fn closes_first(&self, tracker: &mut Tracker) {
        self.step(tracker, 10, Established, FinWait1);
        self.step(tracker, 20, FinWait1, FinWait2);
        self.step(tracker, 30, FinWait2, Closed);
        self.is_destroyed(tracker, 30);
    }

    /// A close with input unread.
    pub(crate) fn aborts(&self, tracker: &mut Tracker, ms: u64) {
        let reset = Event::SendReset {
            sk: self.sk,
            tuple: self.tuple(),
            reason: Some(Reason::ABORT_ON_CLOSE),
            answers: false,
        };
        self.event(tracker, ms, true, reset);
    }

    /// It closes first, the peer after it; what is told.
    pub(crate) fn ends_in_time_wait(&self, tracker: &mut Tracker) -> Ending {
        self.closes_first(tracker);
        self.destroy_notice(tracker);
        answer(tracker, self.at + 40 * MS, Some(TimeWait));
        only(tracker)
    }

    pub(crate) fn is_destroyed(&self, tracker: &mut Tracker, ms: u64) {
        self.destroy(tracker, ms, false);
    }

    /// By the process that held it to the last.
    pub(crate) fn is_let_go(&self, tracker: &mut Tracker, ms: u64) {
        self.destroy(tracker, ms, true);
    }

    fn destroy(&self, tracker: &mut Tracker, ms: u64, in_process: bool) {
        let destroy = Event::Destroy {
            sk: self.sk,
            cookie: self.cookie(),
        };
        self.event(tracker, ms, in_process, destroy);
    }

    pub(crate) fn cookie(&self) -> u64 {
        u64::from(self.number) + 1
    }

    pub(crate) fn destroy_notice(&self, tracker: &mut Tracker) {
        self.notice_of(tracker, self.tuple());
    }

    /// After a disconnect.
    pub(crate) fn wiped_notice(&self, tracker: &mut Tracker) {
        let remote = Endpoint::UNKNOWN;
        self.notice_of(
            tracker,
            Tuple {
                remote,
                ..self.tuple()
            },
        );
    }

    fn notice_of(&self, tracker: &mut Tracker, tuple: Tuple) {
        let socket = Socket {
            tuple,
            cookie: self.cookie(),
            rqueue: 0,
            ..a_socket()
        };
        tracker.destroy_notice(self.at + 31 * MS, &socket);
    }

    /// An RST of ours, or of the peer's, which is on this host as well.
    pub(crate) fn reset(&self, tracker: &mut Tracker, ms: u64, by: Side, reason: Reason) {
        let tuple = match by {
            Side::Local => self.tuple(),
            Side::Peer => self.tuple().reversed(),
        };
        let event = Event::SendReset {
            sk: 0,
            tuple,
            reason: Some(reason),
            answers: true,
        };
        self.event(tracker, ms, false, event);
    }
}

/// It connected, sent 100 bytes and a FIN, all acknowledged.
pub(crate) fn a_socket() -> Socket {
    let bytes = include_bytes!("../../../../lastbyte-tcp/fixtures/destroy_clean_client.bin");
    let message = netlink::messages(bytes).next().expect("one message");
    Socket::parse(message.payload).expect("a destroy notice")
}

/// One connection, established.
pub(crate) fn opened() -> (Tracker, Life) {
    let mut tracker = Tracker::new(true);
    let life = Life::new(1);
    life.opens(&mut tracker);
    (tracker, life)
}

pub(crate) fn only(tracker: &mut Tracker) -> Ending {
    let mut told = tracker.take();
    assert_eq!(told.len(), 1);
    told.remove(0).ending
}

/// The kernel's answers to all that is asked; all up to then is joined. FIN_WAIT2
/// is held until a moment, all else for a minute.
pub(crate) fn answer(tracker: &mut Tracker, now: u64, state: Option<State>) {
    asked(tracker, now, state);
    tracker.tick(now);
}

pub(crate) fn asked(tracker: &mut Tracker, now: u64, state: Option<State>) {
    const LET_GO: u64 = 5_020 * MS;
    for tuple in tracker.queries(now, usize::MAX) {
        let expires = match state {
            Some(FinWait2) => LET_GO.saturating_sub(now) / MS,
            _ => 60_000,
        };
        let socket = state.map(|state| Socket {
            state,
            expires_ms: expires as u32,
            ..a_socket()
        });
        tracker.answer(now, tuple, socket.as_ref());
    }
}
