//! B. Off: return now, deliver in the background.

use std::time::Duration;

use lastbyte::{Fate, Policy};

use super::Row;
use crate::child;
use crate::findings::Findings;
use crate::harness::{From, Got, Pair, Setup, fill, ms};
use crate::stage::{Stage, Stop};
use crate::subject::Child;

const MANUAL: &str = "l_onoff = 0: close returns at once; what is left in the send buffer is sent, then the resources are released.";
/// More than peer and send queue take while nobody reads.
const PLENTY: usize = 4 << 20;
/// How long the peer waits for more before it calls it silence.
const PATIENCE: Duration = Duration::from_secs(3);
/// Input of ours that nobody reads.
const INPUT: usize = 1000;

/// What the peer does besides reading, which it always does last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    None,
    /// Sent before the close, and not read.
    Unread,
    /// Sent once the close has returned.
    Late,
}

fn crowded() -> Setup {
    Setup {
        peer_buffer: Some(1 << 16),
        our_buffer: Some(1 << 20),
        ..Setup::default()
    }
}

pub(super) const B1: Row = Row {
    id: "B1",
    shows: "off_delivers_in_the_background",
    manual: MANUAL,
    alone: false,
    run: |stage| off(stage, Input::None),
};

pub(super) const B2: Row = Row {
    id: "B2",
    shows: "off_with_unread_input_delivers",
    manual: MANUAL,
    alone: false,
    run: |stage| off(stage, Input::Unread),
};

pub(super) const B3: Row = Row {
    id: "B3",
    shows: "off_delivers_though_the_peer_sends_late",
    manual: MANUAL,
    alone: false,
    run: |stage| off(stage, Input::Late),
};

fn off(stage: &Stage, input: Input) -> Result<Findings, Stop> {
    let mut v = stage.findings();
    let Pair {
        ours,
        mut peer,
        conn,
    } = Pair::new(crowded())?;
    let written = fill(&ours, PLENTY)?;
    if input == Input::Unread {
        peer.send_all(INPUT)?;
    }

    let limit = PATIENCE;
    let call = stage.call(ours, Policy::off());
    let Some(told) = v.returned(call.wait(limit), limit) else {
        return Ok(v);
    };
    if input == Input::Late {
        // What the late input meets shows in what arrives.
        let _ = peer.send(INPUT);
    }
    // Only now does the peer begin to read, so a close that waited for its
    // data would not have returned.
    let got = peer.read_all(PATIENCE);

    v.errno(&told, None);
    v.at_once(&told);
    v.arrived(&got, written);
    if let Some(account) = told.account {
        v.demand(account.fate == Fate::Detached, || {
            format!("the report says {}", account.fate)
        });
    } else {
        v.demand(!stage.subject.reports(), || "gave no report".to_owned());
    }
    let mut rst = "";
    if let Ok(wire) = stage.wire(&conn) {
        if wire.rst(From::Us).is_some() {
            rst = "; we sent an RST";
        }
        v.trace("off", &told, wire);
    }
    v.saw(format!(
        "returned after {}; {}{rst}",
        ms(told.took()),
        arrived(&got, written)
    ));
    Ok(v)
}

fn arrived(got: &Got, written: u64) -> String {
    format!(
        "the peer got {} of {written} bytes, then {}",
        got.bytes, got.end
    )
}

pub(super) const B4: Row = Row {
    id: "B4",
    shows: "off_delivers_though_the_process_exits",
    manual: MANUAL,
    // A child shares every descriptor between fork and exec, and the close of a
    // shared descriptor does nothing.
    alone: true,
    run: b4,
};

fn b4(stage: &Stage) -> Result<Findings, Stop> {
    let mut v = stage.findings();
    for (input, label) in [
        (Input::None, "nothing unread"),
        (Input::Unread, "unread input"),
        (Input::Late, "late input"),
    ] {
        let Pair {
            ours,
            mut peer,
            conn,
        } = Pair::new(crowded())?;
        let written = fill(&ours, PLENTY)?;
        if input == Input::Unread {
            peer.send_all(INPUT)?;
        }
        let mut closing = child::spawn(stage.subject.child(), ours)?;
        let told = closing.closed()?;
        if stage.subject.child() == Child::Plain {
            closing.exited()?;
        }
        if input == Input::Late {
            let _ = peer.send(INPUT);
        }
        let got = peer.read_all(PATIENCE);
        // As any program does at EOF; a closer that drains late input waits for it.
        peer.close();
        closing.exited()?;
        v.arrived(&got, written);
        v.saw(format!("{label}: {}", arrived(&got, written)));
        if let Ok(wire) = stage.wire(&conn) {
            v.trace(label, &told, wire);
        }
    }
    if stage.subject.child() == Child::Lastbyte {
        v.saw("run with a process that waits for lastbyte::background() before it exits; no supervisor outlived it");
    }
    Ok(v)
}
