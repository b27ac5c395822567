//! Runs the state machine's hot path, for this repository's benchmarks alone.

use std::time::Duration;

use crate::ending::{Action, Detail, Ending, Input, Observation, TcpState};
use crate::policy::Policy;

/// Holds an ending that waits for its ACK.
#[derive(Debug)]
pub struct Waiting {
    ending: Ending,
    at: Duration,
}

impl Waiting {
    /// Begins an ending: the first look, and the FIN.
    #[must_use]
    pub fn begin() -> Self {
        let policy = Policy::wait(Duration::from_secs(5)).with_stall(Duration::from_secs(1));
        let (ending, step) = Ending::begin(&policy, &first_look());
        assert_eq!(step.action, Action::SendFin);
        Self {
            ending,
            at: Duration::ZERO,
        }
    }

    /// Takes an event that changes nothing, as most do.
    pub fn look(&mut self) -> bool {
        self.at += Duration::from_nanos(1);
        let step = self.ending.observe(self.at, &queued(101));
        step.report.is_none() && self.ending.deadline().is_some()
    }

    /// Takes the FIN's ACK, and returns the bytes acknowledged.
    #[must_use]
    pub fn acknowledge(mut self) -> Option<u64> {
        let step = self.ending.observe(self.at, &queued(0));
        step.report.and_then(|report| report.acked)
    }
}

/// Runs one ending from its first look to its report.
#[must_use]
pub fn whole_ending() -> Option<u64> {
    let mut waiting = Waiting::begin();
    waiting.look();
    waiting.acknowledge()
}

fn queued(queued: u64) -> Observation {
    Observation {
        queued: Ok(queued),
        input: Some(Input {
            drained: 0,
            left: Some(0),
            ended: false,
        }),
        detail: None,
    }
}

fn first_look() -> Observation {
    Observation {
        detail: Some(Detail {
            transmitted: Some(100),
            ..Detail::of(TcpState::Established)
        }),
        ..queued(100)
    }
}
