//! Decides whether a cell is right, by the packets and the peer's bytes.

mod contract;
mod report;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;

use serde_json::Value;

use crate::axes::{Shared, Way, Who};
use crate::scene::Seen;

pub use contract::{Shape, row};
pub use report::faults;

/// What became of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The contract was kept; the row.
    Kept(&'static str),
    /// Exactly what the kernel does, and said.
    Kernels,
    /// Exactly what the kernel does; nothing that could say so was asked for.
    Unasked,
    /// The kernel does not allow the situation.
    NotApplicable(String),
    /// Neither, or a report that the packets do not bear out.
    Wrong(Vec<String>),
}

impl Verdict {
    /// The word for its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Verdict::Kept(_) => "kept",
            Verdict::Kernels => "kernel's, and said",
            Verdict::Unasked => "kernel's, nothing asked",
            Verdict::NotApplicable(_) => "not applicable",
            Verdict::Wrong(_) => "WRONG",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Kept(row) => write!(f, "kept ({row})"),
            Verdict::NotApplicable(why) => write!(f, "not applicable: {why}"),
            Verdict::Wrong(why) => write!(f, "WRONG: {}", why.join("\n  ")),
            other => f.write_str(other.kind()),
        }
    }
}

/// Judges what was seen. `control` plays the same situation without lastbyte, as
/// often as it is asked.
pub fn judge(seen: &Seen, control: &mut dyn FnMut() -> Option<Shape>) -> Verdict {
    if let Some(why) = &seen.not_applicable {
        return Verdict::NotApplicable(why.clone());
    }
    let mut wrong = Vec::new();
    wrong.extend(seen.hung.clone());
    wrong.extend(early_end(seen));
    wrong.extend(status(seen));
    let told = told(seen);
    for (at, report) in &told {
        wrong.extend(faults(seen, *at, report));
    }
    wrong.extend(telling(seen, &told));
    let kept = row(seen);
    let verdict = match kept {
        Ok(row) => Verdict::Kept(row),
        Err(why) if seen.cell.must_keep() => {
            wrong.push(format!("the contract is not kept: {why}"));
            Verdict::Wrong(Vec::new())
        }
        Err(why) => match kernels(seen, &told, control) {
            Ok(verdict) => verdict,
            Err(besides) => {
                wrong.push(format!("the contract is not kept: {why}"));
                wrong.push(besides);
                Verdict::Wrong(Vec::new())
            }
        },
    };
    if wrong.is_empty() {
        verdict
    } else {
        Verdict::Wrong(wrong)
    }
}

type Told = (lastbyte_lab::harness::Stamp, Value);

/// The reports of this connection, whoever gave them.
fn told(seen: &Seen) -> Vec<Told> {
    let mut told = seen.reports.clone();
    let (ours, peer) = (seen.wire.conn().ours, seen.wire.conn().peer);
    for line in &seen.log {
        let is = |key: &str, end: SocketAddr| address(&line[key]) == Some(end);
        if is("local", ours) && (is("remote", peer) || line["remote"].is_null()) {
            told.push((lastbyte_lab::harness::Stamp::now(), line.clone()));
        }
    }
    told
}

/// An address of the log as the wire has it: an IPv6 socket may have IPv4 below it.
fn address(value: &Value) -> Option<SocketAddr> {
    let address: SocketAddr = value.as_str()?.parse().ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// A close that was not the last one must end nothing.
fn early_end(seen: &Seen) -> Option<String> {
    let shut = seen.cell.before.shuts_writing();
    let shared = matches!(
        seen.cell.shared,
        Shared::Dup | Shared::Fork | Shared::ForkChild
    );
    let closing = seen.closing?;
    (shared && !shut && seen.wire.ended_before(closing))
        .then(|| "a close that was not the last one ended the connection".to_owned())
}

/// The program's own exit status is the command's.
fn status(seen: &Seen) -> Option<String> {
    if !seen.cell.who.runs() || seen.hung.is_some() {
        return None;
    }
    let in_child = seen.cell.shared == Shared::ForkChild;
    let expected = match seen.cell.way.signal() {
        Some(signal) if !in_child => 128 + signal,
        _ => 0,
    };
    (seen.status != Some(expected)).then(|| {
        format!(
            "exit status {:?} instead of {expected}; it said: {}",
            seen.status, seen.errors
        )
    })
}

/// Whether everything that was asked for was told, once.
fn telling(seen: &Seen, told: &[Told]) -> Option<String> {
    match seen.cell.who {
        Who::RunLog if told.len() > 1 => Some(format!("told {} times: {told:?}", told.len())),
        Who::RunLog if told.is_empty() && !accounted(seen) => Some(format!(
            "the log says nothing of the connection: {:?}",
            seen.log
        )),
        Who::RunSummary if seen.errors.contains("0 endings") && !accounted(seen) => Some(format!(
            "there was a connection, but it says: {}",
            seen.errors.trim()
        )),
        Who::RunSummary if !seen.errors.contains("ending") => {
            Some(format!("no summary: {:?}", seen.errors))
        }
        who if who.is_form()
            && !matches!(who, Who::Background | Who::TokioStream)
            && told.is_empty() =>
        {
            Some("no report came".to_owned())
        }
        _ => None,
    }
}

/// Whether the account of what was not covered has it.
fn accounted(seen: &Seen) -> bool {
    let in_log = seen.log.iter().any(|line| {
        let account = &line["left_to_kernel"];
        let uncovered = account["uncovered"].as_array();
        account["closes"].as_u64() > Some(0) || uncovered.is_some_and(|list| !list.is_empty())
    });
    let words = ["left to the kernel", "not covered"];
    in_log || words.iter().any(|words| seen.errors.contains(words))
}

/// Not the contract: then exactly what the kernel does, and said.
fn kernels(
    seen: &Seen,
    told: &[Told],
    control: &mut dyn FnMut() -> Option<Shape>,
) -> Result<Verdict, String> {
    let refused = |(_, report): &Told| report.get("refused").is_some();
    if told.iter().any(refused) {
        // The socket was given back; what became of it is the program's own doing.
        return Ok(Verdict::Kernels);
    }
    let shape = Shape::of(seen);
    let mut others = Vec::new();
    // The kernel itself does not do the same every time: whose packet comes first
    // may be a matter of microseconds.
    let same = (0..4).any(|_| match control() {
        Some(other) if other == shape => true,
        Some(other) => {
            others.push(other);
            false
        }
        None => false,
    });
    if !same {
        return Err(format!(
            "nor is it the kernel's: {shape:?} instead of {others:?}"
        ));
    }
    let failed = |report: &Value| {
        let fate = report.get("fate").and_then(Value::as_str);
        fate.is_none_or(|fate| !matches!(fate, "delivered" | "confirmed"))
    };
    match seen.cell.who {
        Who::Run | Who::Background | Who::TokioStream => Ok(Verdict::Unasked),
        Who::RunSummary if said_by_summary(seen) => Ok(Verdict::Kernels),
        _ if told.iter().any(|(_, report)| failed(report)) || accounted(seen) => {
            Ok(Verdict::Kernels)
        }
        _ => Err("it is the kernel's, but nothing says so".into()),
    }
}

fn said_by_summary(seen: &Seen) -> bool {
    let words = [
        "timed_out",
        "stalled",
        "reset",
        "failed",
        "aborted",
        "detached",
    ];
    accounted(seen) || words.iter().any(|word| seen.errors.contains(word))
}

/// Whether the way's result is one that the contract speaks of.
pub(crate) fn has_result(seen: &Seen) -> bool {
    let closes = matches!(seen.cell.way, Way::Close | Way::RawClose | Way::Fclose);
    closes || matches!(seen.cell.who, Who::Blocking | Who::Tokio | Who::Capi)
}
