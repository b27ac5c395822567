//! What is decided about a close, over all settings and facts.
//!
//! The module is taken in by its path: the shim itself defines close(2) and may not be
//! linked into a test.

#![cfg(target_os = "linux")]

#[path = "../../src/decide.rs"]
mod decide;
mod explore;

use decide::{
    Decision, Facts, How, Waits, decide as decided, has_sent_fin, is_open_to_peer,
    is_reset_by_input,
};
use lastbyte_run_protocol::{Linger, Override, Settings};

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

/// Everything sent is acknowledged, and nothing is unread.
fn quiet(state: u8, linger: Linger) -> Facts {
    Facts {
        linger,
        state,
        in_flight: 0,
        not_sent: 0,
        bytes_sent: 5000,
        has_unread: false,
        is_in_repair: false,
    }
}

/// A part of what was sent is not acknowledged.
fn busy(state: u8, linger: Linger) -> Facts {
    Facts {
        in_flight: 3,
        ..quiet(state, linger)
    }
}

/// The program never sent anything; `fin` is out or queued.
fn silent(state: u8, fin: bool) -> Facts {
    Facts {
        in_flight: u32::from(fin),
        bytes_sent: 0,
        has_unread: true,
        ..quiet(state, OFF)
    }
}

fn handed(decision: Decision) -> How {
    match decision {
        Decision::HandOver(how) => how,
        other => panic!("not handed over: {other:?}"),
    }
}

/// Every combination that the function tells apart.
fn all(mut each: impl FnMut(Settings, Facts)) {
    let overrides = [
        Override::None,
        Override::Off,
        Override::Abort,
        Override::Wait(300),
    ];
    for linger in overrides {
        for observed in [false, true] {
            for option in [OFF, ABORT, WAIT_5] {
                for (in_flight, not_sent) in [(0, 0), (1, 0), (0, 1), (1, 1), (9, 5000), (0, 2)] {
                    for has_unread in [false, true] {
                        for state in 1..=12 {
                            for bytes_sent in [0, 5000, u64::MAX] {
                                let facts = Facts {
                                    linger: option,
                                    state,
                                    in_flight,
                                    not_sent,
                                    bytes_sent,
                                    has_unread,
                                    is_in_repair: false,
                                };
                                each(Settings { linger, observed }, facts);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn where_nothing_is_under_way_the_fin_goes_first_and_the_kernel_does_the_rest() {
    for state in [ESTABLISHED, CLOSE_WAIT, FIN_WAIT2] {
        let facts = quiet(state, OFF);
        assert_eq!(decided(QUIET, facts), Decision::FinThenPlain);
        let unread = Facts {
            has_unread: true,
            ..facts
        };
        let not_sent = Facts {
            not_sent: 1,
            ..facts
        };
        for more in [unread, not_sent, busy(state, OFF), quiet(state, WAIT_5)] {
            handed(decided(QUIET, more));
        }
    }
}

#[test]
fn an_abort_that_was_not_the_programs_own_wish_is_not_the_kernels() {
    let facts = Facts {
        has_unread: true,
        ..busy(ESTABLISHED, ABORT)
    };
    assert_eq!(decided(QUIET, facts), Decision::Plain);
    let forced = Settings {
        linger: Override::Abort,
        observed: false,
    };
    handed(decided(forced, quiet(ESTABLISHED, OFF)));
    let off = Settings {
        linger: Override::Off,
        observed: false,
    };
    let facts = quiet(ESTABLISHED, ABORT);
    assert_eq!(decided(off, facts), Decision::FinThenPlain);
}

/// Who observes must not change a packet. Two closes send none, or the same RST, whoever
/// carries them out: of a connection that is over, and on+0.
#[test]
fn observing_changes_no_decision_but_those_that_send_the_same_packets() {
    all(|settings, facts| {
        let [quiet, observed] = [false, true].map(|observed| Settings {
            observed,
            ..settings
        });
        let is_abort = match settings.linger {
            Override::None => facts.linger == ABORT,
            asked => asked == Override::Abort,
        };
        if !is_abort && facts.state != CLOSE {
            assert_eq!(decided(quiet, facts), decided(observed, facts), "{facts:?}");
        }
    });
}

#[test]
fn a_connection_on_which_nothing_was_sent_is_the_kernels_with_or_without_a_fin() {
    for (state, fin) in [
        (ESTABLISHED, false),
        (CLOSE_WAIT, false),
        (FIN_WAIT1, true),
        (FIN_WAIT2, false),
        (CLOSING, true),
        (LAST_ACK, true),
    ] {
        let facts = silent(state, fin);
        for settings in [QUIET, OBSERVED] {
            assert_eq!(decided(settings, facts), Decision::Plain, "{state}");
        }
    }
}

#[test]
fn one_byte_that_is_no_fin_is_data() {
    for (state, not_sent) in [
        (ESTABLISHED, 1),
        (CLOSE_WAIT, 1),
        (FIN_WAIT1, 2),
        (LAST_ACK, 2),
    ] {
        let facts = Facts {
            not_sent,
            ..silent(state, false)
        };
        handed(decided(QUIET, facts));
    }
    // A FIN that waits for room in the window.
    let facts = Facts {
        not_sent: 1,
        ..silent(FIN_WAIT1, false)
    };
    assert_eq!(decided(QUIET, facts), Decision::Plain);
    // A kernel that does not count what was sent says nothing about it.
    let facts = Facts {
        bytes_sent: u64::MAX,
        ..silent(ESTABLISHED, false)
    };
    handed(decided(QUIET, facts));
}

#[test]
fn the_fin_leaves_first_where_it_has_not_left_and_the_connection_is_not_reset() {
    all(|settings, facts| {
        if let Decision::HandOver(how) = decided(settings, facts) {
            let is_open = matches!(facts.state, ESTABLISHED | CLOSE_WAIT);
            let aborts = match settings.linger {
                Override::None => facts.linger == ABORT,
                asked => asked == Override::Abort,
            };
            assert_eq!(how.fin_first, is_open && !aborts, "{settings:?} {facts:?}");
            let is_out = matches!(facts.state, FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK);
            assert_eq!(how.fin_is_out, is_out);
        }
    });
}

#[test]
fn only_a_wait_and_what_close_itself_does_is_waited_for() {
    all(|settings, facts| {
        if let Decision::HandOver(how) = decided(settings, facts) {
            let wanted = match settings.linger {
                Override::None if facts.linger == OFF => Override::Off,
                Override::None if facts.linger == ABORT => Override::Abort,
                Override::None => Override::Wait(5000),
                asked => asked,
            };
            let waits = match wanted {
                Override::Wait(ms) => Waits::IfBlocking(Some(ms + 1000)),
                Override::Abort => Waits::Always(1000),
                _ => Waits::No,
            };
            assert_eq!(how.waits, waits, "{settings:?} {facts:?}");
        }
    });
}

#[test]
fn a_negative_time_has_no_bound() {
    let endless = Linger {
        l_onoff: 1,
        l_linger: -1,
    };
    let how = handed(decided(QUIET, busy(ESTABLISHED, endless)));
    assert_eq!(how.waits, Waits::IfBlocking(None));
}

#[test]
fn a_handshake_with_data_under_way_is_ended_and_one_without_is_the_kernels() {
    all(|settings, facts| {
        let decision = decided(settings, facts);
        match facts.state {
            LISTEN => assert_eq!(decision, Decision::Plain),
            SYN_SENT | SYN_RECV if facts.bytes_sent == 0 && facts.not_sent == 0 => {
                // The kernel's close waits in SYN_RECV, whether or not the socket blocks.
                let waits = match settings.linger {
                    Override::None => facts.linger.l_onoff != 0 && facts.linger.l_linger != 0,
                    asked => matches!(asked, Override::Wait(_)),
                };
                let is_ended = facts.state == SYN_RECV && waits;
                assert_eq!(
                    decision != Decision::Plain,
                    is_ended,
                    "{settings:?} {facts:?}"
                );
            }
            SYN_SENT | SYN_RECV => {
                let is_own_abort = settings.linger == Override::None && facts.linger == ABORT;
                if is_own_abort && !settings.observed {
                    assert_eq!(decision, Decision::Plain);
                } else {
                    assert!(!handed(decision).fin_first, "{settings:?} {facts:?}");
                }
            }
            _ => {}
        }
    });
}

#[test]
fn a_connection_that_is_over_matters_to_a_wait_or_a_log() {
    assert_eq!(decided(QUIET, busy(CLOSE, OFF)), Decision::Plain);
    assert_eq!(decided(QUIET, quiet(CLOSE, OFF)), Decision::Plain);
    assert!(!handed(decided(QUIET, busy(CLOSE, WAIT_5))).fin_first);
    assert!(!handed(decided(OBSERVED, busy(CLOSE, OFF))).fin_first);
    assert_eq!(decided(OBSERVED, silent(CLOSE, false)), Decision::Plain);
}

#[test]
fn input_resets_where_a_fin_is_out_or_about_to_be_and_the_peers_is_not_in() {
    let resets: Vec<u8> = (0..=12).filter(|state| is_reset_by_input(*state)).collect();
    assert_eq!(resets, [ESTABLISHED, FIN_WAIT1, FIN_WAIT2]);
    let open: Vec<u8> = (0..=12).filter(|state| is_open_to_peer(*state)).collect();
    assert_eq!(open, [ESTABLISHED, SYN_RECV, FIN_WAIT1, FIN_WAIT2]);
    let sent: Vec<u8> = (0..=12).filter(|state| has_sent_fin(*state)).collect();
    assert_eq!(sent, [FIN_WAIT1, FIN_WAIT2]);
}

#[test]
fn a_socket_that_does_not_block_is_waited_for_only_where_close_itself_does_it() {
    for waits in [Waits::No, Waits::Always(7), Waits::IfBlocking(Some(7))] {
        assert_eq!(waits.on(true), waits);
    }
    assert_eq!(Waits::IfBlocking(Some(7)).on(false), Waits::No);
    assert_eq!(Waits::IfBlocking(None).on(false), Waits::No);
    assert_eq!(Waits::Always(7).on(false), Waits::Always(7));
}
