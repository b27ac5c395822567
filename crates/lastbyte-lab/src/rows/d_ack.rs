//! D1: how soon after the last acknowledgement the wait ends.

use std::time::Duration;

use lastbyte::{Fate, Policy};
use procfs::net::TcpState;

use super::Row;
use crate::findings::Findings;
use crate::harness::{Pair, Setup, fill, has_ipv6, ms};
use crate::stage::{Stage, Stop, await_state};

/// Odd, so that the median is one of them.
const TRIES: usize = 11;
/// How soon, in the median: one descheduling does not fail the row, a poll does.
const SOON_MS: f64 = 1.0;

pub(super) const D1: Row = Row {
    id: "D1",
    shows: "returns_as_soon_as_data_and_fin_are_acknowledged",
    manual: "If the unsent data, FIN included, is sent and acknowledged by the other end before the time is over, close returns success.",
    alone: true,
    run: d1,
};

fn d1(stage: &Stage) -> Result<Findings, Stop> {
    stage.needs_packets()?;
    let mut v = stage.findings();
    let mut after = Vec::new();
    let v6 = has_ipv6();
    for index in 0..TRIES {
        let Pair {
            ours,
            mut peer,
            conn,
        } = Pair::new(Setup {
            v6: index % 2 == 1 && v6,
            we_accept: index % 4 >= 2,
            peer_buffer: Some(4096),
            our_buffer: Some(1 << 16),
        })?;
        let written = fill(&ours, 20_000)?;
        let call = stage.call(ours, Policy::wait(Duration::from_secs(5)));
        // The wait has begun, and lasts until the peer makes room.
        await_state(&conn, &TcpState::FinWait1)?;
        let got = peer.read_all(Duration::from_secs(2));
        let limit = Duration::from_secs(6);
        let Some(told) = v.returned(call.wait(limit), limit) else {
            return Ok(v);
        };
        let wire = stage.wire(&conn)?;
        v.errno(&told, None);
        v.arrived(&got, written);
        v.account(
            stage.subject.reports(),
            &told,
            Fate::Delivered,
            written,
            &wire,
        );
        match wire.fin_acked_at() {
            Some(acked) => {
                let late = told.returned - acked;
                v.demand(late >= 0.0, || {
                    format!("returned {} before the FIN was acknowledged", ms(-late))
                });
                let machine = v.machine_late(&told, acked, told.returned);
                after.push((late, late - machine));
            }
            None => v.demand(false, || "the FIN was never acknowledged".to_owned()),
        }
        if index == 0 {
            v.trace("the first of the tries", &told, wire);
        }
    }
    if after.len() == TRIES {
        let ((mut seen, mut own), middle): ((Vec<_>, Vec<_>), _) =
            (after.iter().copied().unzip(), TRIES / 2);
        seen.sort_by(f64::total_cmp);
        own.sort_by(f64::total_cmp);
        let (median, worst) = (seen[middle], seen[TRIES - 1]);
        if median > SOON_MS && own[middle] <= SOON_MS {
            v.excuse(median - own[middle]);
        }
        v.demand(own[middle] <= SOON_MS, || {
            format!("the median return is {} after the ACK", ms(own[middle]))
        });
        v.saw(format!(
            "returned {} after the ACK of the FIN (median of {TRIES}, worst {})",
            ms(median),
            ms(worst)
        ));
    } else {
        v.saw(format!("{} of {TRIES} closes ended well", after.len()));
    }
    Ok(v)
}
