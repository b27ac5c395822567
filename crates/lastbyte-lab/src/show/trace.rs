//! One row with its packets in order, timed from the call to close on.

use std::fmt::Write;

use crate::findings::Trace;
use crate::harness::{From, Packet, ms};
use crate::lab::RowResult;

/// More than this of one connection is cut in the middle: data packets, mostly.
const SHOWN: usize = 60;

/// The row, what each subject did, and the packets of each connection.
#[must_use]
pub fn trace(result: &RowResult, names: &[&str]) -> String {
    let mut text = format!("{}  {}\n", result.row.id, result.row.manual);
    for (name, outcome) in names.iter().zip(&result.outcomes) {
        let word = match outcome {
            o if o.not_run().is_some() => "not run",
            o if o.kept() => "kept",
            _ => "not kept",
        };
        let _ = write!(text, "\n{name}: {word}. {}\n", outcome.saw());
        for fault in outcome.faults() {
            let _ = writeln!(text, "  demanded otherwise: {fault}");
        }
        for trace in outcome.traces() {
            connection(&mut text, trace);
        }
    }
    text
}

fn connection(text: &mut String, trace: &Trace) {
    let _ = writeln!(text, "\n  {}", trace.label);
    let packets = trace.wire.packets();
    let mut returned = trace.returned;
    let mut called = Some(trace.origin);
    // Sequence numbers count from each side's SYN, as tcpdump shows them.
    let base = |side| {
        packets
            .iter()
            .find(|p| p.flags.syn && trace.wire.sender(p) == side)
            .map_or(0, |p| p.seq)
    };
    let (ours, theirs) = (base(From::Us), base(From::Peer));
    let hidden = packets.len().saturating_sub(SHOWN);
    let cut = SHOWN / 2..SHOWN / 2 + hidden;
    for (index, packet) in packets.iter().enumerate() {
        if called.is_some_and(|at| packet.at >= at) {
            called = None;
            let _ = writeln!(text, "  {:>12}  close called", "0");
        }
        if let Some(at) = returned.filter(|&at| packet.at > at) {
            returned = None;
            let _ = writeln!(text, "  {:>+12.3}  close returned", at - trace.origin);
        }
        if hidden > 0 && index == cut.start {
            let _ = writeln!(text, "  {:>12}  ({hidden} packets more)", "…");
        }
        if cut.contains(&index) {
            continue;
        }
        line(text, trace, packet, ours, theirs);
    }
    if called.is_some() {
        let _ = writeln!(text, "  {:>12}  close called", "0");
    }
    if let Some(at) = returned {
        let _ = writeln!(text, "  {:>+12.3}  close returned", at - trace.origin);
    }
    let _ = writeln!(
        text,
        "  (times in ms; it took {})",
        ms(trace.returned.map_or(0.0, |at| at - trace.origin))
    );
}

fn line(text: &mut String, trace: &Trace, packet: &Packet, ours: u32, theirs: u32) {
    let (arrow, seq, ack) = match trace.wire.sender(packet) {
        From::Us => ("us → peer", ours, theirs),
        From::Peer => ("peer → us", theirs, ours),
    };
    let _ = write!(
        text,
        "  {:>+12.3}  {arrow}  {:<11} seq {}",
        packet.at - trace.origin,
        packet.flags.to_string(),
        packet.seq.wrapping_sub(seq)
    );
    if packet.flags.ack {
        let _ = write!(text, " ack {}", packet.ack.wrapping_sub(ack));
    }
    let _ = write!(text, " win {}", packet.window);
    if packet.len > 0 {
        let _ = write!(text, "  {} bytes", packet.len);
    }
    text.push('\n');
}
