//! Policies of every kind, for tests of what is done with all of them.

use std::net::Shutdown;
use std::time::Duration;

use super::Policy;
use crate::linger::Linger;

pub(super) const LINGERS: [Linger; 9] = [
    Linger::Off,
    Linger::Abort,
    Linger::Wait(Duration::ZERO),
    Linger::Wait(Duration::from_nanos(1)),
    Linger::Wait(Duration::from_micros(1500)),
    Linger::Wait(Duration::from_secs(5)),
    Linger::Wait(Duration::MAX),
    Linger::Endless { l_linger: -1 },
    Linger::Endless { l_linger: i32::MIN },
];

/// Every linger option with every combination of refinements, each set or not.
pub(super) fn policies() -> Vec<Policy> {
    type Change = fn(Policy) -> Policy;
    let sets: [&[Change]; 7] = [
        &[
            |p| p.with_stall(Duration::from_millis(10)),
            |p| p.with_stall(Duration::new(7, 1)),
        ],
        &[|p| p.with_confirm(true)],
        &[|p| p.with_drain_bytes(0), |p| p.with_drain_bytes(u64::MAX)],
        &[
            |p| p.with_drain_time(Duration::ZERO),
            |p| p.with_drain_time(Policy::DRAIN_TIME),
        ],
        &[|p| p.with_time_wait(false)],
        &[
            |p| p.with_shut_down(Shutdown::Read),
            |p| p.with_shut_down(Shutdown::Write),
            |p| p.with_shut_down(Shutdown::Both),
        ],
        &[|p| p.with_receipt(true)],
    ];
    let mut all: Vec<Policy> = LINGERS.map(Policy::new).to_vec();
    for set in sets {
        let changed = |policy: &Policy| set.iter().map(|change| change(*policy)).collect();
        let more: Vec<Vec<Policy>> = all.iter().map(changed).collect();
        all.extend(more.into_iter().flatten());
    }
    all
}
