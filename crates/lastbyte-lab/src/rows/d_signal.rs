//! D5 and D8: what else happens in the process during the wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lastbyte::{Errno, Fate, Policy};
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use procfs::net::TcpState;

use super::Row;
use super::d_wait::{LIMIT, WAIT, stuffed};
use crate::findings::Findings;
use crate::harness::{From, Pair, Setup, fill, ms};
use crate::stage::{Stage, Stop, await_state};

pub(super) const D5: Row = Row {
    id: "D5",
    shows: "signals_do_not_cut_the_wait_short",
    manual: "The process sleeps until (a) all data is sent and acknowledged, or (b) the linger time has passed.",
    alone: false,
    run: d5,
};

extern "C" fn ignore(_: libc::c_int) {}

/// A handler that does nothing, without SA_RESTART: system calls are interrupted.
fn interrupt_on_usr1() -> Result<(), Stop> {
    let action = SigAction::new(
        SigHandler::Handler(ignore),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler touches nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }
        .map(drop)
        .map_err(|e| Stop::Broken(format!("sigaction: {e}")))
}

fn d5(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    interrupt_on_usr1()?;
    let mut v = stage.findings();
    let Pair { ours, peer, conn } = Pair::new(stuffed())?;
    let written = fill(&ours, 200_000)?;
    let call = stage.call(ours, Policy::wait(WAIT));
    await_state(&conn, &TcpState::FinWait1)?;

    let mut signals = 0;
    let begun = Instant::now();
    let told = loop {
        if let Some(told) = call.wait(Duration::from_millis(50)) {
            break Some(told);
        }
        if begun.elapsed() > LIMIT {
            break None;
        }
        // The thread may end now: its id stays valid until `call` is dropped.
        if pthread_kill(call.thread() as _, Signal::SIGUSR1).is_ok() {
            signals += 1;
        }
    };
    let Some(told) = v.returned(told, LIMIT) else {
        return Ok(v);
    };
    let wire = stage.wire(&conn)?;
    v.errno(&told, Some(Errno::EWOULDBLOCK));
    v.on_time("returned", &told, told.returned, WAIT);
    v.demand(wire.rst(From::Us).is_some(), || {
        "no RST was seen".to_owned()
    });
    v.account(
        stage.subject.reports(),
        &told,
        Fate::TimedOut,
        written,
        &wire,
    );
    v.saw(format!("signals sent: {signals}; {told}"));
    v.trace("a signal every 50 ms", &told, wire);
    drop(peer);
    Ok(v)
}

pub(super) const D8: Row = Row {
    id: "D8",
    shows: "only_the_caller_waits",
    manual: "The process calling close is put to sleep (and nobody else).",
    alone: false,
    run: d8,
};

fn d8(stage: &Stage) -> Result<Findings, Stop> {
    let mut v = stage.findings();
    // Two closes wait, each to its own end, while a third thread talks.
    let short = Pair::new(stuffed())?;
    let long = Pair::new(stuffed())?;
    fill(&short.ours, 200_000)?;
    fill(&long.ours, 200_000)?;
    let short_call = stage.call(short.ours, Policy::wait(WAIT));
    let long_call = stage.call(long.ours, Policy::wait(WAIT * 2));
    await_state(&short.conn, &TcpState::FinWait1)?;
    await_state(&long.conn, &TcpState::FinWait1)?;

    let stop = AtomicBool::new(false);
    let (first, second, talk) = std::thread::scope(|scope| {
        let talk = scope.spawn(|| talk_until(&stop));
        let first = short_call.wait(LIMIT);
        let second = long_call.wait(LIMIT);
        stop.store(true, Ordering::Relaxed);
        (first, second, talk.join())
    });
    let (rounds, slowest) =
        talk.map_err(|_| Stop::Broken("the talking thread failed".into()))??;
    let (Some(first), Some(second)) = (v.returned(first, LIMIT), v.returned(second, LIMIT)) else {
        return Ok(v);
    };
    // That one does not wait for the other; D2 is about the deadline itself.
    for (told, wait) in [(&first, WAIT), (&second, WAIT * 2)] {
        let off = (told.took() - wait.as_secs_f64() * 1e3).abs();
        v.demand(off < 200.0, || format!("a close of {wait:?} {told}"));
    }
    v.demand(rounds > 100 && slowest < WAIT / 2, || {
        format!("another thread got {rounds} answers, the slowest after {slowest:?}")
    });
    v.saw(format!(
        "closes of 1 s and 2 s took {} and {}; meanwhile another thread had {rounds} answers, the slowest after {}",
        ms(first.took()),
        ms(second.took()),
        ms(slowest.as_secs_f64() * 1e3)
    ));
    Ok(v)
}

/// Asks and answers over a connection of its own; how often, and the slowest.
fn talk_until(stop: &AtomicBool) -> Result<(u32, Duration), Stop> {
    let mut pair = Pair::new(Setup::default())?;
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        at += crate::harness::fill_from(&pair.ours, at, 1)?;
        if pair.peer.read_some(1, Duration::from_secs(3)).bytes != at {
            return Err(Stop::Broken("a byte went missing".into()));
        }
        slowest = slowest.max(begun.elapsed());
        rounds += 1;
        // A pause, for the other rows.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((rounds, slowest))
}
