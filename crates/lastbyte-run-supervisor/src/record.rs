//! What became of each connection: the log's lines, and the sums.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lastbyte::{Fate, Report};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// The linger option that was found on the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    pub(crate) l_onoff: i32,
    pub(crate) l_linger: i32,
}

impl Found {
    /// On and no time: an abort.
    pub(crate) fn is_abort(self) -> bool {
        self.l_onoff != 0 && self.l_linger == 0
    }
}

/// Whose connection it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Origin {
    pub(crate) pid: libc::pid_t,
    pub(crate) comm: String,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) remote: Option<SocketAddr>,
    /// `None` of a connection that nobody was seen to close.
    pub(crate) linger: Option<Found>,
}

/// One line of the log.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// When the fate was known: UTC, RFC 3339, microseconds.
    pub(crate) time: String,
    #[serde(flatten)]
    pub(crate) origin: Origin,
    #[serde(flatten)]
    pub(crate) fate: Known,
}

/// What is known of the fate.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Known {
    Report(Report),
    Left(Left),
}

/// A connection that the kernel closed, or that is left to it: the contract's nine
/// fields, as far as they are known.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) fate: Fate,
    pub(crate) acked: Option<u64>,
    pub(crate) lost: Option<u64>,
    pub(crate) unsent: Option<u64>,
    pub(crate) unread: Option<u64>,
    pub(crate) rst_sent: Option<bool>,
    pub(crate) closed_first: Option<&'static str>,
    /// From the close to the fate, where both are known.
    pub(crate) elapsed: Option<Duration>,
    /// Why the contract was not kept; `None` where it was, or where that is not known.
    pub(crate) left: Option<&'static str>,
}

impl Left {
    /// We stopped watching so long after the close.
    pub(crate) fn unwatched(time: Duration) -> Self {
        Self {
            fate: Fate::Detached,
            acked: None,
            lost: None,
            unsent: None,
            unread: None,
            rst_sent: None,
            closed_first: None,
            elapsed: Some(time),
            left: None,
        }
    }
}

impl Serialize for Left {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 9 + usize::from(self.left.is_some());
        let mut line = serializer.serialize_struct("Left", fields)?;
        line.serialize_field("fate", self.fate.as_str())?;
        line.serialize_field("acked", &self.acked)?;
        line.serialize_field("lost", &self.lost)?;
        line.serialize_field("unsent", &self.unsent)?;
        line.serialize_field("unread", &self.unread)?;
        line.serialize_field("rst_sent", &self.rst_sent)?;
        line.serialize_field("closed_first", &self.closed_first)?;
        line.serialize_field("elapsed_us", &self.elapsed.map(micros))?;
        line.serialize_field("error", &None::<&str>)?;
        match self.left {
            Some(reason) => line.serialize_field("left_because", reason)?,
            None => line.skip_field("left_because")?,
        }
        line.end()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Sums over all endings of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sums {
    /// Endings, each fate's in the order of [`Fate::ALL`].
    pub fates: [u64; Fate::ALL.len()],
    /// Bytes acknowledged by the peers' TCP.
    pub acked: Sum,
    /// Bytes accepted by send() and never acknowledged.
    pub lost: Sum,
    /// Of those, bytes never transmitted.
    pub unsent: Sum,
    /// Input bytes discarded.
    pub unread: Sum,
}

/// A sum, and how often the number to add was not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// What is known.
    pub known: u64,
    /// How many endings are not in it.
    pub unknown: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.known = self.known.saturating_add(value),
            None => self.unknown += 1,
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unknown {
            0 => write!(f, "{}", self.known),
            unknown => write!(f, "{} (and unknown in {unknown})", self.known),
        }
    }
}

impl Sums {
    pub(crate) fn add(&mut self, known: &Known) {
        let (fate, [acked, lost, unsent, unread]) = match known {
            Known::Report(r) => (r.fate, [r.acked, r.lost, r.unsent, r.unread]),
            Known::Left(l) => (l.fate, [l.acked, l.lost, l.unsent, l.unread]),
        };
        let index = Fate::ALL.iter().position(|one| *one == fate);
        if let Some(count) = index.and_then(|index| self.fates.get_mut(index)) {
            *count += 1;
        }
        self.acked.add(acked);
        self.lost.add(lost);
        self.unsent.add(unsent);
        self.unread.add(unread);
    }

    /// How many endings there were.
    #[must_use]
    pub fn endings(&self) -> u64 {
        self.fates.iter().sum()
    }
}

impl fmt::Display for Sums {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endings = self.endings();
        write!(f, "{endings} ending{}", if endings == 1 { "" } else { "s" })?;
        for (index, (fate, count)) in Fate::ALL
            .iter()
            .zip(self.fates)
            .filter(|(_, count)| *count > 0)
            .enumerate()
        {
            write!(f, "{} {count} {fate}", if index == 0 { ":" } else { "," })?;
        }
        write!(
            f,
            "; bytes acknowledged {}, lost {}, of these never sent {}; input discarded {}",
            self.acked, self.lost, self.unsent, self.unread
        )
    }
}

/// Now, as RFC 3339 in UTC with microseconds.
pub(crate) fn timestamp() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format_time(now.as_secs(), now.subsec_micros())
}

/// Days to civil date by H. Hinnant's algorithm for years from 1970 on.
fn format_time(seconds: u64, micros: u32) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil() {
        assert_eq!(format_time(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            format_time(951_782_399, 999_999),
            "2000-02-28T23:59:59.999999Z"
        );
        assert_eq!(format_time(951_782_400, 1), "2000-02-29T00:00:00.000001Z");
        assert_eq!(format_time(4_107_542_399, 0), "2100-02-28T23:59:59.000000Z");
        assert_eq!(format_time(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn what_is_not_known_is_counted_apart() {
        let mut sums = Sums::default();
        sums.add(&Known::Left(Left::unwatched(Duration::from_micros(5))));
        assert_eq!(sums.endings(), 1);
        assert_eq!(
            sums.lost,
            Sum {
                known: 0,
                unknown: 1
            }
        );
        assert_eq!(
            sums.to_string(),
            "1 ending: 1 detached; bytes acknowledged 0 (and unknown in 1), lost 0 (and unknown \
             in 1), of these never sent 0 (and unknown in 1); input discarded 0 (and unknown in 1)"
        );
    }

    #[test]
    fn a_sum_names_each_fate_that_occurred() {
        let mut sums = Sums::default();
        let left = |fate, acked, lost| {
            Known::Left(Left {
                fate,
                acked: Some(acked),
                lost: Some(lost),
                unsent: Some(1),
                unread: Some(2),
                ..Left::unwatched(Duration::ZERO)
            })
        };
        sums.add(&left(Fate::Delivered, 10, 0));
        sums.add(&left(Fate::Delivered, 20, 0));
        sums.add(&left(Fate::Reset, 5, 7));
        assert_eq!(sums.endings(), 3);
        assert_eq!(
            sums.to_string(),
            "3 endings: 2 delivered, 1 reset; bytes acknowledged 35, lost 7, of these never sent \
             3; input discarded 6"
        );
    }

    /// On and 0, whatever number says on (socket(7)).
    #[test]
    fn an_abort_is_on_and_no_time() {
        for (l_onoff, l_linger, is_abort) in [
            (0, 0, false),
            (0, 5, false),
            (1, 0, true),
            (-1, 0, true),
            (1, 5, false),
            (1, -1, false),
        ] {
            assert_eq!(Found { l_onoff, l_linger }.is_abort(), is_abort);
        }
    }

    /// The contract's nine fields, and the reason only where there is one.
    #[test]
    fn a_line_of_the_log_has_the_contracts_fields() {
        let mut left = Left::unwatched(Duration::from_millis(2));
        let json = |left: &Left| serde_json::to_string(left).expect("plain");
        let nine = concat!(
            r#""fate":"detached","acked":null,"lost":null,"unsent":null,"unread":null,"#,
            r#""rst_sent":null,"closed_first":null,"elapsed_us":2000,"error":null"#
        );
        assert_eq!(json(&left), format!("{{{nine}}}"));
        left.left = Some("a reason");
        assert_eq!(
            json(&left),
            format!(r#"{{{nine},"left_because":"a reason"}}"#)
        );
    }
}
