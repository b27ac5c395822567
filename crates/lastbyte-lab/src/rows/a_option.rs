//! A. The option: what a socket holds, and in which unit.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use lastbyte::{Errno, Fate, Linger, LingerForm, Policy, RawLinger};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::Row;
use crate::findings::Findings;
use crate::harness::{From, Pair, Setup, fill, has_ipv6, ms};
use crate::stage::{Stage, Stop};

/// Returns what the kernel itself holds for the socket.
fn raw(socket: BorrowedFd<'_>) -> Result<(i32, i32), Stop> {
    let raw = getsockopt(&socket, sockopt::Linger).map_err(std::io::Error::from)?;
    Ok((raw.l_onoff, raw.l_linger))
}

pub(super) const A1: Row = Row {
    id: "A1",
    shows: "fresh_socket_is_off",
    manual: "By default close returns at once and data left in the buffer is still sent: the option is off.",
    alone: false,
    run: a1,
};

fn a1(stage: &Stage) -> Result<Findings, Stop> {
    let mut v = stage.findings();
    for v6 in [false, true] {
        if v6 && !has_ipv6() {
            continue;
        }
        let pair = Pair::new(Setup {
            v6,
            ..Setup::default()
        })?;
        let option = stage.subject.option(pair.ours.as_fd())?;
        let (l_onoff, l_linger) = raw(pair.ours.as_fd())?;
        v.demand(option == Linger::Off && l_onoff == 0, || {
            format!("read {option}; the kernel holds {{{l_onoff}, {l_linger}}}")
        });
        if !v6 {
            v.saw(format!(
                "{option}; the kernel holds {{{l_onoff}, {l_linger}}}"
            ));
        }
    }
    Ok(v)
}

pub(super) const A2: Row = Row {
    id: "A2",
    shows: "every_mode_goes_round_and_nothing_wraps",
    manual: "setsockopt and getsockopt carry struct linger: what was set is what is read back.",
    alone: false,
    run: a2,
};

fn a2(stage: &Stage) -> Result<Findings, Stop> {
    let seconds = |s| Linger::Wait(Duration::from_secs(s));
    let longest = LingerForm::NATIVE.longest().as_secs();
    let mut v = stage.findings();
    let (mut round, mut refused) = (0, 0);

    for linger in [
        Linger::Off,
        Linger::Abort,
        seconds(1),
        seconds(5),
        seconds(327),
        seconds(32_767),
        seconds(65_536),
        seconds(longest),
    ] {
        let pair = Pair::new(Setup::default())?;
        let set = stage.subject.set_option(pair.ours.as_fd(), linger);
        let read = stage.subject.option(pair.ours.as_fd())?;
        let kernel = raw(pair.ours.as_fd())?;
        let wanted = match linger {
            Linger::Wait(time) => (1, time.as_secs() as i32),
            Linger::Abort => (1, 0),
            _ => (0, kernel.1),
        };
        // Linux 5.10 wraps the longest ones: to refuse them is right, to wrap is not.
        let refuses = linger == seconds(longest) && set.is_err();
        if refuses {
            v.demand(read == Linger::Off, || {
                format!("{linger} was refused and yet changed the socket to {kernel:?}")
            });
            refused += 1;
            continue;
        }
        v.demand(set.is_ok() && read == linger && kernel == wanted, || {
            format!("{linger} became {read}, the kernel holds {kernel:?}: {set:?}")
        });
        round += 1;
    }

    // What an int of seconds cannot hold, or what has no meaning.
    for linger in [
        Linger::Endless { l_linger: -1 },
        Linger::Endless { l_linger: i32::MIN },
        seconds(longest + 1),
        seconds((1 << 32) + 5),
        Linger::Wait(Duration::MAX),
    ] {
        let pair = Pair::new(Setup::default())?;
        let before = seconds(7);
        stage.subject.set_option(pair.ours.as_fd(), before)?;
        let set = stage.subject.set_option(pair.ours.as_fd(), linger);
        let kernel = raw(pair.ours.as_fd())?;
        let read = stage.subject.option(pair.ours.as_fd())?;
        match set {
            Err(error) => {
                refused += 1;
                v.demand(kernel == (1, 7), || {
                    format!("{linger} was refused and yet changed the socket to {kernel:?}")
                });
                v.demand(error.to_string().len() > 20, || {
                    format!("the refusal of {linger} does not say why: {error}")
                });
            }
            Ok(()) => v.demand(read == linger, || format!("{linger} became {read}")),
        }
    }
    if v.kept() {
        v.saw(format!(
            "{round} values read back exactly, {refused} refused and the socket left as it was"
        ));
    } else {
        let more = v.faults().len() - 1;
        v.saw(format!("{}, and {more} more such", v.faults()[0]));
    }
    Ok(v)
}

pub(super) const A3: Row = Row {
    id: "A3",
    shows: "half_a_second_is_kept_and_never_an_abort",
    manual: "With l_linger > 0 the kernel delays the close for a time that l_linger's value decides.",
    alone: false,
    run: a3,
};

fn a3(stage: &Stage) -> Result<Findings, Stop> {
    const HALF: Duration = Duration::from_millis(500);
    let mut v = stage.findings();

    // The raw option.
    let pair = Pair::new(Setup::default())?;
    stage
        .subject
        .set_option(pair.ours.as_fd(), Linger::Wait(HALF))?;
    let (l_onoff, l_linger) = raw(pair.ours.as_fd())?;
    v.demand(l_onoff != 0 && l_linger == 1, || {
        format!("the raw option of a 500 ms wait is {{{l_onoff}, {l_linger}}}")
    });

    // The wait, against a peer that acknowledges nothing.
    let pair = Pair::new(Setup::default())?;
    pair.peer.blackhole()?;
    let written = fill(&pair.ours, 10_000)?;
    let limit = HALF * 4;
    let call = stage.call(pair.ours, Policy::wait(HALF));
    let Some(told) = v.returned(call.wait(limit), limit) else {
        return Ok(v);
    };
    let wire = stage.wire(&pair.conn)?;
    v.saw(format!(
        "l_linger {l_linger} for 500 ms; the wait {told}{}",
        if wire.rst(From::Us).is_some() {
            ", RST"
        } else {
            ""
        }
    ));
    v.errno(&told, Some(Errno::EWOULDBLOCK));
    v.on_time("returned", &told, told.returned, HALF);
    match wire.rst(From::Us) {
        Some(at) => v.on_time("RST went out", &told, at, HALF),
        None => v.demand(false, || "no RST was seen".to_owned()),
    }
    v.account(
        stage.subject.reports(),
        &told,
        Fate::TimedOut,
        written,
        &wire,
    );
    v.trace("wait 500 ms, peer silent", &told, wire);
    Ok(v)
}

pub(super) const A4: Row = Row {
    id: "A4",
    shows: "units_are_told_apart",
    manual: "l_linger's unit depends on the implementation: 4.4BSD takes clock ticks (1/100 s), Posix.1g seconds.",
    alone: false,
    run: a4,
};

fn a4(stage: &Stage) -> Result<Findings, Stop> {
    let mut v = stage.findings();

    // What the kernel takes l_linger = 1 for, by the clock.
    let pair = Pair::new(Setup::default())?;
    pair.peer.blackhole()?;
    fill(&pair.ours, 1000)?;
    let second = Linger::Wait(Duration::from_secs(1));
    stage.subject.set_option(pair.ours.as_fd(), second)?;
    let (_, l_linger) = raw(pair.ours.as_fd())?;
    let limit = Duration::from_secs(3);
    let call = stage.call(pair.ours, Policy::new(second));
    let Some(told) = v.returned(call.wait(limit), limit) else {
        return Ok(v);
    };
    // 1/100 s or a second: no fine measure is needed, and the kernel's timers are
    // not fine (HZ, and coarser the longer they run).
    let took = told.took();
    v.demand((900.0..1100.0).contains(&took), || {
        format!("l_linger 1 ended after {}", ms(took))
    });
    v.saw(format!(
        "l_linger {l_linger} waited {}: seconds",
        ms(told.took())
    ));

    if stage.subject.reports() {
        conversions(&mut v);
    }
    Ok(v)
}

/// Units as the manuals give them, against lastbyte's conversions.
fn conversions(v: &mut Findings) {
    let cases: &[(LingerForm, i32, u64)] = &[
        (LingerForm::POSIX, 3, 3000),
        (LingerForm::LINUX, 3, 3000),
        (LingerForm::BSD44, 3, 30),
        (LingerForm::BSD44, 250, 2500),
        (LingerForm::FREEBSD, 3, 3000),
        (LingerForm::MACOS, 300, 3000),
        (LingerForm::MACOS_SEC, 3, 3000),
        (LingerForm::WINDOWS, 65_535, 65_535_000),
    ];
    for &(form, l_linger, millis) in cases {
        let linger = Linger::Wait(Duration::from_millis(millis));
        let raw = RawLinger {
            l_onoff: 1,
            l_linger,
        };
        let (there, back) = (form.linger(raw), form.raw(linger));
        v.demand(there == linger && back == Ok(raw), || {
            format!("{form:?}: {l_linger} became {there}, {linger} became {back:?}")
        });
    }
    // 328 s in 1/100 s does not fit macOS's short, where SO_LINGER_SEC would wrap.
    let wraps = Linger::Wait(Duration::from_secs(328));
    for form in [LingerForm::MACOS, LingerForm::MACOS_SEC] {
        let raw = form.raw(wraps);
        v.demand(raw.is_err(), || format!("{form:?} took 328 s as {raw:?}"));
    }
    v.saw(format!(
        "{} conversions both ways: seconds, 4.4BSD ticks, macOS SO_LINGER and SO_LINGER_SEC apart",
        cases.len()
    ));
}

pub(super) const A5: Row = Row {
    id: "A5",
    shows: "negative_linger_is_told_and_has_no_deadline",
    manual: "(The manual knows no negative l_linger.)",
    alone: false,
    run: a5,
};

fn a5(stage: &Stage) -> Result<Findings, Stop> {
    const LONG_ENOUGH: Duration = Duration::from_millis(700);
    let mut v = stage.findings();
    let mut pair = Pair::new(Setup::default())?;
    // Another program's doing, so not by the subject.
    let negative = libc::linger {
        l_onoff: 1,
        l_linger: -1,
    };
    setsockopt(&pair.ours, sockopt::Linger, &negative).map_err(std::io::Error::from)?;
    let kernel = raw(pair.ours.as_fd())?;
    let option = stage.subject.option(pair.ours.as_fd())?;
    v.saw(format!(
        "set -1, the kernel answers {}, read as {option}",
        kernel.1
    ));
    if stage.subject.reports() {
        // Linux 5.10 makes some 198 days of it, which then are what it is.
        let is = match kernel.1 {
            seconds @ 1.. => Linger::Wait(Duration::from_secs(seconds.unsigned_abs().into())),
            l_linger => Linger::Endless { l_linger },
        };
        v.demand(option == is, || format!("{kernel:?} was read as {option}"));
    } else {
        v.demand(kernel.1 == -1, || {
            format!("-1 was set and {} is read back", kernel.1)
        });
    }

    pair.peer.blackhole()?;
    let written = fill(&pair.ours, 1000)?;
    let call = stage.call(pair.ours, Policy::new(option));
    if let Some(told) = call.wait(LONG_ENOUGH) {
        v.saw(format!("the close {told}"));
        v.demand(false, || {
            format!("the close {told}: a deadline from nowhere")
        });
        return Ok(v);
    }
    pair.peer.heal()?;
    let got = pair.peer.read_all(Duration::from_secs(2));
    v.arrived(&got, written);
    let limit = Duration::from_secs(2);
    let Some(told) = v.returned(call.wait(limit), limit) else {
        return Ok(v);
    };
    v.errno(&told, None);
    v.saw(format!(
        "the close waits on, and {told} once the peer answers"
    ));
    let wire = stage.wire(&pair.conn)?;
    v.account(
        stage.subject.reports(),
        &told,
        Fate::Delivered,
        written,
        &wire,
    );
    v.trace("negative l_linger", &told, wire);
    Ok(v)
}
