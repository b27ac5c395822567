//! Each piece of evidence, and what follows from it.

use std::net::Ipv4Addr;

mod inferred;
mod observed;

use super::*;
use crate::evidence::history::Actor;
use crate::parse::inet_diag::Info;
use crate::tuple::State::{self, *};
use crate::tuple::{Endpoint, Role, Tuple};

const MS: u64 = 1_000_000;
const WINDOW: u32 = 65_536;

/// A destroyed socket: it had sent 100 bytes and received 30 in some segments.
fn socket((rqueue, wqueue): (u32, u32), acked: u64) -> Socket {
    let end = |port| Endpoint::new(Ipv4Addr::LOCALHOST.into(), port);
    Socket {
        space: 0,
        tuple: Tuple {
            local: end(80),
            remote: end(40_000),
        },
        state: Closed,
        cookie: 1,
        rqueue,
        wqueue,
        expires_ms: 0,
        uid: 0,
        inode: 0,
        full: None,
        mptcp: false,
        info: Some(Info {
            counts: Some(Counters {
                acked,
                received: 30,
                unsent: 0,
                min_rtt_us: 9,
                data_segments_in: 5,
                transmitted: 100,
            }),
            ..Info::default()
        }),
    }
}

fn counts_of(socket: &mut Socket) -> &mut Counters {
    let info = socket.info.as_mut().expect("it has been set");
    info.counts.as_mut().expect("they have been set")
}

/// All acknowledged, the FIN included, by an end that connected.
fn closed(rqueue: u32) -> Socket {
    socket((rqueue, 0), 102)
}

fn case(socket: &Socket) -> Case<'_> {
    Case {
        socket,
        history: None,
        blind: false,
        sample: None,
        mptcp: false,
        at: 1400 * MS,
        told: 1400 * MS,
        port_listens: false,
        errno: None,
        peer_reason: None,
        peer_reset_later: false,
        after: After::NotAsked,
    }
}

/// A dump that showed the socket in this state.
fn sample(state: State, socket: &Socket) -> LastSample {
    let info = Info {
        last_ack_recv_ms: 500,
        last_data_sent_ms: 400,
        snd_wnd: Some(WINDOW),
        ..socket.info.unwrap_or_default()
    };
    let living = Socket {
        state,
        inode: 1,
        info: Some(info),
        ..*socket
    };
    LastSample::new(1000 * MS, (1, 990 * MS), &living, None)
}

/// The same socket after a disconnect, with so many bytes more in its queue than that adds.
fn cleared(socket: &Socket, more: u32) -> Socket {
    let mut cleared = Socket {
        wqueue: socket.wqueue + WINDOW + 2 + more,
        info: Some(Info {
            last_ack_recv_ms: 900,
            last_data_sent_ms: 800,
            ..Info::default()
        }),
        ..*socket
    };
    cleared.tuple.remote = Endpoint::UNKNOWN;
    cleared
}

const PROCESS: Option<Actor> = Some(Actor {
    thread: 7,
    process: None,
});

/// It shut down its sending side, and left FIN_WAIT2 outside of a call; a process or
/// nobody held the descriptor then.
fn fin_wait2(held: bool) -> History {
    let mut history = History::new(socket((0, 0), 0).tuple);
    history.transition(0, Closed, SynSent, PROCESS);
    history.transition(0, SynSent, Established, None);
    history.transition(10 * MS, Established, FinWait1, PROCESS);
    history.transition(20 * MS, FinWait1, FinWait2, None);
    history.transition(30 * MS, FinWait2, Closed, None);
    history.destroyed = Some((31 * MS, held));
    history
}
