//! What a subject's samples come to.

use serde::Serialize;

use crate::clock::Spent;

/// A line of the table. What was not measured is null.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: &'static str,
    pub(crate) subject: &'static str,
    /// Whole-machine CPU of a close over that of plain close(2) in the same
    /// round: the median of the rounds.
    pub(crate) cpu_vs_plain: Option<f64>,
    /// The same of the closing process alone.
    pub(crate) process_cpu_vs_plain: Option<f64>,
    /// Closes per second whose wait for the ACK is over; null where nobody waits.
    pub(crate) closes_per_s: Option<f64>,
    pub(crate) ack_to_report_p99_us: Option<f64>,
    /// Heap in use while all are in flight, per ending.
    pub(crate) bytes_per_ending: Option<f64>,
    /// Threads of the closing process, the caller's included.
    pub(crate) threads: usize,

    /// Connections closed in a round.
    pub(crate) connections: usize,
    /// Whole-machine CPU of a close, microseconds.
    pub(crate) cpu_us: f64,
    /// The least and the most of the rounds.
    pub(crate) cpu_us_spread: [f64; 2],
    /// CPU of the closing process, microseconds.
    pub(crate) process_cpu_us: f64,
    pub(crate) ack_to_report_p50_us: Option<f64>,
    /// The server scenario's requests per second.
    pub(crate) requests_per_s: Option<f64>,
    /// What unrelated processes used of the machine meanwhile, 0 to 1.
    pub(crate) noise: f64,
}

/// One subject's turn in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) closes: usize,
    pub(crate) spent: Spent,
    pub(crate) wall: std::time::Duration,
    pub(crate) bytes_per_ending: Option<f64>,
    pub(crate) threads: usize,
}

impl Sample {
    pub(crate) fn cpu_us(&self) -> f64 {
        self.spent.machine.as_secs_f64() * 1e6 / self.closes as f64
    }

    pub(crate) fn process_cpu_us(&self) -> f64 {
        self.spent.process.as_secs_f64() * 1e6 / self.closes as f64
    }

    pub(crate) fn per_s(&self) -> f64 {
        self.closes as f64 / self.wall.as_secs_f64()
    }
}

/// The median over rounds of what `of` says about each.
pub(crate) fn median_of(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    median(samples.iter().map(of).collect())
}

/// The median of each round's ratio: what slows a whole round falls on both.
pub(crate) fn ratio(
    samples: &[Sample],
    plain: &[Sample],
    of: impl Fn(&Sample) -> f64,
) -> Option<f64> {
    let ratios: Vec<f64> = samples
        .iter()
        .zip(plain)
        .map(|(sample, plain)| of(sample) / of(plain))
        .filter(|ratio| ratio.is_finite())
        .collect();
    (!ratios.is_empty()).then(|| median(ratios))
}

pub(crate) fn spread(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> [f64; 2] {
    samples
        .iter()
        .map(of)
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
            [low.min(value), high.max(value)]
        })
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// The value that `share` of all do not exceed.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.99), Some(99.0));
        assert_eq!(quantile(&hundred, 0.5), Some(50.0));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
    }
}
