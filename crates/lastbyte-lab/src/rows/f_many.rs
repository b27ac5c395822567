//! F. Many at once, each with its own deadline.

use std::time::Duration;

use lastbyte::{Errno, Fate, Policy};
use nix::sys::resource::{Resource, getrlimit};

use super::Row;
use crate::findings::{Findings, TOLERANCE_MS};
use crate::harness::{Conn, Crowd, From, Peer, Setup, Stamp, Wire, fill, ms};
use crate::stage::{Stage, Stop};
use crate::subject::Told;

/// Endings, a third each of D1, D2 and D3.
const MANY: usize = 2100;
/// Descriptors beside the connections' two ends.
const SPARE: u64 = 300;
/// More than the peer takes without reading.
const BYTES: usize = 12_000;
/// When the peers that read or reset begin to, and how long they take over it.
const FIRST: Duration = Duration::from_millis(300);
const SPREAD: Duration = Duration::from_millis(800);
/// The deadlines: of those whose peer stops, and of the others.
const EARLIEST: Duration = Duration::from_millis(700);
const AMPLE: Duration = Duration::from_secs(6);
/// When all of them are long over.
const LIMIT: Duration = Duration::from_millis(2500);

pub(super) const F1: Row = Row {
    id: "F1",
    shows: "thousands_at_once_each_exact_and_on_time",
    manual: "(The manual speaks of one close at a time, with one process asleep for each.)",
    alone: true,
    run: f1,
};

/// What becomes of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lot {
    Reads,
    Stops,
    Resets,
}

struct One {
    lot: Lot,
    conn: Conn,
    written: u64,
    wait: Duration,
}

fn f1(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    let needed = 2 * MANY as u64 + SPARE;
    if soft < needed {
        return Err(Stop::NotRun(format!(
            "{MANY} connections need {needed} open files and {soft} are allowed (ulimit -n)"
        )));
    }
    let mut v = stage.findings();
    let crowd = Crowd::new(Setup {
        peer_buffer: Some(4096),
        our_buffer: Some(1 << 15),
        ..Setup::default()
    })?;
    let (mut ones, mut peers, mut work) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..MANY {
        let pair = crowd.pair()?;
        let written = fill(&pair.ours, BYTES)?;
        let lot = [Lot::Reads, Lot::Stops, Lot::Resets][index % 3];
        let share = index as u32;
        let wait = match lot {
            Lot::Stops => EARLIEST + SPREAD * share / MANY as u32,
            Lot::Reads | Lot::Resets => AMPLE,
        };
        work.push((pair.ours, Policy::wait(wait)));
        peers.push((lot, pair.peer));
        ones.push(One {
            lot,
            conn: pair.conn,
            written,
            wait,
        });
    }

    let before = threads()?;
    let subject = std::sync::Arc::clone(&stage.subject);
    let caller = std::thread::spawn(move || subject.close_many(work, LIMIT));
    let (kept_open, busiest) = act(peers)?;
    let told = caller
        .join()
        .map_err(|_| Stop::Broken("the closing thread failed".into()))?;
    drop(kept_open);

    let ended = told.iter().flatten().count();
    v.demand(ended == MANY, || {
        format!("{ended} of {MANY} had ended when the last deadline was long over")
    });
    // The caller's own, and the one thread that closes.
    let extra = busiest.saturating_sub(before + 1);
    v.demand(extra <= 1, || format!("{extra} threads were used"));
    if ended < MANY {
        v.saw(format!(
            "one thread ended {ended} of {MANY} within {}",
            ms(LIMIT.as_secs_f64() * 1e3)
        ));
        return Ok(v);
    }
    if !stage.subject.reports() {
        v.demand(false, || "no report of any of them".to_owned());
        v.saw(format!("{ended} ended, none with a report"));
        return Ok(v);
    }
    judge(stage, &mut v, &ones, &told)?;
    Ok(v)
}

/// Lets each peer do its part at its time; returns those that stay open and the
/// largest number of threads seen.
fn act(peers: Vec<(Lot, Peer)>) -> Result<(Vec<Peer>, usize), Stop> {
    let begun = Stamp::now();
    let count = peers.len() as u32;
    let mut open = Vec::new();
    let mut busiest = 0;
    for (index, (lot, mut peer)) in peers.into_iter().enumerate() {
        let due = FIRST + SPREAD * index as u32 / count;
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        if index % 100 == 0 {
            busiest = busiest.max(threads()?);
        }
        match lot {
            Lot::Stops => open.push(peer),
            Lot::Resets => peer.reset(),
            Lot::Reads => {
                let got = peer.read_all(Duration::from_secs(2));
                if got.bytes != BYTES as u64 || !got.intact {
                    return Err(Stop::Broken(format!("a reading peer got {got:?}")));
                }
                open.push(peer);
            }
        }
    }
    Ok((open, busiest))
}

/// Threads of this process.
fn threads() -> Result<usize, Stop> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

fn judge(stage: &Stage, v: &mut Findings, ones: &[One], told: &[Option<Told>]) -> Result<(), Stop> {
    let (mut wrong, mut late) = (Vec::new(), 0);
    let mut worst = [0.0f64; 3];
    let mut lost = 0;
    for (one, told) in ones.iter().zip(told.iter().flatten()) {
        let wire = stage.wire(&one.conn)?;
        let mut each = stage.findings();
        let due = told.called.after(one.wait);
        let (fate, error) = match one.lot {
            Lot::Reads => (Fate::Delivered, None),
            Lot::Stops => (Fate::TimedOut, Some(Errno::EWOULDBLOCK)),
            Lot::Resets => (Fate::Reset, Some(Errno::ECONNRESET)),
        };
        each.errno(told, error);
        each.account(true, told, fate, one.written, &wire);
        lost += told.account.and_then(|a| a.lost).unwrap_or(0);
        match lateness(one, told, &wire) {
            Some(by) => {
                let slot = &mut worst[one.lot as usize];
                *slot = slot.max(by);
                let allowed = TOLERANCE_MS + one.wait.as_secs_f64() * 10.0;
                if one.lot == Lot::Stops && by > allowed {
                    let machine = v.machine_late(told, due, told.returned);
                    if by - machine <= allowed {
                        v.excuse(machine);
                    } else {
                        late += 1;
                    }
                }
            }
            None => each.demand(false, || {
                format!("{:?}: the wire shows no such end", one.lot)
            }),
        }
        if let [first, ..] = each.faults() {
            wrong.push(format!("{:?}: {first}", one.lot));
        }
    }
    v.demand(wrong.is_empty(), || {
        format!("{} reports were wrong, such as: {}", wrong.len(), wrong[0])
    });
    v.demand(late == 0, || {
        format!(
            "{late} deadlines were missed, the worst by {}",
            ms(worst[1])
        )
    });
    v.saw(format!(
        "{} endings on one thread, {} reports exact ({lost} bytes lost in all); worst deadline {} off, ACK told {} after it, RST {}",
        ones.len(),
        ones.len() - wrong.len(),
        ms(worst[1]),
        ms(worst[0]),
        ms(worst[2]),
    ));
    Ok(())
}

/// Returns how many milliseconds off the report came, or the RST of a deadline.
fn lateness(one: &One, told: &Told, wire: &Wire) -> Option<f64> {
    Some(match one.lot {
        Lot::Reads => told.returned - wire.fin_acked_at()?,
        Lot::Resets => told.returned - wire.rst(From::Peer)?,
        Lot::Stops => {
            let due = told.called.after(one.wait);
            let rst = wire.rst(From::Us)?;
            (rst - due).abs().max((told.returned - due).abs())
        }
    })
}
