//! Gathers the observations.

use std::io;
use std::time::Instant;

use super::observations::{Observations, Stuck, direction};
use crate::event::Ending;
use crate::source::counters;
use crate::stop::Stop;
use crate::tuple::State;
use crate::watcher::Watcher;

/// Watches until it is time to stop; `progress` is told how far it is.
///
/// # Errors
///
/// A source broke.
pub fn look(
    watcher: &mut Watcher,
    stop: &Stop,
    mut progress: impl FnMut(&Observations),
) -> io::Result<Observations> {
    let began = Instant::now();
    let mut seen = Observations {
        notes: watcher.notes(),
        before: counters::read()?,
        ports: ports(),
        tw_reuse: number("tcp_tw_reuse"),
        max_tw_buckets: number("tcp_max_tw_buckets"),
        max_orphans: number("tcp_max_orphans"),
        ..Observations::default()
    };
    time_waits(watcher, &mut seen, false)?;
    while !stop.now() {
        let mut endings = Vec::new();
        watcher.step(stop.wait(), |ending| endings.push(ending))?;
        take(&mut seen, watcher, &endings);
        seen.window = began.elapsed();
        progress(&seen);
    }
    let mut endings = Vec::new();
    watcher.finish(|ending| endings.push(ending))?;
    take(&mut seen, watcher, &endings);
    watcher.look_again()?;
    time_waits(watcher, &mut seen, true)?;
    seen.after = counters::read()?;
    seen.window = began.elapsed();
    for (_, socket) in watcher.joiner().living() {
        let owner = socket.owner.map(|(process, _)| process);
        if !watcher.wants_ends(&socket.tuple) || !watcher.wants_process(&[owner]) {
            continue;
        }
        match socket.state {
            State::Listen if socket.rqueue > socket.wqueue => {
                let port = socket.tuple.local.port;
                seen.full_backlogs
                    .push((port, socket.rqueue, socket.wqueue, owner));
            }
            State::CloseWait
            | State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck => seen.stuck.push(Stuck {
                tuple: socket.tuple,
                state: socket.state,
                age: socket.age(),
                owner,
                fd: socket.owner.map(|(_, fd)| fd),
                held: socket.inode != 0,
                rqueue: socket.rqueue,
                wqueue: socket.wqueue,
            }),
            _ => {}
        }
    }
    Ok(seen)
}

fn take(seen: &mut Observations, watcher: &Watcher, endings: &[Ending]) {
    for ending in endings {
        seen.ending(ending, watcher.joiner().listens(ending.tuple.local.port));
    }
}

/// Counts the TIME_WAIT sockets by direction.
fn time_waits(watcher: &mut Watcher, seen: &mut Observations, end: bool) -> io::Result<()> {
    let mut tuples = Vec::new();
    watcher.dump(State::TimeWait.bit(), |socket| {
        if socket.state == State::TimeWait {
            tuples.push(socket.tuple);
        }
    })?;
    for tuple in tuples.iter().filter(|tuple| watcher.wants_ends(tuple)) {
        let listens = watcher.joiner().listens(tuple.local.port);
        if let Some(time_wait) = seen.time_wait(direction(tuple, listens)) {
            if end {
                time_wait.after += 1;
            } else {
                time_wait.before += 1;
            }
        }
    }
    Ok(())
}

fn number(name: &str) -> Option<i64> {
    counters::sysctl(name)?.first().copied()
}

fn ports() -> (u16, u16) {
    let range = counters::sysctl("ip_local_port_range").unwrap_or_default();
    match range[..] {
        [first, last] => (
            u16::try_from(first).unwrap_or(0),
            u16::try_from(last).unwrap_or(u16::MAX),
        ),
        _ => (32768, 60999),
    }
}
