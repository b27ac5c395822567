//! How far a run is, and what comes next. No I/O.

use std::time::{Duration, Instant};

/// How long the kernel's notices of what it closes are waited for at the end.
const SETTLE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The program runs.
    Program,
    /// It has ended, and its descendants are stayed for (`--follow`).
    Descendants,
    /// Connections that were handed over are being ended, until then at most where they
    /// have no deadline of their own.
    Endings { give_up: Instant },
    /// All of them are over; the kernel's notices of what it closed are waited for.
    Notices { until: Instant, give_up: Instant },
    /// Nothing is left to do.
    Over,
}

/// What the command was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    pub(super) follow: bool,
    pub(super) patience: Duration,
}

/// What the next phase depends on.
pub(super) trait Facts {
    fn program_has_ended(&self) -> bool;
    /// A signal asked us to stop waiting.
    fn is_told_to_go(&self) -> bool;
    /// Some process of the run can still send requests.
    fn channel_is_open(&self) -> bool;
    /// Nothing that was handed over is under way.
    fn is_idle(&self) -> bool;
    /// Whatever is under way has no deadline of its own.
    fn only_endless_left(&self) -> bool;
    /// The kernel's notice of something that it closes is still to come.
    fn is_settling(&self) -> bool;
}

impl Phase {
    /// The phase that the run is in now.
    pub(super) fn next(self, stay: Stay, facts: &impl Facts, now: Instant) -> Self {
        let is_followed = || facts.channel_is_open() && !facts.is_told_to_go();
        match self {
            Phase::Program if !facts.program_has_ended() => self,
            Phase::Program if stay.follow && is_followed() => Phase::Descendants,
            Phase::Descendants if is_followed() => self,
            // What was sent before is read first.
            Phase::Program | Phase::Descendants => Phase::Endings {
                give_up: now + stay.patience,
            },
            Phase::Endings { give_up } if facts.is_idle() => {
                let until = (now + SETTLE).min(give_up);
                Phase::Notices { until, give_up }.next(stay, facts, now)
            }
            Phase::Endings { give_up } => {
                let is_in_vain = now >= give_up && facts.only_endless_left();
                if is_in_vain || facts.is_told_to_go() {
                    Phase::Over
                } else {
                    self
                }
            }
            Phase::Notices { give_up, .. } if !facts.is_idle() => Phase::Endings { give_up },
            Phase::Notices { until, .. } => {
                if facts.is_told_to_go() || now >= until || !facts.is_settling() {
                    Phase::Over
                } else {
                    self
                }
            }
            Phase::Over => self,
        }
    }

    /// When to look again although nothing happened; `None` while the program or its
    /// descendants decide.
    pub(super) fn look_again(self) -> Option<Instant> {
        match self {
            Phase::Program | Phase::Descendants => None,
            Phase::Endings { give_up } => Some(give_up),
            Phase::Notices { until, .. } => Some(until),
            Phase::Over => None,
        }
    }

    /// Whether nothing new is taken any more: descendants may go on for ever.
    pub(super) fn has_given_up(self, now: Instant) -> bool {
        matches!(self, Phase::Endings { give_up } if now >= give_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Default)]
    struct Now {
        ended: bool,
        told: bool,
        open: bool,
        idle: bool,
        endless: bool,
        settling: bool,
    }

    impl Facts for Now {
        fn program_has_ended(&self) -> bool {
            self.ended
        }
        fn is_told_to_go(&self) -> bool {
            self.told
        }
        fn channel_is_open(&self) -> bool {
            self.open
        }
        fn is_idle(&self) -> bool {
            self.idle
        }
        fn only_endless_left(&self) -> bool {
            self.endless
        }
        fn is_settling(&self) -> bool {
            self.settling
        }
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    fn stay(follow: bool) -> Stay {
        Stay {
            follow,
            patience: PATIENCE,
        }
    }

    #[test]
    fn the_program_is_waited_for_whatever_else_happens() {
        let now = Instant::now();
        for told in [false, true] {
            let facts = Now {
                told,
                idle: true,
                open: true,
                ..Now::default()
            };
            assert_eq!(Phase::Program.next(stay(true), &facts, now), Phase::Program);
        }
    }

    #[test]
    fn descendants_are_followed_until_nobody_is_left_or_a_signal_comes() {
        let now = Instant::now();
        let busy = Now {
            ended: true,
            open: true,
            ..Now::default()
        };
        let endings = Phase::Endings {
            give_up: now + PATIENCE,
        };
        for phase in [Phase::Program, Phase::Descendants] {
            assert_eq!(phase.next(stay(true), &busy, now), Phase::Descendants);
            let gone = Now {
                open: false,
                ..busy
            };
            assert_eq!(phase.next(stay(true), &gone, now), endings);
            let told = Now { told: true, ..busy };
            assert_eq!(phase.next(stay(true), &told, now), endings);
            assert_eq!(endings.next(stay(true), &told, now), Phase::Over);
        }
        assert_eq!(Phase::Program.next(stay(false), &busy, now), endings);
    }

    #[test]
    fn endings_have_their_deadlines_and_the_others_have_patience() {
        let now = Instant::now();
        let phase = Phase::Endings { give_up: now };
        let busy = Now {
            ended: true,
            ..Now::default()
        };
        let early = now - Duration::from_millis(1);
        let endless = Now {
            endless: true,
            ..busy
        };
        assert_eq!(phase.next(stay(false), &endless, early), phase);
        assert_eq!(phase.next(stay(false), &endless, now), Phase::Over);
        assert_eq!(
            phase.next(stay(false), &busy, now),
            phase,
            "a deadline of its own"
        );
        let told = Now { told: true, ..busy };
        assert_eq!(phase.next(stay(false), &told, early), Phase::Over);
        assert!(!phase.has_given_up(early) && phase.has_given_up(now));
        assert!(!Phase::Program.has_given_up(now));
    }

    #[test]
    fn notices_are_waited_for_a_moment_and_only_once_all_else_is_over() {
        let now = Instant::now();
        let give_up = now + PATIENCE;
        let endings = Phase::Endings { give_up };
        let settling = Now {
            ended: true,
            idle: true,
            settling: true,
            ..Now::default()
        };
        let until = now + SETTLE;
        let notices = Phase::Notices { until, give_up };
        assert_eq!(endings.next(stay(false), &settling, now), notices);
        assert_eq!(notices.next(stay(false), &settling, now), notices);
        assert_eq!(notices.next(stay(false), &settling, until), Phase::Over);
        let settled = Now {
            settling: false,
            ..settling
        };
        assert_eq!(endings.next(stay(false), &settled, now), Phase::Over);
        assert_eq!(notices.next(stay(false), &settled, now), Phase::Over);
        let told = Now {
            told: true,
            ..settling
        };
        assert_eq!(endings.next(stay(false), &told, now), Phase::Over);
        let busy = Now {
            idle: false,
            ..settling
        };
        assert_eq!(notices.next(stay(false), &busy, now), endings);
        let late = give_up - SETTLE / 2;
        let short = Phase::Notices {
            until: give_up,
            give_up,
        };
        assert_eq!(endings.next(stay(false), &settling, late), short);
    }

    #[test]
    fn a_phase_says_when_to_look_again() {
        let now = Instant::now();
        let until = now + SETTLE;
        assert_eq!(Phase::Program.look_again(), None);
        assert_eq!(Phase::Descendants.look_again(), None);
        assert_eq!(Phase::Endings { give_up: now }.look_again(), Some(now));
        let notices = Phase::Notices {
            until,
            give_up: now,
        };
        assert_eq!(notices.look_again(), Some(until));
    }
}
