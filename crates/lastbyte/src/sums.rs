//! Many reports in one: what became of a whole server's bytes.

use std::fmt;
use std::ops::AddAssign;

use crate::report::{Fate, Report};

/// The sums of many reports, as a drain gives them.
///
/// Bytes are payload, as in [`Report`]. A sum is `None` as soon as one number
/// in it is not known: a partial sum would be a guess.
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
/// assert_eq!(sums.lost, Some(0));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sums {
    /// Connections counted: the fates below and [`unseen`](Self::unseen).
    pub connections: u64,
    /// Connections with fate `delivered`.
    pub delivered: u64,
    /// Connections with fate `confirmed`.
    pub confirmed: u64,
    /// Connections with fate `timed_out`.
    pub timed_out: u64,
    /// Connections with fate `stalled`.
    pub stalled: u64,
    /// Connections with fate `reset`.
    pub reset: u64,
    /// Connections with fate `failed`.
    pub failed: u64,
    /// Connections with fate `aborted`.
    pub aborted: u64,
    /// Connections with fate `detached`.
    pub detached: u64,
    /// Connections that ended without a report: the kernel would not show them.
    pub unseen: u64,
    /// Bytes that the peers' TCP acknowledged.
    pub acked: Option<u64>,
    /// Bytes accepted by send() and never acknowledged.
    pub lost: Option<u64>,
    /// Of `lost` (and of what is detached and under way), bytes never
    /// transmitted.
    pub unsent: Option<u64>,
    /// Bytes of input discarded.
    pub unread: Option<u64>,
    /// Connections to which we sent an RST.
    pub rst_sent: Option<u64>,
}

impl Sums {
    /// Counts a report.
    pub fn add(&mut self, report: &Report) {
        self.connections += 1;
        *self.of(report.fate) += 1;
        add(&mut self.acked, report.acked);
        add(&mut self.lost, report.lost);
        add(&mut self.unsent, report.unsent);
        add(&mut self.unread, report.unread);
        add(&mut self.rst_sent, report.rst_sent.map(u64::from));
    }

    /// Counts a connection of whose end there is no report. The byte sums are
    /// unknown from then on.
    pub fn add_unseen(&mut self) {
        self.connections += 1;
        self.unseen += 1;
        for sum in self.bytes() {
            *sum = None;
        }
    }

    /// How many connections had this fate.
    #[must_use]
    pub fn count(&self, fate: Fate) -> u64 {
        *Self::of(&mut { *self }, fate)
    }

    /// Whether every connection's data and FIN were acknowledged.
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

    fn bytes(&mut self) -> [&mut Option<u64>; 5] {
        [
            &mut self.acked,
            &mut self.lost,
            &mut self.unsent,
            &mut self.unread,
            &mut self.rst_sent,
        ]
    }
}

impl Default for Sums {
    /// No connection, and nothing lost.
    fn default() -> Self {
        Self {
            connections: 0,
            delivered: 0,
            confirmed: 0,
            timed_out: 0,
            stalled: 0,
            reset: 0,
            failed: 0,
            aborted: 0,
            detached: 0,
            unseen: 0,
            acked: Some(0),
            lost: Some(0),
            unsent: Some(0),
            unread: Some(0),
            rst_sent: Some(0),
        }
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, mut other: Self) {
        self.connections += other.connections;
        self.unseen += other.unseen;
        for fate in Fate::ALL {
            *self.of(fate) += other.count(fate);
        }
        for (sum, more) in self.bytes().into_iter().zip(other.bytes()) {
            add(sum, *more);
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
        let fates = Fate::ALL.map(|fate| (fate.as_str(), self.count(fate)));
        let mut between = ": ";
        for (name, n) in fates.into_iter().chain([("unseen", self.unseen)]) {
            if n > 0 {
                write!(f, "{between}{n} {name}")?;
                between = ", ";
            }
        }
        match self.acked {
            Some(n) => write!(f, "; {n} bytes acknowledged")?,
            None => f.write_str("; bytes acknowledged unknown")?,
        }
        match self.lost {
            Some(n) => write!(f, ", {n} lost"),
            None => f.write_str(", bytes lost unknown"),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Sums {
    /// Every field by its name; sums that are not known are null.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut s = serializer.serialize_struct("Sums", 15)?;
        s.serialize_field("connections", &self.connections)?;
        for fate in Fate::ALL {
            s.serialize_field(fate.as_str(), &self.count(fate))?;
        }
        s.serialize_field("unseen", &self.unseen)?;
        s.serialize_field("acked", &self.acked)?;
        s.serialize_field("lost", &self.lost)?;
        s.serialize_field("unsent", &self.unsent)?;
        s.serialize_field("unread", &self.unread)?;
        s.serialize_field("rst_sent", &self.rst_sent)?;
        s.end()
    }
}

fn add(sum: &mut Option<u64>, more: Option<u64>) {
    *sum = sum.zip(more).map(|(sum, more)| sum.saturating_add(more));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(fate: Fate, acked: Option<u64>, lost: Option<u64>) -> Report {
        Report {
            fate,
            acked,
            lost,
            unsent: Some(1),
            unread: Some(2),
            rst_sent: Some(fate == Fate::TimedOut),
            closed_first: None,
            elapsed: Duration::ZERO,
            error: None,
        }
    }

    #[test]
    fn each_fate_is_counted_once() {
        let reports = Fate::ALL.map(|fate| report(fate, Some(10), Some(3)));
        let sums: Sums = reports.iter().collect();
        assert_eq!(sums.connections, 8);
        assert!(Fate::ALL.iter().all(|&fate| sums.count(fate) == 1));
        assert_eq!((sums.acked, sums.lost), (Some(80), Some(24)));
        assert_eq!((sums.unsent, sums.unread), (Some(8), Some(16)));
        assert_eq!(sums.rst_sent, Some(1));
        assert!(!sums.all_delivered());
    }

    #[test]
    fn an_unknown_number_makes_its_sum_unknown() {
        let mut sums = Sums::default();
        sums.add(&report(Fate::Detached, Some(10), None));
        sums.add(&report(Fate::Delivered, Some(5), Some(0)));
        assert_eq!((sums.acked, sums.lost), (Some(15), None));
        sums.add_unseen();
        assert_eq!((sums.connections, sums.acked), (3, None));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn as_json() {
        let mut sums = Sums::default();
        sums.add(&report(Fate::TimedOut, Some(10), None));
        assert_eq!(
            serde_json::to_string(&sums).unwrap(),
            r#"{"connections":1,"delivered":0,"confirmed":0,"timed_out":1,"stalled":0,"reset":0,"failed":0,"aborted":0,"detached":0,"unseen":0,"acked":10,"lost":null,"unsent":1,"unread":2,"rst_sent":1}"#
        );
    }

    #[test]
    fn sums_of_sums() {
        let reports = Fate::ALL.map(|fate| report(fate, Some(10), Some(3)));
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
