//! What became of the bytes, in the same words whoever saw it.

use std::fmt;
use std::time::Duration;

use crate::errno::Errno;

/// Names how a connection ended, in the words of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// Data and FIN were acknowledged by the peer's TCP (RFC 9293 §3.6).
    Delivered,
    /// Data and FIN were acknowledged, and the peer closed its side.
    Confirmed,
    /// The deadline passed first.
    TimedOut,
    /// The peer acknowledged nothing new for the policy's stall time.
    Stalled,
    /// The peer sent an RST.
    Reset,
    /// The connection broke otherwise, or it is not known that the peer broke it;
    /// [`Report::error`] has the reason.
    Failed,
    /// This host reset the connection, as asked.
    Aborted,
    /// The connection was left to the kernel or to the background closer; what becomes of
    /// it is not awaited, or cannot be seen.
    Detached,
}

impl Fate {
    /// Every fate, in the order of the contract.
    pub const ALL: &[Fate] = &[
        Fate::Delivered,
        Fate::Confirmed,
        Fate::TimedOut,
        Fate::Stalled,
        Fate::Reset,
        Fate::Failed,
        Fate::Aborted,
        Fate::Detached,
    ];

    /// Returns the word used in JSON, logs and metrics: `delivered`, `timed_out` ….
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Fate::Delivered => "delivered",
            Fate::Confirmed => "confirmed",
            Fate::TimedOut => "timed_out",
            Fate::Stalled => "stalled",
            Fate::Reset => "reset",
            Fate::Failed => "failed",
            Fate::Aborted => "aborted",
            Fate::Detached => "detached",
        }
    }

    /// Returns whether data and FIN were acknowledged: `delivered` or `confirmed`.
    #[must_use]
    pub const fn is_delivered(self) -> bool {
        matches!(self, Fate::Delivered | Fate::Confirmed)
    }

    /// Returns whether a close that ends so fails: `timed_out`, `stalled`, `reset` or
    /// `failed`.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(
            self,
            Fate::TimedOut | Fate::Stalled | Fate::Reset | Fate::Failed
        )
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Names an end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// This host.
    Local,
    /// The other end.
    Peer,
}

impl Side {
    /// Returns the word used in JSON, logs and metrics: `local` or `peer`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Local => "local",
            Side::Peer => "peer",
        }
    }
}

/// Reports what became of a connection's bytes.
///
/// Counts are payload: SYN and FIN are never in them. A number that could not be
/// known is `None`, never a guess. All describe the moment the fate was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How the connection ended.
    pub fate: Fate,
    /// Bytes of the connection's whole life that the peer's TCP acknowledged.
    pub acked: Option<u64>,
    /// Bytes that send() accepted and the peer never acknowledged. Zero when
    /// delivered; `None` when detached with bytes still under way. The peer may
    /// have received some of them, and not have come to acknowledge it. `None` also
    /// after an RST of ours where the kernel let nothing keep acknowledgements out in
    /// the last microseconds before it.
    pub lost: Option<u64>,
    /// Of [`lost`](Self::lost) (or, when detached, of what is under way), bytes
    /// that were never transmitted.
    pub unsent: Option<u64>,
    /// Bytes of input that arrived and were discarded.
    pub unread: Option<u64>,
    /// Whether this host sent an RST.
    pub rst_sent: Option<bool>,
    /// The side whose FIN (or, in an abort, RST) came first.
    pub closed_first: Option<Side>,
    /// The time from the call to the fate, by CLOCK_MONOTONIC.
    pub elapsed: Duration,
    /// The reason why a close failed: `EWOULDBLOCK` (time ran out), `ECONNRESET`, or what
    /// the kernel gave up with; with `detached`, what kept a close that was to wait
    /// from seeing how it goes on. `None` also where a read or write of the program's
    /// has taken the error.
    pub error: Option<Errno>,
}

impl Report {
    /// Makes a report in which only the fate and the time are known. Every report begins
    /// with this.
    #[inline]
    pub(crate) const fn unknown(fate: Fate, elapsed: Duration) -> Self {
        Self {
            fate,
            acked: None,
            lost: None,
            unsent: None,
            unread: None,
            rst_sent: None,
            closed_first: None,
            elapsed,
            error: None,
        }
    }

    /// Reports a connection that was left to the kernel's own close, because the kernel
    /// does not show or do what an ending needs. `error` says what failed, where somebody
    /// waits.
    pub(crate) const fn left_to_kernel(
        closed_first: Option<Side>,
        elapsed: Duration,
        error: Option<Errno>,
    ) -> Self {
        Self {
            closed_first,
            error,
            ..Self::unknown(Fate::Detached, elapsed)
        }
    }
}

impl fmt::Display for Report {
    /// One line for people: `timed_out: 1024 bytes acknowledged, 2048 lost (1000
    /// never sent), RST sent, EWOULDBLOCK after 2.000s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fate)?;
        match self.acked {
            Some(n) => write!(f, ": {n} bytes acknowledged")?,
            None => write!(f, ": bytes acknowledged unknown")?,
        }
        if let Some(lost) = self.lost.filter(|&n| n > 0) {
            write!(f, ", {lost} lost")?;
            if let Some(unsent) = self.unsent.filter(|&n| n > 0) {
                write!(f, " ({unsent} never sent)")?;
            }
        }
        if let Some(unread) = self.unread.filter(|&n| n > 0) {
            write!(f, ", {unread} input bytes discarded")?;
        }
        if self.rst_sent == Some(true) {
            f.write_str(", RST sent")?;
        }
        if let Some(error) = self.error {
            write!(f, ", {error}")?;
        }
        write!(f, " after {:.3}s", self.elapsed.as_secs_f64())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Fate {
    /// Writes the word of [`as_str`](Self::as_str).
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Side {
    /// Writes the word of [`as_str`](Self::as_str).
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Report {
    /// Writes the nine fields of the contract's section G, in its order.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut s = serializer.serialize_struct("Report", 9)?;
        s.serialize_field("fate", &self.fate)?;
        s.serialize_field("acked", &self.acked)?;
        s.serialize_field("lost", &self.lost)?;
        s.serialize_field("unsent", &self.unsent)?;
        s.serialize_field("unread", &self.unread)?;
        s.serialize_field("rst_sent", &self.rst_sent)?;
        s.serialize_field("closed_first", &self.closed_first)?;
        let elapsed_us = u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX);
        s.serialize_field("elapsed_us", &elapsed_us)?;
        s.serialize_field("error", &self.error)?;
        s.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's section G, word by word.
    #[test]
    fn each_fate_has_the_contracts_word_and_is_a_delivery_or_a_failure_or_neither() {
        let table = [
            ("delivered", true, false),
            ("confirmed", true, false),
            ("timed_out", false, true),
            ("stalled", false, true),
            ("reset", false, true),
            ("failed", false, true),
            ("aborted", false, false),
            ("detached", false, false),
        ];
        let said: Vec<_> = Fate::ALL
            .iter()
            .map(|fate| (fate.as_str(), fate.is_delivered(), fate.is_failure()))
            .collect();
        assert_eq!(said, table);
        assert!(
            Fate::ALL
                .iter()
                .all(|fate| fate.to_string() == fate.as_str())
        );
        assert_eq!(
            (Side::Local.as_str(), Side::Peer.as_str()),
            ("local", "peer")
        );
    }

    #[test]
    fn a_failed_close_is_one_line_with_all_that_was_lost() {
        let report = Report {
            acked: Some(1024),
            lost: Some(2048),
            unsent: Some(1000),
            unread: Some(7),
            rst_sent: Some(true),
            error: Some(Errno::EWOULDBLOCK),
            ..Report::unknown(Fate::TimedOut, Duration::from_secs(2))
        };
        let line = report.to_string();
        assert!(
            line.starts_with(
                "timed_out: 1024 bytes acknowledged, 2048 lost (1000 never sent), \
                 7 input bytes discarded, RST sent, "
            ),
            "{line}"
        );
        assert!(line.ends_with(" after 2.000s"), "{line}");
        let transmitted = Report {
            unsent: Some(0),
            ..report
        };
        assert!(!transmitted.to_string().contains("never sent"));
    }

    #[test]
    fn a_line_leaves_out_what_did_not_happen_and_names_what_is_unknown() {
        let delivered = Report {
            acked: Some(5),
            lost: Some(0),
            unsent: Some(0),
            unread: Some(0),
            rst_sent: Some(false),
            ..Report::unknown(Fate::Delivered, Duration::from_millis(1500))
        };
        assert_eq!(
            delivered.to_string(),
            "delivered: 5 bytes acknowledged after 1.500s"
        );
        let unknown = Report::left_to_kernel(Some(Side::Peer), Duration::ZERO, None);
        assert_eq!(
            unknown.to_string(),
            "detached: bytes acknowledged unknown after 0.000s"
        );
    }

    /// No count is known, and none is guessed.
    #[test]
    fn what_is_left_to_the_kernel_has_a_side_and_an_error_at_most() {
        let time = Duration::from_millis(3);
        let report = Report::left_to_kernel(Some(Side::Local), time, Some(Errno::ETIMEDOUT));
        assert_eq!((report.fate, report.elapsed), (Fate::Detached, time));
        assert_eq!(report.closed_first, Some(Side::Local));
        assert_eq!(report.error, Some(Errno::ETIMEDOUT));
        let counts = [report.acked, report.lost, report.unsent, report.unread];
        assert_eq!((counts, report.rst_sent), ([None; 4], None));
    }
}
