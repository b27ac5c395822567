//! Many reports in one: what became of a whole server's bytes.

use std::fmt;
use std::ops::AddAssign;

use crate::report::{Fate, Report};

/// Adds up many reports: what became of a whole server's bytes.
///
/// Bytes are payload, as in [`Report`]. Where a report does not know a number, the
/// [`Total`] says so and keeps the sum of the others: one connection that could not
/// be seen does not hide what became of the rest.
///
/// ```
/// # use std::net::{TcpListener, TcpStream};
/// use lastbyte::{Linger, Sums};
/// # fn main() -> std::io::Result<()> {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut sums = Sums::default();
/// for _ in 0..3 {
///     let stream = TcpStream::connect(listener.local_addr()?)?;
///     sums.add(&lastbyte::close(stream, Linger::Abort)?);
/// }
/// assert_eq!((sums.connections, sums.aborted), (3, 3));
/// assert_eq!(sums.lost.exact(), Some(0));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sums {
    /// Number of all connections: those of each fate below and [`unseen`](Self::unseen).
    pub connections: u64,
    /// Number of connections with fate `delivered`.
    pub delivered: u64,
    /// Number of connections with fate `confirmed`.
    pub confirmed: u64,
    /// Number of connections with fate `timed_out`.
    pub timed_out: u64,
    /// Number of connections with fate `stalled`.
    pub stalled: u64,
    /// Number of connections with fate `reset`.
    pub reset: u64,
    /// Number of connections with fate `failed`.
    pub failed: u64,
    /// Number of connections with fate `aborted`.
    pub aborted: u64,
    /// Number of connections with fate `detached`.
    pub detached: u64,
    /// Number of connections that ended without a report: the kernel would not show them.
    pub unseen: u64,
    /// Bytes that the peers' TCP acknowledged.
    pub acked: Total,
    /// Bytes accepted by send() and never acknowledged.
    pub lost: Total,
    /// Of `lost` (and of what is detached and under way), bytes never
    /// transmitted.
    pub unsent: Total,
    /// Bytes of input discarded.
    pub unread: Total,
    /// Number of connections to which this host sent an RST.
    pub rst_sent: Total,
}

/// Adds up numbers some of which are not known.
///
/// ```
/// use lastbyte::Total;
///
/// let total: Total = [Some(30), None, Some(12)].into_iter().collect();
/// assert_eq!((total.known, total.unknown), (42, 1));
/// assert_eq!(total.exact(), None);
/// assert_eq!(total.to_string(), "at least 42 (1 unknown)");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Total {
    /// The sum of the numbers that are known; the whole is at least this.
    pub known: u64,
    /// The count of the numbers that are not known.
    pub unknown: u64,
}

impl Total {
    /// Returns the sum, if every number in it is known.
    #[must_use]
    pub const fn exact(self) -> Option<u64> {
        match self.unknown {
            0 => Some(self.known),
            _ => None,
        }
    }

    /// Adds a number, or with `None` one that is not known. A sum beyond `u64::MAX` stays there.
    pub const fn add(&mut self, number: Option<u64>) {
        match number {
            Some(number) => self.known = self.known.saturating_add(number),
            None => self.unknown = self.unknown.saturating_add(1),
        }
    }
}

impl AddAssign for Total {
    fn add_assign(&mut self, other: Self) {
        self.known = self.known.saturating_add(other.known);
        self.unknown = self.unknown.saturating_add(other.unknown);
    }
}

impl FromIterator<Option<u64>> for Total {
    fn from_iter<I: IntoIterator<Item = Option<u64>>>(numbers: I) -> Self {
        let mut total = Self::default();
        for number in numbers {
            total.add(number);
        }
        total
    }
}

impl fmt::Display for Total {
    /// `42`, or `at least 42 (1 unknown)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exact() {
            Some(sum) => write!(f, "{sum}"),
            None => write!(f, "at least {} ({} unknown)", self.known, self.unknown),
        }
    }
}

impl Sums {
    /// Adds a report.
    pub fn add(&mut self, report: &Report) {
        self.connections += 1;
        *self.of(report.fate) += 1;
        self.acked.add(report.acked);
        self.lost.add(report.lost);
        self.unsent.add(report.unsent);
        self.unread.add(report.unread);
        self.rst_sent.add(report.rst_sent.map(u64::from));
    }

    /// Adds a connection of whose end there is no report: an unknown number in each total.
    pub fn add_unseen(&mut self) {
        self.connections += 1;
        self.unseen += 1;
        for total in self.totals() {
            total.add(None);
        }
    }

    /// Returns how many connections had this fate.
    #[must_use]
    pub fn count(&self, fate: Fate) -> u64 {
        *Self::of(&mut { *self }, fate)
    }

    /// Returns whether every connection's data and FIN were acknowledged.
    #[must_use]
    pub const fn all_delivered(&self) -> bool {
        self.delivered + self.confirmed == self.connections
    }

    fn of(&mut self, fate: Fate) -> &mut u64 {
        match fate {
            Fate::Delivered => &mut self.delivered,
            Fate::Confirmed => &mut self.confirmed,
            Fate::TimedOut => &mut self.timed_out,
            Fate::Stalled => &mut self.stalled,
            Fate::Reset => &mut self.reset,
            Fate::Failed => &mut self.failed,
            Fate::Aborted => &mut self.aborted,
            Fate::Detached => &mut self.detached,
        }
    }

    fn totals(&mut self) -> [&mut Total; 5] {
        [
            &mut self.acked,
            &mut self.lost,
            &mut self.unsent,
            &mut self.unread,
            &mut self.rst_sent,
        ]
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, mut other: Self) {
        self.connections += other.connections;
        self.unseen += other.unseen;
        for &fate in Fate::ALL {
            *self.of(fate) += other.count(fate);
        }
        for (total, more) in self.totals().into_iter().zip(other.totals()) {
            *total += *more;
        }
    }
}

impl AddAssign<&Report> for Sums {
    fn add_assign(&mut self, report: &Report) {
        self.add(report);
    }
}

impl<'a> Extend<&'a Report> for Sums {
    fn extend<I: IntoIterator<Item = &'a Report>>(&mut self, reports: I) {
        for report in reports {
            self.add(report);
        }
    }
}

impl<'a> FromIterator<&'a Report> for Sums {
    fn from_iter<I: IntoIterator<Item = &'a Report>>(reports: I) -> Self {
        let mut sums = Self::default();
        sums.extend(reports);
        sums
    }
}

impl fmt::Display for Sums {
    /// One line for people: `5000 connections: 4990 delivered, 10 timed_out;
    /// 123456 bytes acknowledged, 789 lost`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections", self.connections)?;
        let fates = Fate::ALL
            .iter()
            .map(|&fate| (fate.as_str(), self.count(fate)));
        let mut between = ": ";
        for (name, n) in fates.chain([("unseen", self.unseen)]) {
            if n > 0 {
                write!(f, "{between}{n} {name}")?;
                between = ", ";
            }
        }
        write!(f, "; {} bytes acknowledged, {} lost", self.acked, self.lost)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Total {
    /// Writes `known` and `unknown`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut s = serializer.serialize_struct("Total", 2)?;
        s.serialize_field("known", &self.known)?;
        s.serialize_field("unknown", &self.unknown)?;
        s.end()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Sums {
    /// Writes every field by its name. A total in which a number is not known is null;
    /// `known` has the sums of those that are, and `unknown` the number of those that
    /// are not.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut s = serializer.serialize_struct("Sums", 17)?;
        s.serialize_field("connections", &self.connections)?;
        for &fate in Fate::ALL {
            s.serialize_field(fate.as_str(), &self.count(fate))?;
        }
        s.serialize_field("unseen", &self.unseen)?;
        s.serialize_field("acked", &self.acked.exact())?;
        s.serialize_field("lost", &self.lost.exact())?;
        s.serialize_field("unsent", &self.unsent.exact())?;
        s.serialize_field("unread", &self.unread.exact())?;
        s.serialize_field("rst_sent", &self.rst_sent.exact())?;
        s.serialize_field("known", &Each(self, |total| total.known))?;
        s.serialize_field("unknown", &Each(self, |total| total.unknown))?;
        s.end()
    }
}

/// One number of each total.
#[cfg(feature = "serde")]
struct Each<'a>(&'a Sums, fn(&Total) -> u64);

#[cfg(feature = "serde")]
impl serde::Serialize for Each<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let Self(sums, number) = self;
        let mut s = serializer.serialize_struct("Totals", 5)?;
        s.serialize_field("acked", &number(&sums.acked))?;
        s.serialize_field("lost", &number(&sums.lost))?;
        s.serialize_field("unsent", &number(&sums.unsent))?;
        s.serialize_field("unread", &number(&sums.unread))?;
        s.serialize_field("rst_sent", &number(&sums.rst_sent))?;
        s.end()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn exactly(known: u64) -> Total {
        Total { known, unknown: 0 }
    }

    fn report(fate: Fate, acked: Option<u64>, lost: Option<u64>) -> Report {
        Report {
            acked,
            lost,
            unsent: Some(1),
            unread: Some(2),
            rst_sent: Some(fate == Fate::TimedOut),
            ..Report::unknown(fate, Duration::ZERO)
        }
    }

    #[test]
    fn each_fate_is_counted_once() {
        let reports: Vec<_> = Fate::ALL
            .iter()
            .map(|&fate| report(fate, Some(10), Some(3)))
            .collect();
        let sums: Sums = reports.iter().collect();
        assert_eq!(sums.connections, 8);
        assert!(Fate::ALL.iter().all(|&fate| sums.count(fate) == 1));
        assert_eq!((sums.acked, sums.lost), (exactly(80), exactly(24)));
        assert_eq!((sums.unsent, sums.unread), (exactly(8), exactly(16)));
        assert_eq!(sums.rst_sent, exactly(1));
        assert!(!sums.all_delivered());
    }

    /// One connection that could not be seen hides nothing of the others.
    #[test]
    fn what_is_known_and_what_is_not_are_told_apart() {
        let mut sums = Sums::default();
        sums.add(&report(Fate::Detached, Some(10), None));
        sums.add(&report(Fate::TimedOut, Some(5), Some(7)));
        assert_eq!(sums.acked.exact(), Some(15));
        assert_eq!(sums.lost.exact(), None);
        assert_eq!((sums.lost.known, sums.lost.unknown), (7, 1));
        sums.add_unseen();
        sums.add(&report(Fate::Delivered, Some(20), Some(0)));
        assert_eq!((sums.connections, sums.unseen), (4, 1));
        assert!(!sums.all_delivered());
        let [acked, lost, unsent, unread, rst_sent] = sums.totals().map(|total| *total);
        assert_eq!((acked.known, acked.unknown, acked.exact()), (35, 1, None));
        assert_eq!((lost.known, lost.unknown), (7, 2));
        assert_eq!((unsent.known, unsent.unknown), (3, 1));
        assert_eq!((unread.known, unread.unknown), (6, 1));
        assert_eq!((rst_sent.known, rst_sent.unknown), (1, 1));
        assert_eq!(
            sums.to_string(),
            "4 connections: 1 delivered, 1 timed_out, 1 detached, 1 unseen; \
             at least 35 (1 unknown) bytes acknowledged, at least 7 (2 unknown) lost"
        );
        let mut twice = sums;
        twice += sums;
        assert_eq!((twice.lost.known, twice.lost.unknown), (14, 4));
        assert_eq!((twice.connections, twice.unseen), (8, 2));
    }

    #[test]
    fn all_delivered_counts_both_kinds_of_delivery_and_nothing_else() {
        let mut sums = Sums::default();
        assert!(sums.all_delivered());
        sums += &report(Fate::Delivered, Some(1), Some(0));
        sums += &report(Fate::Confirmed, Some(1), Some(0));
        assert!(sums.all_delivered());
        sums += &report(Fate::Detached, Some(1), Some(0));
        assert!(!sums.all_delivered());
    }

    /// A sum at its end stays there instead of starting again.
    #[test]
    fn totals_do_not_wrap() {
        let mut total = exactly(u64::MAX);
        total.add(Some(1));
        assert_eq!(total.exact(), Some(u64::MAX));
        total += exactly(1);
        assert_eq!(total.exact(), Some(u64::MAX));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn as_json() {
        let mut sums = Sums::default();
        sums.add(&report(Fate::TimedOut, Some(10), None));
        sums.add(&report(Fate::TimedOut, Some(20), Some(7)));
        assert_eq!(
            serde_json::to_string(&sums).unwrap(),
            concat!(
                r#"{"connections":2,"delivered":0,"confirmed":0,"timed_out":2,"stalled":0,"#,
                r#""reset":0,"failed":0,"aborted":0,"detached":0,"unseen":0,"#,
                r#""acked":30,"lost":null,"unsent":2,"unread":4,"rst_sent":2,"#,
                r#""known":{"acked":30,"lost":7,"unsent":2,"unread":4,"rst_sent":2},"#,
                r#""unknown":{"acked":0,"lost":1,"unsent":0,"unread":0,"rst_sent":0}}"#
            )
        );
    }

    #[test]
    fn sums_of_sums() {
        let reports: Vec<_> = Fate::ALL
            .iter()
            .map(|&fate| report(fate, Some(10), Some(3)))
            .collect();
        let (left, right) = reports.split_at(3);
        let mut sums: Sums = left.iter().collect();
        sums += right.iter().collect::<Sums>();
        assert_eq!(sums, reports.iter().collect());
        assert_eq!(
            sums.to_string(),
            "8 connections: 1 delivered, 1 confirmed, 1 timed_out, 1 stalled, 1 reset, \
             1 failed, 1 aborted, 1 detached; 80 bytes acknowledged, 24 lost"
        );
    }
}
