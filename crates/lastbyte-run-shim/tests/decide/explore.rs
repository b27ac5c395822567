//! All settings and all facts that the decision can tell apart, and what the contract
//! asks of each. The rows are those of docs/contract.md.

use lastbyte_run_protocol::{Linger, Override, Settings};

use crate::decide::{Decision, Facts, How, Waits, decide};
use crate::{
    CLOSE, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, LISTEN, SYN_RECV,
    SYN_SENT,
};

/// Every state of include/net/tcp_states.h, and numbers that are none.
const STATES: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, u8::MAX];
const OVERRIDES: [Override; 7] = [
    Override::None,
    Override::Off,
    Override::Abort,
    Override::Wait(0),
    Override::Wait(1),
    Override::Wait(300),
    Override::Wait(u64::MAX),
];
const OPTIONS: [(i32, i32); 9] = [
    (0, 0),
    // The time of an option that is off says nothing.
    (0, 5),
    (0, -1),
    (1, 0),
    (1, 1),
    (1, 5),
    (1, i32::MAX),
    (1, -1),
    (-1, i32::MIN),
];

const FLAGS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

/// What the option, or `--linger` in its place, asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Off,
    Abort,
    /// Milliseconds; none is without end.
    Wait(Option<u64>),
}

/// One place of the space.
#[derive(Clone, Copy, Debug)]
struct Place {
    settings: Settings,
    facts: Facts,
    asked: Asked,
}

impl Place {
    fn decision(self) -> Decision {
        decide(self.settings, self.facts)
    }

    fn how(self) -> Option<How> {
        match self.decision() {
            Decision::HandOver(how) => Some(how),
            _ => None,
        }
    }

    /// The option is the program's own, and not `--linger`.
    fn is_own(self) -> bool {
        self.settings.linger == Override::None
    }

    /// Both sides know of the connection, and it is not over.
    fn is_synchronized(self) -> bool {
        matches!(
            self.facts.state,
            ESTABLISHED | FIN_WAIT1 | FIN_WAIT2 | CLOSE_WAIT | LAST_ACK | CLOSING
        )
    }

    fn has_handshake(self) -> bool {
        matches!(self.facts.state, SYN_SENT | SYN_RECV)
    }

    /// A FIN of ours takes a place in the queue until it is acknowledged.
    fn has_open_fin(self) -> bool {
        matches!(self.facts.state, FIN_WAIT1 | LAST_ACK | CLOSING)
    }

    /// The program sent no byte.
    fn is_silent(self) -> bool {
        self.facts.bytes_sent == 0 && self.facts.not_sent <= u32::from(self.has_open_fin())
    }

    /// Bytes or a FIN of ours are not acknowledged.
    fn is_under_way(self) -> bool {
        self.facts.in_flight + self.facts.not_sent > 0
    }
}

fn asked(linger: Override, option: Linger) -> Asked {
    match (linger, option.l_onoff, option.l_linger) {
        (Override::Off, ..) => Asked::Off,
        (Override::Abort, ..) => Asked::Abort,
        (Override::Wait(u64::MAX), ..) => Asked::Wait(None),
        (Override::Wait(ms), ..) => Asked::Wait(Some(ms)),
        (Override::None, 0, _) => Asked::Off,
        (Override::None, _, 0) => Asked::Abort,
        (Override::None, _, seconds) => {
            Asked::Wait(u64::try_from(seconds).ok().map(|seconds| seconds * 1000))
        }
    }
}

/// Every place; `check` says what is wrong with it. In repair nothing may be sent, and no
/// other rule holds.
fn explore(check: impl Fn(Place) -> Result<(), &'static str>) {
    explore_all(|place| {
        if place.facts.is_in_repair {
            return unless(
                place.decision() != Decision::Plain,
                "something would be sent",
            );
        }
        check(place)
    });
}

fn explore_all(check: impl Fn(Place) -> Result<(), &'static str>) {
    let mut places = 0;
    let mut wrong = Vec::new();
    for linger in OVERRIDES {
        for observed in [false, true] {
            for (l_onoff, l_linger) in OPTIONS {
                for state in STATES {
                    for bytes_sent in [0, 1, 5000, u64::MAX] {
                        for in_flight in [0, 1, 2, 5000] {
                            for not_sent in [0, 1, 2, 5000] {
                                for (has_unread, is_in_repair) in FLAGS {
                                    let option = Linger { l_onoff, l_linger };
                                    let place = Place {
                                        settings: Settings { linger, observed },
                                        facts: Facts {
                                            linger: option,
                                            state,
                                            in_flight,
                                            not_sent,
                                            bytes_sent,
                                            has_unread,
                                            is_in_repair,
                                        },
                                        asked: asked(linger, option),
                                    };
                                    places += 1;
                                    if let Err(why) = check(place) {
                                        wrong.push((why, place, place.decision()));
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(places, 7 * 2 * 9 * 16 * 4 * 4 * 4 * 4);
    if let Some(first) = wrong.first() {
        panic!("{} places, the first: {first:#?}", wrong.len());
    }
}

/// An error where something is wrong.
fn unless(wrong: bool, why: &'static str) -> Result<(), &'static str> {
    if wrong { Err(why) } else { Ok(()) }
}

/// B1 to B5: nothing that was sent may be lost, whatever arrives; so the kernel, which
/// resets on input, closes only what has nothing to lose.
#[test]
fn off_leaves_the_kernel_nothing_that_can_be_lost() {
    explore(|place| {
        let is_kernels = place.how().is_none();
        unless(
            is_kernels
                && place.asked == Asked::Off
                && place.is_synchronized()
                && !(place.facts.linger.l_onoff == 0 && place.is_silent())
                && (place.is_under_way() || place.facts.has_unread),
            "bytes are under way, or input would reset the connection",
        )
    });
}

/// B6: what went out with the handshake, or before it is over.
#[test]
fn data_of_a_handshake_is_not_left_to_the_kernel() {
    explore(|place| {
        let is_own_abort = place.asked == Asked::Abort && place.is_own();
        unless(
            place.has_handshake() && !place.is_silent() && !is_own_abort && place.how().is_none(),
            "a client's close would give the connection up",
        )?;
        // E1: the kernel's close waits for the FIN's acknowledgement in SYN_RECV, on a
        // socket that does not block too.
        let waits = place.facts.state == SYN_RECV && matches!(place.asked, Asked::Wait(_));
        unless(
            waits && place.how().is_none(),
            "the kernel's close may block a socket that does not",
        )?;
        unless(
            place.has_handshake()
                && place.is_silent()
                && !waits
                && place.decision() != Decision::Plain,
            "there is nothing to deliver",
        )
    });
}

/// C1: the RST is out when close returns; no FIN goes before it.
#[test]
fn an_abort_sends_no_fin_and_is_bounded() {
    explore(|place| {
        if place.asked != Asked::Abort {
            return Ok(());
        }
        unless(
            place.decision() == Decision::FinThenPlain,
            "a FIN before the RST",
        )?;
        match place.how() {
            None => unless(
                place.is_synchronized() && (!place.is_own() || place.settings.observed),
                "nobody carries --linger abort out, or counts",
            ),
            Some(how) => {
                unless(how.fin_first, "a FIN before the RST")?;
                unless(
                    !matches!(how.waits, Waits::Always(ms) if ms >= 1000),
                    "close returns before the RST is out, or hangs",
                )
            }
        }
    });
}

/// D1, D2, D7, E1: a blocking close waits its own time and a second for the answer, a
/// negative time has no bound; what is not blocking is not waited for.
#[test]
fn a_wait_waits_its_own_time() {
    explore(|place| {
        let Asked::Wait(time) = place.asked else {
            return Ok(());
        };
        let is_kernels = place.facts.state == LISTEN || place.has_handshake() && place.is_silent();
        match place.how() {
            None => unless(!is_kernels, "the kernel's close says nothing of a loss"),
            Some(how) => unless(
                how.waits != Waits::IfBlocking(time.map(|ms| ms + 1000)),
                "not its own time and a second",
            ),
        }
    });
}

/// B1: off returns at once.
#[test]
fn off_does_not_wait() {
    explore(|place| match place.how() {
        Some(how) if place.asked == Asked::Off => {
            unless(how.waits != Waits::No, "close waits for the supervisor")
        }
        _ => Ok(()),
    });
}

/// A connection on which the program never sent is closed as the kernel does it: its RST
/// for unread input is how the peer learns that nobody read it.
#[test]
fn what_was_never_sent_on_is_the_kernels() {
    explore(|place| {
        let is_silent =
            place.asked == Asked::Off && place.is_silent() && place.facts.linger.l_onoff == 0;
        unless(is_silent && place.how().is_some(), "it is handed over")?;
        unless(
            is_silent && place.facts.has_unread && place.decision() != Decision::Plain,
            "a FIN would hide that nobody read the input",
        )
    });
}

/// U4: the FIN leaves inside close, where it has not left, and only where it may.
#[test]
fn the_fin_leaves_inside_close() {
    explore(|place| {
        let is_open = matches!(place.facts.state, ESTABLISHED | CLOSE_WAIT);
        match place.decision() {
            Decision::Plain => Ok(()),
            Decision::FinThenPlain => {
                unless(
                    place.asked != Asked::Off || place.is_under_way() || place.facts.has_unread,
                    "the kernel's close can lose something",
                )?;
                unless(
                    matches!(place.facts.state, CLOSE | LISTEN | SYN_SENT | SYN_RECV),
                    "shutdown(2) means something else there",
                )
            }
            Decision::HandOver(how) => {
                unless(
                    how.fin_first != (is_open && place.asked != Asked::Abort),
                    "a FIN that Linux sends later, or never",
                )?;
                let is_out = place.has_open_fin() || place.facts.state == FIN_WAIT2;
                unless(how.fin_is_out != is_out, "not what the state says")
            }
        }
    });
}

/// U3: who observes changes no packet. A connection that is over sends none any more, and
/// an abort's RST is the same whoever sends it.
#[test]
fn observing_changes_no_packet() {
    explore(|place| {
        let other = Place {
            settings: Settings {
                observed: !place.settings.observed,
                ..place.settings
            },
            ..place
        };
        unless(
            place.decision() != other.decision()
                && place.facts.state != CLOSE
                && place.asked != Asked::Abort,
            "another decision",
        )
    });
}

/// U1: a listener is no connection.
#[test]
fn listeners_are_the_kernels() {
    explore(|place| {
        unless(
            place.facts.state == LISTEN && place.decision() != Decision::Plain,
            "a listener",
        )
    });
}

/// A connection that is over, or never began, can lose nothing more: only who asks what
/// became of it is answered.
#[test]
fn what_is_over_matters_to_a_wait_or_a_log() {
    explore(|place| {
        let asks = matches!(place.asked, Asked::Wait(_)) || place.settings.observed;
        unless(
            place.facts.state == CLOSE && !asks && place.decision() != Decision::Plain,
            "nobody asks",
        )?;
        unless(
            place.facts.state == CLOSE
                && asks
                && place.facts.bytes_sent != 0
                && place.how().is_none(),
            "somebody asks what became of what was sent",
        )
    });
}
