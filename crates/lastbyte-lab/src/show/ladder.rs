//! One row's packets as a picture: a ladder for each subject, side by side.

use std::fmt::Write;

use crate::contract;
use crate::findings::Trace;
use crate::harness::From;
use crate::lab::{Outcome, RowResult};

/// One step of a ladder, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rung {
    /// Payload bytes in segments that followed each other, retransmissions not counted.
    Data {
        side: From,
        bytes: u64,
    },
    Fin(From),
    Rst(From),
    /// The call to close.
    Close,
}

/// The pictures' measures, in the units of the view box. Letters are large, because a
/// telephone shows the picture at half its size.
const PANEL: u32 = 300;
const STEP: u32 = 46;
const TOP: u32 = 122;
const NEAR: u32 = 40;
const FAR: u32 = PANEL - 40;

/// The row's first connection of each subject, as an SVG. `None` where no packets were
/// captured.
#[must_use]
pub fn ladder(result: &RowResult, names: &[&str]) -> Option<String> {
    let panels: Vec<_> = names
        .iter()
        .zip(&result.outcomes)
        .map(|(name, outcome)| Some((*name, outcome, rungs(outcome.traces().first()?))))
        .collect::<Option<_>>()?;
    let steps = panels.iter().map(|(.., rungs)| rungs.len()).max()?;
    let steps = u32::try_from(steps).ok()?;
    let width = PANEL * u32::try_from(panels.len()).ok()?;
    let bottom = TOP + STEP * steps;
    let row = result.row;
    let title = contract::situation(row.id).unwrap_or(row.manual);

    let mut svg = head(width, bottom + 98, row.id, title);
    for (x, (name, outcome, rungs)) in (0..).step_by(PANEL as usize).zip(&panels) {
        let _ = writeln!(svg, "<g transform=\"translate({x} 0)\">");
        lifelines(&mut svg, name, bottom);
        for (number, rung) in (0..).zip(rungs) {
            draw(&mut svg, rung, TOP + STEP * number + STEP / 2);
        }
        end(&mut svg, outcome, bottom);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// The packets without the handshake, mere acknowledgements, and what came after an RST.
fn rungs(trace: &Trace) -> Vec<Rung> {
    let mut rungs = Vec::new();
    let mut ends = [None, None];
    let mut called = false;
    for packet in trace.wire.packets() {
        if !called && packet.at >= trace.origin {
            called = true;
            rungs.push(Rung::Close);
        }
        let side = trace.wire.sender(packet);
        let end = packet.seq.wrapping_add(packet.len);
        if packet.flags.syn {
            ends[index(side)] = Some(end.wrapping_add(1));
            continue;
        }
        let before = ends[index(side)].get_or_insert(packet.seq);
        // Bytes beyond all that this side has sent: as a signed distance, across the wrap.
        let new = end.wrapping_sub(*before).cast_signed();
        if let Ok(new @ 1..) = u32::try_from(new) {
            *before = end;
            add(&mut rungs, side, u64::from(new));
        }
        if packet.flags.fin {
            push_once(&mut rungs, Rung::Fin(side));
        }
        if packet.flags.rst {
            rungs.push(Rung::Rst(side));
            break;
        }
    }
    if !called {
        rungs.push(Rung::Close);
    }
    rungs
}

const fn index(side: From) -> usize {
    match side {
        From::Us => 0,
        From::Peer => 1,
    }
}

/// Adds payload to the rung before, if that is payload of the same side.
fn add(rungs: &mut Vec<Rung>, side: From, new: u64) {
    match rungs.last_mut() {
        Some(Rung::Data { side: same, bytes }) if *same == side => *bytes += new,
        _ => rungs.push(Rung::Data { side, bytes: new }),
    }
}

/// A FIN that is transmitted again is no second one.
fn push_once(rungs: &mut Vec<Rung>, rung: Rung) {
    if !rungs.contains(&rung) {
        rungs.push(rung);
    }
}

/// The opening element, the colours of both schemes, and the title. The picture brings its
/// own ground: a page's scheme need not be the system's.
fn head(width: u32, height: u32, id: &str, title: &str) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">{id}: {title}</title>\n{STYLE}\
         <rect class=\"ground\" width=\"100%\" height=\"100%\" rx=\"10\"/>\n\
         <text class=\"title\" x=\"20\" y=\"36\">{id}: {title}</text>\n"
    )
}

const STYLE: &str = "\
<style>
  .ground { fill: #ffffff } text { fill: #1f2328; font: 19px system-ui, sans-serif }
  .title { font-weight: 600 } .middle { text-anchor: middle } .name { font: 600 19px ui-monospace, monospace }
  .quiet { fill: #59636e } .bad { fill: #b31d28 } .good { fill: #116329 }
  line, path { stroke: #59636e; stroke-width: 2; fill: none } .head { fill: #59636e; stroke: none }
  .rst { stroke: #b31d28 } .rsthead { fill: #b31d28; stroke: none } .close { fill: #0550ae }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } text { fill: #e6edf3 }
    .quiet { fill: #9198a1 } .bad { fill: #ff7b72 } .good { fill: #56d364 }
    line, path { stroke: #9198a1 } .head { fill: #9198a1 }
    .rst { stroke: #ff7b72 } .rsthead { fill: #ff7b72 } .close { fill: #79c0ff }
  }
</style>
";

fn lifelines(svg: &mut String, name: &str, bottom: u32) {
    let middle = PANEL / 2;
    let _ = writeln!(
        svg,
        "<text class=\"name middle\" x=\"{middle}\" y=\"76\">{}</text>",
        escape(name)
    );
    for (x, who) in [(NEAR, "us"), (FAR, "peer")] {
        let _ = writeln!(
            svg,
            "<text class=\"quiet middle\" x=\"{x}\" y=\"106\">{who}</text>\
             <line x1=\"{x}\" y1=\"114\" x2=\"{x}\" y2=\"{bottom}\"/>"
        );
    }
}

fn draw(svg: &mut String, rung: &Rung, y: u32) {
    let (side, label, reset) = match rung {
        Rung::Close => {
            let _ = writeln!(
                svg,
                "<circle class=\"close\" cx=\"{NEAR}\" cy=\"{y}\" r=\"6\"/>\
                 <text class=\"close\" x=\"{}\" y=\"{}\">close</text>",
                NEAR + 14,
                y + 6
            );
            return;
        }
        Rung::Data { side, bytes } => (*side, format!("{} bytes", thousands(*bytes)), false),
        Rung::Fin(side) => (*side, "FIN".to_owned(), false),
        Rung::Rst(side) => (*side, "RST".to_owned(), true),
    };
    let (from, to, back) = match side {
        From::Us => (NEAR + 4, FAR - 4, -10),
        From::Peer => (FAR - 4, NEAR + 4, 10),
    };
    let (line, head, text) = match reset {
        true => (" class=\"rst\"", "rsthead", "bad middle"),
        false => ("", "head", "middle"),
    };
    let below = y + 10;
    let _ = writeln!(
        svg,
        "<text class=\"{text}\" x=\"{}\" y=\"{}\">{label}</text>\
         <line{line} x1=\"{from}\" y1=\"{below}\" x2=\"{to}\" y2=\"{below}\"/>\
         <path class=\"{head}\" d=\"M{to} {below}l{back} -6v12z\"/>",
        PANEL / 2,
        y + 2
    );
}

/// Under the ladder: what the peer's program got, and whether the row was kept.
fn end(svg: &mut String, outcome: &Outcome, bottom: u32) {
    let (class, mark) = match outcome.kept() {
        true => ("good", "✓ kept"),
        false => ("bad", "✗ not kept"),
    };
    let saw = outcome.saw();
    let arrived = saw
        .split("; ")
        .find_map(|part| part.strip_prefix("the peer got "));
    let (bytes, end) = arrived
        .and_then(|arrived| arrived.split_once(", "))
        .unwrap_or_default();
    let middle = PANEL / 2;
    let _ = writeln!(
        svg,
        "<text class=\"middle\" x=\"{middle}\" y=\"{}\">{}</text>\
         <text class=\"middle\" x=\"{middle}\" y=\"{}\">{}</text>\
         <text class=\"{class} middle\" x=\"{middle}\" y=\"{}\">{mark}</text>",
        bottom + 28,
        escape(&grouped(bytes)),
        bottom + 54,
        escape(end),
        bottom + 80
    );
}

/// The text with its numbers in [`thousands`].
fn grouped(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.parse() {
        Ok(number) => thousands(number),
        Err(_) => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `2 103 293`, with spaces that do not break.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
