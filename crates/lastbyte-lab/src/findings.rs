//! What a row found: what was seen, the faults, and the packets.

use std::sync::Arc;
use std::time::Duration;

use lastbyte::{Errno, Fate};

use crate::harness::{From, Got, Metronome, Stamp, Wire, ms};
use crate::subject::Told;

/// How far a deadline may be missed (contract, section D).
pub(crate) const TOLERANCE_MS: f64 = 10.0;
/// What counts as returning at once: far below any wait that the rows ask for,
/// far above what a busy machine takes to run a thread again.
pub(crate) const AT_ONCE_MS: f64 = 50.0;

/// What one row found about one subject. The row is kept as long as there is no fault.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    saw: Vec<String>,
    faults: Vec<String>,
    traces: Vec<Trace>,
    metronome: Option<Arc<Metronome>>,
    /// The most that was put down to the machine, in milliseconds.
    excused: f64,
}

/// The packets of one connection, told from the call on.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What this connection was for.
    pub label: String,
    /// Time zero: the call to close.
    pub origin: Stamp,
    /// When the call returned, if it did.
    pub returned: Option<Stamp>,
    /// The packets.
    pub wire: Wire,
}

impl Findings {
    pub(crate) fn new(metronome: Option<Arc<Metronome>>) -> Self {
        Self {
            metronome,
            ..Self::default()
        }
    }

    /// One with this fault, which is all that was seen.
    #[must_use]
    pub fn fault(fault: String) -> Self {
        Self {
            saw: vec![fault.clone()],
            faults: vec![fault],
            ..Self::default()
        }
    }

    /// Returns whether every demand was met.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.faults.is_empty()
    }

    /// Returns what was seen, in one line.
    #[must_use]
    pub fn seen(&self) -> String {
        let mut seen = self.saw.join("; ");
        if self.excused > 0.0 {
            seen.push_str(&format!(
                " (this machine was busy: up to {} late by its own account)",
                ms(self.excused)
            ));
        }
        seen
    }

    /// The demands that were not met.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// The packets.
    #[must_use]
    pub fn traces(&self) -> &[Trace] {
        &self.traces
    }

    /// Adds something seen.
    pub fn saw(&mut self, what: impl Into<String>) {
        self.saw.push(what.into());
    }

    /// Demands that `met` holds; `fault` says what was the case instead.
    pub fn demand(&mut self, met: bool, fault: impl FnOnce() -> String) {
        if met {
            return;
        }
        let fault = fault();
        // The same of a second connection says nothing new.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Keeps the packets of a connection whose close was `told`.
    pub fn trace(&mut self, label: impl Into<String>, told: &Told, wire: Wire) {
        self.keep(Trace {
            label: label.into(),
            origin: told.called,
            returned: Some(told.returned),
            wire,
        });
    }

    /// Keeps the packets of a connection.
    pub(crate) fn keep(&mut self, trace: Trace) {
        self.traces.push(trace);
    }

    /// Demands that the call returned at all; a fault and `None` where not.
    pub fn returned(&mut self, told: Option<Told>, limit: Duration) -> Option<Told> {
        if told.is_none() {
            let text = format!("had not returned after {}", ms(limit.as_secs_f64() * 1e3));
            self.saw(text.clone());
            self.faults.push(text);
        }
        told
    }

    /// Demands that the call took no longer than 50 ms.
    pub fn at_once(&mut self, told: &Told) {
        let took = told.took();
        self.demand(took <= AT_ONCE_MS, || {
            format!("took {} instead of returning at once", ms(took))
        });
    }

    /// Demands this errno of the call, or success.
    pub fn errno(&mut self, told: &Told, wanted: Option<Errno>) {
        let name = |e: Option<Errno>| e.map_or("0".to_owned(), |e| e.to_string());
        self.demand(told.error == wanted, || {
            format!("returned {}, not {}", name(told.error), name(wanted))
        });
    }

    /// Returns how many of the milliseconds between `due` and `at` are the machine's own:
    /// it woke threads late, or had no CPU for this one.
    #[must_use]
    pub fn machine_late(&self, told: &Told, due: Stamp, at: Stamp) -> f64 {
        self.metronome
            .as_ref()
            .map_or(0.0, |metronome| metronome.late_between(due, at))
            .max(told.starved)
            .min((at - due).max(0.0))
    }

    /// Notes that without this many milliseconds of the machine's own a demand
    /// would not have been met. The line of what was seen will say so.
    pub fn excuse(&mut self, late: f64) {
        self.excused = self.excused.max(late);
    }

    /// Demands that `at` is `wait` after the call, within the tolerance.
    pub fn on_time(&mut self, what: &str, told: &Told, at: Stamp, wait: Duration) {
        let due = told.called.after(wait);
        let mut late = at - due;
        let machine = self.machine_late(told, due, at);
        if late > TOLERANCE_MS && late - machine <= TOLERANCE_MS {
            late -= machine;
            self.excuse(machine);
        }
        self.demand(late.abs() <= TOLERANCE_MS, || {
            if late < 0.0 {
                format!("{what} {} before the deadline", ms(-late))
            } else {
                format!("{what} {} after the deadline", ms(late))
            }
        });
    }

    /// Demands that the peer's application got everything, then EOF.
    pub fn arrived(&mut self, got: &Got, written: u64) {
        self.demand(
            got.bytes == written && got.intact && got.end == crate::harness::End::Eof,
            || {
                format!(
                    "the peer got {} of {written} bytes{}, then {}",
                    got.bytes,
                    if got.intact { "" } else { ", not those sent" },
                    got.end
                )
            },
        );
    }

    /// Holds a report against the wire: fate, counts, RST. Only for those who
    /// promise one; its absence is then a fault.
    pub fn account(&mut self, promised: bool, told: &Told, fate: Fate, written: u64, wire: &Wire) {
        if !promised {
            return;
        }
        let Some(account) = told.account else {
            self.faults.push("gave no report".to_owned());
            return;
        };
        let mut same = |what: &str, said: Option<u64>, wire: Option<u64>| {
            self.demand(wire.is_some() && said == wire, || {
                let number = |n: Option<u64>| n.map_or("null".to_owned(), |n| n.to_string());
                format!(
                    "the report says {what} {}, the wire {}",
                    number(said),
                    number(wire)
                )
            });
        };
        let lost = wire.acked().and_then(|n| written.checked_sub(n));
        let unsent = wire.sent().and_then(|n| written.checked_sub(n));
        same("acked", account.acked, wire.acked());
        same("lost", account.lost, lost);
        same("unsent", account.unsent, unsent);
        self.demand(account.fate == fate, || {
            format!("the report says {}, not {fate}", account.fate)
        });
        let rst = wire.ended_by_rst() == Some(From::Us);
        self.demand(account.rst_sent == Some(rst), || {
            format!(
                "the report says rst_sent {:?}, the wire shows {}",
                account.rst_sent,
                if rst { "one" } else { "none" }
            )
        });
        self.demand(account.error == told.error, || {
            format!(
                "the report's error is {:?}, the call's {:?}",
                account.error, told.error
            )
        });
    }
}
