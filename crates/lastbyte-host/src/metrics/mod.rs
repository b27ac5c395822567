//! Endings as metrics, by Prometheus' conventions for names and units.
//!
//! No label comes from a peer or a program: the number of series is bounded by
//! the fates, the reasons of the kernel and the states.

mod labels;
mod text;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::ending::{Ending, Evidence, Rst};
use crate::losses::Losses;
use crate::reason::{Reason, WORDS};
use crate::time_wait::TimeWait;
use crate::tracker::Tracker;
use crate::tuple::State;
use crate::watch::{SOURCES, Source, Watcher};
use labels::{
    Build, ByFate, Count, DroppedBy, Ended, FATES, FOLLOWED, FromSource, InState, KERNEL, KnownBy,
    LASTBYTE, Limit, Reset, SIDES, UNKNOWN, WAITING, Word, fate, side,
};

pub use text::Format;

/// A gauge whose value may be unknown: NaN, as Prometheus writes that.
type MaybeGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Counters and gauges of the endings that it was given.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    endings: Family<Ended, Counter>,
    by_evidence: Family<KnownBy, Counter>,
    lost: Family<ByFate, Counter>,
    acked: Counter,
    received: Counter,
    unread: Counter,
    unknown: Family<Count, Counter>,
    resets: Family<Reset, Counter>,
    times: Family<InState, Histogram>,
    sockets: Family<InState, Gauge>,
    time_wait: MaybeGauge,
    ports_left: MaybeGauge,
    sources: Family<FromSource, Gauge>,
    dropped_endings: Family<DroppedBy, Counter>,
    dropped_steps: Family<DroppedBy, Counter>,
    beyond: Family<Limit, Counter>,
    told: Losses,
}

/// The states that a closing socket can be in.
const CLOSING: [State; 5] = [
    State::FinWait1,
    State::FinWait2,
    State::Closing,
    State::CloseWait,
    State::LastAck,
];
/// Their names in [`StateTimes`](crate::ending::StateTimes).
const TIMES: [&str; 5] = [
    "fin_wait1",
    "fin_wait2",
    "closing",
    "close_wait",
    "last_ack",
];
const COUNTS: [&str; 5] = ["sent", "acked", "received", "lost", "unread"];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Makes every series, each at zero.
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
            by_evidence: Family::default(),
            lost: Family::default(),
            acked: Counter::default(),
            received: Counter::default(),
            unread: Counter::default(),
            unknown: Family::default(),
            resets: Family::default(),
            times: Family::new_with_constructor(buckets),
            sockets: Family::default(),
            time_wait: MaybeGauge::default(),
            ports_left: MaybeGauge::default(),
            sources: Family::default(),
            dropped_endings: Family::default(),
            dropped_steps: Family::default(),
            beyond: Family::default(),
            told: Losses::default(),
        };
        metrics.register();
        metrics.begin();
        metrics
    }

    /// Registers every metric, under the name and with the help text that it is served with.
    fn register(&mut self) {
        self.register_sources();
        self.register_endings();
        self.register_bytes();
        self.register_endings_in_detail();
        self.register_sockets();
        self.register_losses();
    }

    fn register_sources(&mut self) {
        let registry = &mut self.registry;
        let version = Word(env!("CARGO_PKG_VERSION"));
        registry.register(
            "build",
            "The version of lastbyte",
            Info::new(Build { version }),
        );
        registry.register(
            "source_available",
            "Whether a source of the watch is there and whole (1) or not (0)",
            self.sources.clone(),
        );
    }

    fn register_endings(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "endings",
            "Connections that ended, by fate and by whose FIN or RST came first",
            self.endings.clone(),
        );
        registry.register(
            "endings_by_evidence",
            "Connections that ended, by how that is known",
            self.by_evidence.clone(),
        );
    }

    fn register_bytes(&mut self) {
        let registry = &mut self.registry;
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
            "counts_unknown",
            "Ended connections of which a count of bytes is not known, and so in no sum",
            self.unknown.clone(),
        );
    }

    fn register_endings_in_detail(&mut self) {
        let registry = &mut self.registry;
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
    }

    fn register_sockets(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "closing_sockets",
            "Sockets in a closing state now",
            self.sockets.clone(),
        );
        registry.register(
            "time_wait_sockets",
            "Sockets in TIME_WAIT now",
            self.time_wait.clone(),
        );
        registry.register(
            "local_ports_left",
            "Local ports left to connect from, toward the destination that has the fewest",
            self.ports_left.clone(),
        );
    }

    fn register_losses(&mut self) {
        let registry = &mut self.registry;
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
    }

    /// Every series is there from the start: a rise from 0 is seen.
    fn begin(&self) {
        for of in FATES.map(fate) {
            let _ = self.lost.get_or_create(&ByFate { fate: of });
            for closed_first in SIDES.map(side) {
                let _ = self.endings.get_or_create(&Ended {
                    fate: of,
                    closed_first,
                });
            }
        }
        for evidence in [Evidence::Observed, Evidence::Inferred] {
            let evidence = Word(evidence.as_str());
            let _ = self.by_evidence.get_or_create(&KnownBy { evidence });
        }
        for count in COUNTS.map(Word) {
            let _ = self.unknown.get_or_create(&Count { count });
        }
        for by in SIDES.into_iter().flatten().map(|of| side(Some(of))) {
            let reasons = WORDS.iter().map(|(name, _)| Word(name));
            for reason in reasons.chain([UNKNOWN]) {
                let _ = self.resets.get_or_create(&Reset { by, reason });
            }
        }
        for (state, time) in CLOSING.into_iter().zip(TIMES) {
            let state = Word(state.as_str());
            let _ = self.sockets.get_or_create(&InState { state });
            let _ = self.times.get_or_create(&InState { state: Word(time) });
        }
        for source in SOURCES.map(Word) {
            let _ = self.sources.get_or_create(&FromSource { source });
        }
        for limit in [FOLLOWED, WAITING] {
            let _ = self.beyond.get_or_create(&Limit { limit });
        }
        for dropped in [&self.dropped_endings, &self.dropped_steps] {
            for by in [KERNEL, LASTBYTE] {
                let _ = dropped.get_or_create(&DroppedBy { by });
            }
        }
        // Nobody has looked yet.
        self.time_wait(None);
    }

    /// Counts an ending.
    pub fn ending(&self, ending: &Ending) {
        let fate = fate(ending.fate);
        let closed_first = side(ending.closed_first);
        self.endings
            .get_or_create(&Ended { fate, closed_first })
            .inc();
        let evidence = Word(ending.evidence.as_str());
        self.by_evidence.get_or_create(&KnownBy { evidence }).inc();
        let bytes = &ending.bytes;
        let counts = [
            bytes.sent,
            bytes.acked,
            bytes.received,
            bytes.lost,
            bytes.unread,
        ];
        for (count, known) in COUNTS.map(Word).into_iter().zip(counts) {
            if known.is_none() {
                self.unknown.get_or_create(&Count { count }).inc();
            }
        }
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

    /// Takes over what else the watch knows: its sources, what it could not report, and the
    /// sockets that are closing.
    pub fn update(&mut self, watcher: &Watcher) {
        self.sources(&watcher.sources());
        self.losses(watcher.losses());
        self.closing(watcher.tracker());
    }

    fn losses(&mut self, losses: Losses) {
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
    }

    fn closing(&self, tracker: &Tracker) {
        let mut numbers = [0; 5];
        for (_, socket) in tracker.living() {
            if let Some(at) = CLOSING.iter().position(|state| *state == socket.state) {
                numbers[at] += 1;
            }
        }
        for (state, number) in CLOSING.iter().zip(numbers) {
            self.sockets
                .get_or_create(&InState {
                    state: Word(state.as_str()),
                })
                .set(number);
        }
    }

    /// Takes over which sources there are.
    fn sources(&self, sources: &[Source]) {
        for source in sources {
            let there = i64::from(source.missing.is_none());
            let source = Word(source.name);
            self.sources
                .get_or_create(&FromSource { source })
                .set(there);
        }
    }

    /// Takes over a count of TIME_WAIT; `None` makes it unknown.
    pub fn time_wait(&self, seen: Option<&TimeWait>) {
        let number = |number: Option<u64>| number.map_or(f64::NAN, |number| number as f64);
        self.time_wait.set(number(seen.map(TimeWait::sockets)));
        self.ports_left
            .set(number(seen.and_then(TimeWait::fewest_ports_left)));
    }

    /// Returns the text that a scrape gets.
    #[must_use]
    pub fn encode(&self, format: Format) -> String {
        let mut open = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut open, &self.registry);
        match format {
            Format::OpenMetrics => open,
            Format::Text => text::downgrade(&open),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ending::Bytes;
    use crate::tuple::{Endpoint, Tuple};
    use lastbyte::{Fate, Side};

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
            mptcp: None,
            netns: None,
            cgroup: None,
            manner: crate::ending::Manner::default(),
        });
        let text = metrics.encode(Format::OpenMetrics);
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
