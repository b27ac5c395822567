//! What is decided about a close, over all settings and facts.
//!
//! The module is taken in by its path: the shim itself defines close(2) and may not be
//! linked into a test.

#![cfg(target_os = "linux")]

#[path = "../src/decide.rs"]
mod decide;

use decide::{
    Connection, Decision, First, Glance, How, Waits, at_a_glance, decide as decided, has_sent_fin,
    is_reset_by_input,
};
use lastbyte_handoff::{Left, Linger, Override, Settings};

const ESTABLISHED: u8 = 1;
const SYN_SENT: u8 = 2;
const SYN_RECV: u8 = 3;
const FIN_WAIT1: u8 = 4;
const FIN_WAIT2: u8 = 5;
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const LISTEN: u8 = 10;
const CLOSING: u8 = 11;

const OFF: Linger = Linger {
    l_onoff: 0,
    l_linger: 0,
};
const ABORT: Linger = Linger {
    l_onoff: 1,
    l_linger: 0,
};
const WAIT_5: Linger = Linger {
    l_onoff: 1,
    l_linger: 5,
};

const QUIET: Settings = Settings {
    linger: Override::None,
    observed: false,
};
const OBSERVED: Settings = Settings {
    linger: Override::None,
    observed: true,
};

fn glance(linger: Linger, unacknowledged: i32, unread: i32) -> Glance {
    Glance {
        linger,
        unacknowledged,
        unread,
    }
}

fn connection(state: u8, bytes_sent: u64) -> Connection {
    Connection { state, bytes_sent }
}

fn handed(decision: Decision) -> How {
    match decision {
        Decision::HandOver(how) => how,
        other => panic!("not handed over: {other:?}"),
    }
}

/// Every combination that the functions tell apart.
fn all(mut each: impl FnMut(Settings, Glance, Connection)) {
    let overrides = [
        Override::None,
        Override::Off,
        Override::Abort,
        Override::Wait(300),
    ];
    for linger in overrides {
        for observed in [false, true] {
            for option in [OFF, ABORT, WAIT_5] {
                for unacknowledged in [0, 1, 2, 5000] {
                    for unread in [0, 9] {
                        for state in 1..=12 {
                            for sent in [0, 5000, u64::MAX] {
                                each(
                                    Settings { linger, observed },
                                    glance(option, unacknowledged, unread),
                                    connection(state, sent),
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_under_way_needs_no_more_than_a_glance() {
    assert_eq!(at_a_glance(QUIET, glance(OFF, 0, 0)), First::FinThenPlain);
    assert_eq!(at_a_glance(QUIET, glance(ABORT, 9, 9)), First::Plain);
    for more in [glance(OFF, 1, 0), glance(OFF, 0, 1), glance(WAIT_5, 0, 0)] {
        assert_eq!(at_a_glance(QUIET, more), First::Ask);
    }
}

#[test]
fn an_abort_that_was_not_the_programs_own_wish_is_not_the_kernels() {
    let forced = Settings {
        linger: Override::Abort,
        observed: false,
    };
    assert_eq!(at_a_glance(forced, glance(OFF, 0, 0)), First::Ask);
    let off = Settings {
        linger: Override::Off,
        observed: false,
    };
    assert_eq!(at_a_glance(off, glance(ABORT, 0, 0)), First::FinThenPlain);
}

#[test]
fn a_watched_run_asks_about_every_close() {
    all(|settings, glance, _| {
        if settings.observed {
            assert_eq!(at_a_glance(settings, glance), First::Ask);
        }
    });
}

#[test]
fn a_connection_on_which_nothing_was_sent_is_the_kernels_with_or_without_a_fin() {
    for (state, queued) in [
        (ESTABLISHED, 0),
        (CLOSE_WAIT, 0),
        (FIN_WAIT1, 1),
        (FIN_WAIT2, 0),
        (CLOSING, 1),
        (LAST_ACK, 1),
    ] {
        let facts = (glance(OFF, queued, 7), connection(state, 0));
        assert_eq!(decided(QUIET, facts.0, facts.1), Decision::Plain, "{state}");
        let how = handed(decided(OBSERVED, facts.0, facts.1));
        assert!(how.as_the_kernel_does && !how.fin_first, "{state}: {how:?}");
        assert_eq!(how.waits, Waits::Always(1000), "{state}");
    }
}

#[test]
fn one_byte_that_is_no_fin_is_data() {
    for (state, queued) in [
        (ESTABLISHED, 1),
        (CLOSE_WAIT, 1),
        (FIN_WAIT1, 2),
        (LAST_ACK, 2),
    ] {
        let how = handed(decided(QUIET, glance(OFF, queued, 7), connection(state, 0)));
        assert!(!how.as_the_kernel_does, "{state}");
    }
    // A kernel that does not count what was sent says nothing about it.
    let how = handed(decided(
        QUIET,
        glance(OFF, 0, 7),
        connection(ESTABLISHED, u64::MAX),
    ));
    assert!(!how.as_the_kernel_does);
}

#[test]
fn the_fin_leaves_first_where_it_has_not_left_and_the_connection_is_not_reset() {
    all(|settings, glance, connection| {
        if let Decision::HandOver(how) = decided(settings, glance, connection) {
            let is_open = matches!(connection.state, ESTABLISHED | CLOSE_WAIT);
            let aborts = match settings.linger {
                Override::None => glance.linger == ABORT,
                asked => asked == Override::Abort,
            };
            assert_eq!(
                how.fin_first,
                is_open && !aborts && !how.as_the_kernel_does,
                "{settings:?} {glance:?} {connection:?}"
            );
            let is_out = matches!(connection.state, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK);
            assert_eq!(how.fin_is_out, is_out);
        }
    });
}

#[test]
fn only_a_wait_and_what_close_itself_does_is_waited_for() {
    all(|settings, glance, connection| {
        if let Decision::HandOver(how) = decided(settings, glance, connection) {
            let wanted = match settings.linger {
                Override::None if glance.linger == OFF => Override::Off,
                Override::None if glance.linger == ABORT => Override::Abort,
                Override::None => Override::Wait(5000),
                asked => asked,
            };
            let waits = match wanted {
                Override::Wait(ms) => Waits::IfBlocking(Some(ms + 1000)),
                Override::Abort => Waits::Always(1000),
                _ if how.as_the_kernel_does => Waits::Always(1000),
                _ => Waits::No,
            };
            assert_eq!(how.waits, waits, "{settings:?} {glance:?} {connection:?}");
        }
    });
}

#[test]
fn a_negative_time_has_no_bound() {
    let endless = Linger {
        l_onoff: 1,
        l_linger: -1,
    };
    let how = handed(decided(
        QUIET,
        glance(endless, 9, 0),
        connection(ESTABLISHED, 9),
    ));
    assert_eq!(how.waits, Waits::IfBlocking(None));
}

#[test]
fn listeners_and_handshakes_are_the_kernels() {
    all(|settings, glance, connection| {
        let decision = decided(settings, glance, connection);
        match connection.state {
            LISTEN => assert_eq!(decision, Decision::Plain),
            SYN_SENT | SYN_RECV if connection.bytes_sent == 0 => {
                assert_eq!(decision, Decision::Plain);
            }
            SYN_SENT | SYN_RECV => assert_eq!(decision, Decision::Left(Left::Handshake)),
            _ => assert!(!matches!(decision, Decision::Left(_))),
        }
    });
}

#[test]
fn a_connection_that_is_over_matters_to_a_wait_or_a_log() {
    let over = connection(CLOSE, 5000);
    assert_eq!(decided(QUIET, glance(OFF, 7, 0), over), Decision::Plain);
    assert!(!handed(decided(QUIET, glance(WAIT_5, 7, 0), over)).fin_first);
    assert!(!handed(decided(OBSERVED, glance(OFF, 7, 0), over)).fin_first);
    let never = connection(CLOSE, 0);
    assert_eq!(decided(OBSERVED, glance(OFF, 0, 0), never), Decision::Plain);
}

#[test]
fn input_resets_where_a_fin_is_out_or_about_to_be_and_the_peers_is_not_in() {
    let resets: Vec<u8> = (0..=12).filter(|state| is_reset_by_input(*state)).collect();
    assert_eq!(resets, [ESTABLISHED, FIN_WAIT1, FIN_WAIT2]);
    let sent: Vec<u8> = (0..=12).filter(|state| has_sent_fin(*state)).collect();
    assert_eq!(sent, [FIN_WAIT1, FIN_WAIT2]);
}
