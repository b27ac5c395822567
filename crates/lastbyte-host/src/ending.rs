//! An ending as it is told: one value, one JSON line.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lastbyte::{Errno, Fate, Side};
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use crate::netns::Netns;
use crate::process::Process;
use crate::reason::Reason;
use crate::tuple::Role;
use crate::tuple::Tuple;

/// How one connection ended, as far as it could be known. `None` is unknown
/// throughout, never a guess.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// When the kernel destroyed its socket.
    pub time: SystemTime,
    /// When it was established.
    pub opened: Option<SystemTime>,
    /// Both ends; what the kernel had cleared is unknown.
    pub tuple: Tuple,
    /// The process that had it open.
    pub owner: Option<Process>,
    /// The process that closed it, or shut down its side.
    pub closer: Option<Process>,
    /// What became of its data, in the library's words.
    pub fate: Option<Fate>,
    /// The error with which the kernel gave it up, if it did.
    pub error: Option<Errno>,
    /// Whose FIN (or, in an abort, RST) came first.
    pub closed_first: Option<Side>,
    /// Whether an RST ended it, whose and why.
    pub rst: Option<Rst>,
    /// How many bytes of payload were sent, lost and so on.
    pub bytes: Bytes,
    /// Time in each closing state.
    pub states: Option<StateTimes>,
    /// Whether this was observed, or inferred.
    pub evidence: Evidence,
    /// Whether it was a subflow of an MPTCP connection: then everything here is about the subflow.
    pub mptcp: Option<bool>,
    /// The network namespace it was in.
    pub netns: Option<Arc<Netns>>,
    /// The control group of the process that had it open.
    pub cgroup: Option<Arc<str>>,
    /// Circumstances of the close, for whoever looks for its cause; not in the JSON line.
    pub(crate) manner: Manner,
}

/// Circumstances of a close, as far as they were observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Whether this end sent the SYN or accepted the connection.
    pub role: Option<Role>,
    /// Whether a descriptor still held the socket when the connection ended: then the
    /// process could be told how.
    pub held: Option<bool>,
    /// Whether the process had shut down its sending side, and that FIN was acknowledged,
    /// before it let the descriptor go.
    pub half_closed: Option<bool>,
    /// Whether the peer's FIN had come when our side was ended or reset.
    pub peer_closed: Option<bool>,
}

/// The counts of payload: SYN and FIN are never in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Accepted by send(): acknowledged or lost.
    pub sent: Option<u64>,
    /// Acknowledged by the peer's TCP.
    pub acked: Option<u64>,
    /// Arrived in order.
    pub received: Option<u64>,
    /// Accepted by send() and never acknowledged.
    pub lost: Option<u64>,
    /// Arrived and never read.
    pub unread: Option<u64>,
}

/// Whether an RST ended a connection, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rst {
    /// There was none.
    None,
    /// There was one.
    By {
        /// Who sent it.
        side: Side,
        /// Why; of a peer, only when it is on this host too.
        reason: Option<Reason>,
        /// Whether it was a listener's, closed over connections nobody accepted.
        listener: bool,
    },
}

impl Rst {
    /// Returns who sent it: `local`, `peer` or `none`.
    #[must_use]
    pub const fn by(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::By { side, .. } => side.as_str(),
        }
    }

    /// Returns the reason in plain words.
    #[must_use]
    pub fn words(self) -> Option<&'static str> {
        match self {
            Self::By { listener: true, .. } => Some(crate::reason::LISTENER_CLOSED),
            Self::By { reason, .. } => reason.map(Reason::words),
            Self::None => None,
        }
    }
}

/// Time spent in the states between the first FIN and the end. A state it never
/// was in has no time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateTimes {
    /// FIN sent, not acknowledged.
    pub fin_wait1: Option<Duration>,
    /// FIN acknowledged, waiting for the peer's.
    pub fin_wait2: Option<Duration>,
    /// Both FINs crossed.
    pub closing: Option<Duration>,
    /// The peer's FIN arrived, ours not sent yet: the application's time.
    pub close_wait: Option<Duration>,
    /// Both FINs sent, ours not acknowledged.
    pub last_ack: Option<Duration>,
}

impl StateTimes {
    /// Iterates over the states it was in, by name, in the order of RFC 9293.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        [
            ("fin_wait1", self.fin_wait1),
            ("fin_wait2", self.fin_wait2),
            ("closing", self.closing),
            ("close_wait", self.close_wait),
            ("last_ack", self.last_ack),
        ]
        .into_iter()
        .filter_map(|(name, time)| Some((name, time?)))
    }
}

/// How an ending is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The kernel reported each step as it happened, and the final counts.
    Observed,
    /// Deduced from the final counts or from an earlier look at the socket.
    Inferred,
}

impl Evidence {
    /// Returns `observed` or `inferred`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Inferred => "inferred",
        }
    }
}

impl Ending {
    /// Writes what [`to_json`](Self::to_json) returns, and a line's end.
    ///
    /// # Errors
    ///
    /// The writer's.
    pub fn write_json(&self, to: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *to, self)?;
        to.write_all(b"\n")
    }

    /// Returns one line of JSON, without the line's end. The format is documented in
    /// `docs/watch.md` and stable: keys are never removed or renamed.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| {
            // Maps with string keys, numbers and strings always serialize.
            unreachable!("an ending cannot be written as JSON: {error}")
        })
    }
}

impl Serialize for Ending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Ending", 23)?;
        s.serialize_field("time", &timestamp(self.time))?;
        s.serialize_field("local", &Text(self.tuple.local))?;
        s.serialize_field("remote", &Text(self.tuple.remote))?;
        s.serialize_field("pid", &self.owner.map(|p| p.pid))?;
        s.serialize_field("comm", &name(self.owner))?;
        s.serialize_field("fate", &self.fate.map(Fate::as_str))?;
        s.serialize_field("closed_first", &self.closed_first.map(Side::as_str))?;
        s.serialize_field("rst_by", &self.rst.map(Rst::by))?;
        s.serialize_field("rst_reason", &self.rst.and_then(Rst::words))?;
        s.serialize_field("sent", &self.bytes.sent)?;
        s.serialize_field("acked", &self.bytes.acked)?;
        s.serialize_field("received", &self.bytes.received)?;
        s.serialize_field("lost", &self.bytes.lost)?;
        s.serialize_field("unread", &self.bytes.unread)?;
        s.serialize_field("states_us", &self.states.map(Micros))?;
        s.serialize_field("evidence", self.evidence.as_str())?;
        s.serialize_field("opened", &self.opened.map(timestamp))?;
        s.serialize_field("closer_pid", &self.closer.map(|p| p.pid))?;
        s.serialize_field("closer_comm", &name(self.closer))?;
        let code = match self.rst {
            Some(Rst::By { reason, .. }) => reason.map(Reason::kernel_name),
            _ => None,
        };
        s.serialize_field("rst_code", &code)?;
        s.serialize_field("error", &self.error.map(Text))?;
        s.serialize_field("mptcp", &self.mptcp)?;
        let netns = self.netns.as_deref();
        s.serialize_field("netns", &netns.map(Text))?;
        s.serialize_field("netns_name", &netns.and_then(|netns| netns.name.as_deref()))?;
        s.serialize_field("cgroup", &self.cgroup.as_deref())?;
        s.end()
    }
}

fn name(process: Option<Process>) -> Option<crate::process::Comm> {
    process.map(|p| p.comm).filter(|comm| !comm.is_empty())
}

fn timestamp(time: SystemTime) -> Text<humantime::Rfc3339Timestamp> {
    Text(humantime::format_rfc3339_micros(time))
}

struct Text<T>(T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Micros(StateTimes);

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, time) in self.0.iter() {
            map.serialize_entry(name, &u64::try_from(time.as_micros()).unwrap_or(u64::MAX))?;
        }
        map.end()
    }
}

#[cfg(test)]
impl Ending {
    /// An ending of which nothing is known.
    pub(crate) fn unknown() -> Self {
        Self {
            time: SystemTime::UNIX_EPOCH,
            opened: None,
            tuple: Tuple::UNKNOWN,
            owner: None,
            closer: None,
            fate: None,
            error: None,
            closed_first: None,
            rst: None,
            bytes: Bytes::default(),
            states: None,
            evidence: Evidence::Inferred,
            mptcp: None,
            netns: None,
            cgroup: None,
            manner: Manner::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Comm;
    use crate::tuple::Endpoint;

    #[test]
    fn json_lines() {
        let app = Process {
            pid: 812,
            comm: Comm::from_bytes(b"app"),
        };
        let full = Ending {
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
            opened: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            tuple: Tuple {
                local: Endpoint::new([10, 0, 0, 1].into(), 80),
                remote: Endpoint::new(std::net::Ipv6Addr::LOCALHOST.into(), 40_000),
            },
            owner: Some(app),
            closer: Some(app),
            fate: Some(Fate::Failed),
            error: Some(Errno::from_raw(libc::ETIMEDOUT)),
            closed_first: Some(Side::Local),
            rst: Some(Rst::By {
                side: Side::Local,
                reason: Some(Reason::ABORT_ON_CLOSE),
                listener: false,
            }),
            bytes: Bytes {
                sent: Some(300),
                acked: Some(200),
                received: Some(7),
                lost: Some(100),
                unread: Some(3),
            },
            states: Some(StateTimes {
                fin_wait1: Some(Duration::from_micros(1500)),
                last_ack: Some(Duration::ZERO),
                ..StateTimes::default()
            }),
            evidence: Evidence::Observed,
            mptcp: Some(false),
            netns: Some(Arc::new(Netns {
                inode: 4_026_531_840,
                name: Some("blue".to_owned()),
                own: false,
            })),
            cgroup: Some("/system.slice/app.service".into()),
            manner: Manner::default(),
        };
        let lines = [full, Ending::unknown()].map(|ending| ending.to_json());
        insta::assert_snapshot!(lines.join("\n"));
    }
}
