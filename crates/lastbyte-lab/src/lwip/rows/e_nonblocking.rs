//! Section E: a non-blocking socket.

use std::time::Duration;

use lastbyte::Errno;

use super::{
    LIMIT, PATIENCE, PLENTY, WAIT, arrived, close, demand_at_once, demand_error, trace, words,
};
use crate::findings::Findings;
use crate::harness::From;
use crate::lwip::stack::Pair;

fn nonblocking() -> Result<(Pair, usize), Errno> {
    let pair = Pair::new(false)?;
    let written = pair.ours.fill(PLENTY)?;
    pair.ours.set_linger((1, WAIT.as_secs() as i32))?;
    pair.ours.set_nonblocking(true)?;
    Ok((pair, written))
}

pub(super) fn e1(v: &mut Findings) -> Result<(), Errno> {
    let (pair, written) = nonblocking()?;
    let Some(closed) = close(v, &pair, LIMIT) else {
        return Ok(());
    };
    demand_at_once(v, &closed);
    demand_error(v, &closed, Some(Errno::EWOULDBLOCK));
    let open = pair.ours.linger().is_ok();
    v.demand(open, || "the socket is gone".to_owned());
    v.saw(format!(
        "{}; the socket is {}",
        words(&closed),
        if open { "still open" } else { "gone" }
    ));
    // What it goes on as: the peer reads, and it is closed again.
    let got = pair.peer.read_all(PATIENCE);
    v.demand(got.bytes == written, || arrived(&got, written));
    if open {
        let again = pair.ours.close();
        v.saw(format!(
            "{}; closed again it {}",
            arrived(&got, written),
            words(&again)
        ));
    }
    trace(v, "non-blocking close", Some(&closed), pair.wire());
    pair.peer.close();
    Ok(())
}

pub(super) fn e2(v: &mut Findings) -> Result<(), Errno> {
    for (label, wanted) in [
        ("peer reads", None),
        ("peer stops", Some(Errno::EWOULDBLOCK)),
        ("peer resets", Some(Errno::ECONNRESET)),
    ] {
        let (pair, _) = nonblocking()?;
        let Some(closed) = close(v, &pair, LIMIT) else {
            return Ok(());
        };
        match label {
            "peer reads" => drop(pair.peer.read_all(Duration::from_millis(500))),
            "peer resets" => pair.peer.reset(),
            // Past its deadline.
            _ => std::thread::sleep(WAIT * 2),
        }
        // The handle is the socket itself.
        let later = pair.ours.close();
        let rst = pair.wire().rst(From::Us).is_some();
        v.demand(later.error == wanted, || {
            format!("{label}: the close later {}", words(&later))
        });
        v.demand(label != "peer stops" || rst, || {
            "the deadline passed, and nothing was reset".to_owned()
        });
        v.saw(format!(
            "{label}: {}, later {}",
            words(&closed),
            words(&later)
        ));
        trace(v, label, Some(&closed), pair.wire());
        pair.ours.reset();
        if label != "peer resets" {
            pair.peer.reset();
        }
    }
    Ok(())
}
