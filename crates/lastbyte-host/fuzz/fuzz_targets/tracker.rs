//! The tracker on any sequence of destroy notices, rows and answers: each connection is
//! told once, and nothing is told that was not.
#![no_main]

use lastbyte_host::tracker::Tracker;
use lastbyte_host::parse::inet_diag::Socket;
use lastbyte_host::tuple::State;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: Vec<(u8, Vec<u8>)>| {
    let tracing = steps.first().is_some_and(|(kind, _)| kind & 128 != 0);
    let mut tracker = Tracker::new(tracing);
    let (mut now, mut given, mut told) = (0, 0, 0);
    for (kind, bytes) in steps {
        now += u64::from(kind) * 1_000_000;
        match (kind % 4, Socket::parse(&bytes)) {
            (0, Some(socket)) => {
                tracker.destroy_notice(now, &socket);
                given += 1;
            }
            (1, Some(socket)) => {
                tracker.begin_round(now);
                tracker.row(now, &socket);
                tracker.end_round(|_| None);
            }
            (_, held) => {
                let state = State::from_raw(u32::from(kind) % 14);
                let held = held.zip(state).map(|(socket, state)| Socket { state, ..socket });
                for tuple in tracker.queries(now, 100) {
                    tracker.answer(now, tuple, held.as_ref());
                }
                // Some answers are faster than what is joined.
                tracker.tick(now.saturating_sub(u64::from(kind >> 4) * 1_000_000));
            }
        }
        for finished in tracker.take() {
            let _ = finished.ending.to_json();
            told += 1;
        }
    }
    tracker.flush();
    told += tracker.take().len() as u64;
    assert_eq!(told + tracker.counts().not_connections, given);
});
