//! The joiner on any sequence of obituaries, rows and answers: each connection is
//! told once, and nothing is told that was not.
#![no_main]

use lastbyte_host::tracker::Joiner;
use lastbyte_host::parse::inet_diag::Socket;
use lastbyte_host::tuple::State;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|steps: Vec<(u8, Vec<u8>)>| {
    let tracing = steps.first().is_some_and(|(kind, _)| kind & 128 != 0);
    let mut joiner = Joiner::new(tracing);
    let (mut now, mut given, mut told) = (0, 0, 0);
    for (kind, bytes) in steps {
        now += u64::from(kind) * 1_000_000;
        match (kind % 4, Socket::parse(&bytes)) {
            (0, Some(socket)) => {
                joiner.obituary(now, &socket);
                given += 1;
            }
            (1, Some(socket)) => {
                joiner.begin_round(now);
                joiner.row(now, &socket);
                joiner.end_round(|_| None);
            }
            (_, held) => {
                let state = State::from_raw(u32::from(kind) % 14);
                let held = held.zip(state).map(|(socket, state)| Socket { state, ..socket });
                for tuple in joiner.queries(now, 100) {
                    joiner.answer(now, tuple, held.as_ref());
                }
                // Some answers are faster than what is joined.
                joiner.tick(now.saturating_sub(u64::from(kind >> 4) * 1_000_000));
            }
        }
        for finished in joiner.take() {
            let _ = finished.ending.to_json();
            told += 1;
        }
    }
    joiner.flush();
    told += joiner.take().len() as u64;
    assert_eq!(told + joiner.counts().not_connections, given);
});
