//! Endings as metrics, by Prometheus' conventions for names and units.
//!
//! No label comes from a peer or a program: the number of series is bounded by
//! the fates, the reasons of the kernel and the states.

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use lastbyte::{Fate, Side};

use crate::event::{Ending, Rst};
use crate::joiner::Joiner;
use crate::reason::Reason;
use crate::tuple::State;
use crate::watcher::Losses;

/// The content type of [`Metrics::encode`]: OpenMetrics 1.0.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    endings: Family<Ended, Counter>,
    lost: Family<ByFate, Counter>,
    acked: Counter,
    received: Counter,
    unread: Counter,
    resets: Family<Reset, Counter>,
    times: Family<InState, Histogram>,
    sockets: Family<InState, Gauge>,
    dropped_endings: Family<DroppedBy, Counter>,
    dropped_steps: Family<DroppedBy, Counter>,
    beyond: Family<Limit, Counter>,
    told: Losses,
}

/// A label that is one of few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Word(&'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    fate: Word,
    closed_first: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFate {
    fate: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reset {
    by: Word,
    reason: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DroppedBy {
    by: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    limit: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: Word,
}

/// What is not known is said, not left out.
const UNKNOWN: Word = Word("unknown");
const KERNEL: Word = Word("kernel");
const LASTBYTE: Word = Word("lastbyte");
const FOLLOWED: Word = Word("followed");
const WAITING: Word = Word("waiting");

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All of them, at zero.
    #[must_use]
    pub fn new() -> Self {
        let buckets = || {
            // 100 µs to 100 s, what a closing state lasts.
            Histogram::new([
                0.0001, 0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 100.0,
            ])
        };
        let mut metrics = Self {
            registry: Registry::with_prefix("lastbyte"),
            endings: Family::default(),
            lost: Family::default(),
            acked: Counter::default(),
            received: Counter::default(),
            unread: Counter::default(),
            resets: Family::default(),
            times: Family::new_with_constructor(buckets),
            sockets: Family::default(),
            dropped_endings: Family::default(),
            dropped_steps: Family::default(),
            beyond: Family::default(),
            told: Losses::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "endings",
            "Connections that ended, by fate and by whose FIN or RST came first",
            self.endings.clone(),
        );
        registry.register_with_unit(
            "lost",
            "Payload accepted by send() and never acknowledged, by fate",
            Unit::Bytes,
            self.lost.clone(),
        );
        registry.register_with_unit(
            "acked",
            "Payload acknowledged by the peers' TCP, counted when the connection ends",
            Unit::Bytes,
            self.acked.clone(),
        );
        registry.register_with_unit(
            "received",
            "Payload received, counted when the connection ends",
            Unit::Bytes,
            self.received.clone(),
        );
        registry.register_with_unit(
            "unread",
            "Payload that arrived and was never read",
            Unit::Bytes,
            self.unread.clone(),
        );
        registry.register(
            "resets",
            "Connections ended by an RST, by who sent it and the kernel's reason",
            self.resets.clone(),
        );
        registry.register_with_unit(
            "closing_state_duration",
            "Time that ended connections had spent in each closing state",
            Unit::Seconds,
            self.times.clone(),
        );
        registry.register(
            "closing_sockets",
            "Sockets in a closing state now",
            self.sockets.clone(),
        );
        registry.register(
            "endings_dropped",
            "Endings never told: dropped by the kernel (ENOBUFS) or by lastbyte, its queue full",
            self.dropped_endings.clone(),
        );
        registry.register(
            "trace_records_dropped",
            "Steps dropped by the kernel, its ring full, or by lastbyte; their endings are inferred",
            self.dropped_steps.clone(),
        );
        registry.register(
            "limit_exceeded",
            "Sockets beyond what is followed at once, and endings beyond those whose peer's FIN is \
             waited for; both are told as inferred",
            self.beyond.clone(),
        );
        for limit in [FOLLOWED, WAITING] {
            let _ = self.beyond.get_or_create(&Limit { limit });
        }
        for dropped in [&self.dropped_endings, &self.dropped_steps] {
            for by in [KERNEL, LASTBYTE] {
                // From the start: a rise from 0 is seen.
                let _ = dropped.get_or_create(&DroppedBy { by });
            }
        }
    }

    /// Counts an ending.
    pub fn ending(&self, ending: &Ending) {
        let fate = ending.fate.map_or(UNKNOWN, |fate| Word(Fate::as_str(fate)));
        let closed_first = ending
            .closed_first
            .map_or(UNKNOWN, |side| Word(Side::as_str(side)));
        self.endings
            .get_or_create(&Ended { fate, closed_first })
            .inc();
        let bytes = &ending.bytes;
        self.lost
            .get_or_create(&ByFate { fate })
            .inc_by(bytes.lost.unwrap_or(0));
        self.acked.inc_by(bytes.acked.unwrap_or(0));
        self.received.inc_by(bytes.received.unwrap_or(0));
        self.unread.inc_by(bytes.unread.unwrap_or(0));
        if let Some(Rst::By { side, reason, .. }) = ending.rst {
            let reason = reason.map_or(UNKNOWN, |reason| Word(Reason::kernel_name(reason)));
            self.resets
                .get_or_create(&Reset {
                    by: Word(side.as_str()),
                    reason,
                })
                .inc();
        }
        for (state, time) in ending.states.iter().flat_map(|states| states.iter()) {
            self.times
                .get_or_create(&InState { state: Word(state) })
                .observe(time.as_secs_f64());
        }
    }

    /// Takes over what else the watch knows.
    pub fn update(&mut self, joiner: &Joiner, losses: Losses) {
        let told = self.told;
        for (counter, now, before) in [
            (&self.dropped_endings, losses.endings, told.endings),
            (&self.dropped_steps, losses.steps, told.steps),
        ] {
            for (by, now, before) in [
                (KERNEL, now.by_kernel, before.by_kernel),
                (LASTBYTE, now.here, before.here),
            ] {
                counter
                    .get_or_create(&DroppedBy { by })
                    .inc_by(now.saturating_sub(before));
            }
        }
        for (limit, now, before) in [
            (FOLLOWED, losses.unfollowed, told.unfollowed),
            (WAITING, losses.unasked, told.unasked),
        ] {
            self.beyond
                .get_or_create(&Limit { limit })
                .inc_by(now.saturating_sub(before));
        }
        self.told = losses;
        let closing = [
            State::FinWait1,
            State::FinWait2,
            State::Closing,
            State::CloseWait,
            State::LastAck,
        ];
        let mut numbers = [0; 5];
        for (_, socket) in joiner.living() {
            if let Some(at) = closing.iter().position(|state| *state == socket.state) {
                numbers[at] += 1;
            }
        }
        for (state, number) in closing.iter().zip(numbers) {
            self.sockets
                .get_or_create(&InState {
                    state: Word(state.as_str()),
                })
                .set(number);
        }
    }

    /// The text that a scrape gets, of [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Bytes, Evidence};
    use crate::tuple::{Endpoint, Tuple};

    #[test]
    fn names_and_units_follow_the_conventions() {
        let metrics = Metrics::new();
        metrics.ending(&Ending {
            time: std::time::UNIX_EPOCH,
            opened: None,
            tuple: Tuple {
                local: Endpoint::UNKNOWN,
                remote: Endpoint::UNKNOWN,
            },
            owner: None,
            closer: None,
            fate: Some(Fate::Reset),
            error: None,
            closed_first: Some(Side::Local),
            rst: Some(Rst::By {
                side: Side::Peer,
                reason: Some(Reason::ABORT_ON_CLOSE),
                listener: false,
            }),
            bytes: Bytes {
                lost: Some(77),
                ..Bytes::default()
            },
            states: None,
            evidence: Evidence::Observed,
            manner: crate::event::Manner::default(),
        });
        let text = metrics.encode();
        for line in [
            r#"lastbyte_endings_total{fate="reset",closed_first="local"} 1"#,
            r#"lastbyte_lost_bytes_total{fate="reset"} 77"#,
            r#"lastbyte_resets_total{by="peer",reason="TCP_ABORT_ON_CLOSE"} 1"#,
            "# UNIT lastbyte_lost_bytes bytes",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
