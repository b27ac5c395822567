//! Gathers the observations.

use std::io;
use std::time::Instant;

use super::holders::inherited;
use super::observations::{Listener, Observations, Stuck};
use super::party::Party;
use crate::ending::Ending;
use crate::evidence::last_sample::LastSample;
use crate::source::counters;
use crate::source::rst_tap::RstTap;
use crate::tuple::State;
use crate::watch::{Stop, Watcher};

/// Watches until `stop` says so, calling `progress` with what has been observed so far.
///
/// # Errors
///
/// A source broke.
pub fn observe(
    watcher: &mut Watcher,
    stop: &Stop,
    mut progress: impl FnMut(&Observations),
) -> io::Result<Observations> {
    let began = Instant::now();
    // Without the tracepoints one of the two sources that this needs is missing, and an
    // ordinary user may not look at packets at all.
    let mut tap = watcher.observes().then(RstTap::open).and_then(Result::ok);
    let mut seen = Observations {
        notes: watcher.notes(),
        root: rustix::process::geteuid().is_root(),
        before: counters::read()?,
        ports: counters::local_ports(),
        tw_reuse: number("tcp_tw_reuse"),
        max_tw_buckets: number("tcp_max_tw_buckets"),
        max_orphans: number("tcp_max_orphans"),
        migrate_req: number("tcp_migrate_req"),
        ..Observations::default()
    };
    seen.strays.watched = tap.is_some();
    // What was answered before the tap was open could not be told from a refused SYN.
    watcher.take_strays();
    time_waits(watcher, &mut seen, false)?;
    while !stop.now() {
        let mut endings = Vec::new();
        watcher.step(stop.wait(), |ending| endings.push(ending))?;
        take(&mut seen, watcher, &endings);
        strays(&mut seen, watcher, tap.as_mut());
        seen.window = began.elapsed();
        progress(&seen);
    }
    let mut endings = Vec::new();
    watcher.finish(|ending| endings.push(ending))?;
    take(&mut seen, watcher, &endings);
    strays(&mut seen, watcher, tap.as_mut());
    watcher.sample_now()?;
    time_waits(watcher, &mut seen, true)?;
    seen.after = counters::read()?;
    seen.window = began.elapsed();
    living(&mut seen, watcher);
    seen.losses = watcher.losses();
    Ok(seen)
}

/// The sockets that are there at the end of the look.
fn living(seen: &mut Observations, watcher: &Watcher) {
    let tracker = watcher.tracker();
    for (_, socket) in tracker.living() {
        seen.strays.known(&socket.tuple);
        let owner = socket.owner.map(|(process, _)| process);
        let unaccepted =
            socket.inode == 0 && matches!(socket.state, State::Established | State::CloseWait);
        // Nobody holds it: it is asked for by its port alone.
        let wanted = unaccepted || watcher.wants_process(&[owner]);
        if !watcher.wants_ends(&socket.tuple) || !wanted {
            continue;
        }
        match socket.state {
            State::Listen => seen.listeners.push(Listener {
                on: socket.tuple.local,
                queued: socket.rqueue,
                backlog: socket.wqueue,
                owner,
            }),
            State::CloseWait
            | State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck => seen.stuck.push(stuck(socket, |port| tracker.listens(port))),
            State::Established if unaccepted => {
                seen.stuck.push(stuck(socket, |port| tracker.listens(port)));
            }
            _ => {}
        }
    }
}

fn stuck(socket: &LastSample, listens: impl Fn(u16) -> bool) -> Stuck {
    let owner = socket.owner.map(|(process, _)| process);
    let unread_end = socket.state == State::CloseWait && socket.rqueue > 0;
    Stuck {
        tuple: socket.tuple,
        state: socket.state,
        age: socket.age(),
        owner,
        party: Party::of(owner, socket.role, &socket.tuple, listens),
        fd: socket.owner.map(|(_, fd)| fd),
        held: socket.inode != 0,
        inherited: socket
            .owner
            .filter(|_| unread_end)
            .and_then(|(process, fd)| inherited(process.pid, fd, socket.existed_at())),
        rqueue: socket.rqueue,
        wqueue: socket.wqueue,
    }
}

/// What was answered for connections that are not known.
fn strays(seen: &mut Observations, watcher: &mut Watcher, tap: Option<&mut RstTap>) {
    let wanted = |tuple: &crate::tuple::Tuple| watcher.wants_ends(tuple);
    if let Some(tap) = tap {
        for tuple in tap.read() {
            if wanted(&tuple) {
                seen.strays.sent(tuple);
            }
        }
        if tap.has_missed() {
            seen.strays.missed();
        }
    }
    for tuple in watcher.take_strays() {
        seen.strays.without_socket(tuple);
    }
}

fn take(seen: &mut Observations, watcher: &Watcher, endings: &[Ending]) {
    for ending in endings {
        seen.ending(ending, |port| watcher.tracker().listens(port));
    }
}

/// Counts the TIME_WAIT sockets by direction.
fn time_waits(watcher: &mut Watcher, seen: &mut Observations, end: bool) -> io::Result<()> {
    for ((_, direction), sockets) in watcher.watched_time_wait()?.directions {
        if let Some(time_wait) = seen.time_wait(direction) {
            if end {
                time_wait.after += sockets.waiting;
            } else {
                time_wait.before += sockets.waiting;
            }
        }
    }
    Ok(())
}

fn number(name: &str) -> Option<i64> {
    counters::sysctl(name)?.first().copied()
}
