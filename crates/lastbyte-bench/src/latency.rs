//! From the ACK to the report, at a steady pace.

use std::io;
use std::time::Duration;

use crate::peer::{Habit, Peer};
use crate::row::quantile;
use crate::scenario::{self, Scenario};
use crate::subjects::{Pace, Run};

const CLOSES: usize = 1000;
/// 1 000 per second.
const EVERY: Duration = Duration::from_millis(1);

/// One round's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Peers delay their ACKs and note the time right before they close, which
/// sends the ACK; the report's time is noted where it is given. The difference is
/// an upper bound: what the ACK itself takes is in it. `None` where the subject
/// cannot be paced, or too few ACKs were seen.
pub(crate) fn sample(peer: &mut Peer, run: &mut dyn Run) -> io::Result<Option<Latency>> {
    let streams = scenario::connect(peer, CLOSES, Habit::Closes)?;
    let ports = streams
        .iter()
        .map(|stream| Ok(stream.peer_addr()?.port()))
        .collect::<io::Result<Vec<u16>>>()?;
    for stream in &streams {
        Scenario::PeerCloses.respond(stream)?;
    }
    peer.watch()?;
    let pace = Pace::new(CLOSES, EVERY);
    let told = run.close_paced(streams, &pace)?;
    peer.answer()?;
    if !told {
        peer.drop_all()?;
        return Ok(None);
    }
    let acked = peer.stamps()?;
    peer.drop_all()?;
    let mut micros = Vec::with_capacity(CLOSES);
    for (port, told) in ports.iter().zip(pace.when_told()) {
        let acked = acked
            .get(port)
            .copied()
            .filter(|at| (1..=told).contains(at));
        micros.extend(acked.map(|acked| (told - acked) as f64 / 1e3));
    }
    // Where the machine let the peer sleep for 40 ms the ACK went without it, and
    // when is not known. Too many of those, and the round says nothing.
    if (CLOSES - micros.len()) * 100 > CLOSES {
        return Ok(None);
    }
    micros.sort_by(f64::total_cmp);
    let share = |share| quantile(&micros, share).unwrap_or(f64::NAN);
    Ok(Some(Latency {
        p50_us: share(0.5),
        p99_us: share(0.99),
    }))
}
