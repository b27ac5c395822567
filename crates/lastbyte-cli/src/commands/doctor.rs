//! `lastbyte doctor`: what is wrong with how this host's connections end.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use lastbyte_host::doctor::{Example, Finding, Observations, Severity, findings, observe};
use lastbyte_host::watch::Stop;
use lastbyte_host::watch::Watcher;

use super::watch::Scope;
use crate::argument;
use crate::output::{failed, note, output};
use crate::status::{DONE, NOT_SO, Status};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 nothing as grave as --fail-on says was found, 1 something was, 2 could not look, or standard output cannot be written."
)]
pub(crate) struct Args {
    /// Look for this long, such as 10s or 2m.
    #[arg(long = "for", value_name = "TIME", default_value = "10s",
          value_parser = argument::time)]
    time: Duration,
    /// Print one JSON line per finding.
    #[arg(long)]
    json: bool,
    /// Exit with status 1 from this severity on.
    #[arg(long, value_name = "SEVERITY", value_enum, default_value_t = FailOn::Problem)]
    fail_on: FailOn,
    #[command(flatten)]
    scope: Scope,
}

/// From where on a finding makes the exit status 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Any finding.
    Info,
    /// A warning or a problem.
    Warning,
    /// A problem.
    Problem,
    /// None.
    Never,
}

impl FailOn {
    fn met(self, found: &[Finding]) -> bool {
        let least = match self {
            Self::Info => Severity::Info,
            Self::Warning => Severity::Warning,
            Self::Problem => Severity::Problem,
            Self::Never => return false,
        };
        found.iter().any(|finding| finding.severity >= least)
    }
}

pub(crate) fn run(args: &Args) -> Status {
    match examine(args) {
        Ok(true) => NOT_SO,
        Ok(false) => DONE,
        Err(error) => failed(&error),
    }
}

fn examine(args: &Args) -> io::Result<bool> {
    let mut watcher = Watcher::open(args.scope.config_of_one()?)?;
    let stop = Stop::default().after(Some(args.time)).at_signals()?;
    for note in watcher.notes() {
        note!("{note}");
    }
    let progress = io::stderr().is_terminal();
    if !progress {
        let time = humantime::format_duration(args.time);
        note!("looking for {time}");
    }
    let seen = observe(&mut watcher, &stop, |seen| {
        if progress {
            say(format_args!(
                "\rlooking: {:.0} of {:.0} s, {} endings ",
                seen.window.as_secs_f64(),
                args.time.as_secs_f64(),
                seen.endings
            ));
        }
    })?;
    if progress {
        say(format_args!("\n"));
    }
    if let Some(missed) = seen.missed() {
        note!("{missed}");
    }
    let found = findings(&seen);
    let mut out = output();
    match args.json {
        true => lines(&mut out, &found)?,
        false => text(&mut out, &seen, &found)?,
    }
    out.flush()?;
    Ok(args.fail_on.met(&found))
}

/// Prints how far it is; standard error may be closed or full.
fn say(what: std::fmt::Arguments<'_>) {
    let _ = io::stderr().write_fmt(what);
}

fn lines(out: &mut impl Write, found: &[Finding]) -> io::Result<()> {
    for finding in found {
        serde_json::to_writer(&mut *out, finding)?;
        writeln!(out)?;
    }
    Ok(())
}

fn text(out: &mut impl Write, seen: &Observations, found: &[Finding]) -> io::Result<()> {
    let seconds = seen.window.as_secs_f64();
    if found.is_empty() {
        let result = match seen.is_whole() {
            true => "Nothing wrong",
            false => "Nothing found, but not everything could be seen",
        };
        return writeln!(
            out,
            "{result} in {seconds:.0} s: {} endings, {} sockets closing.",
            seen.endings,
            seen.closing()
        );
    }
    for (number, finding) in found.iter().enumerate() {
        let severity = finding.severity.as_str();
        writeln!(out, "{}. [{severity}] {}.", number + 1, finding.what)?;
        writeln!(out, "   Why:  {}", finding.why)?;
        writeln!(out, "   Cure: {}", finding.cure)?;
        if let Some(myth) = finding.myth {
            writeln!(out, "   Not:  {myth}")?;
        }
        if !finding.examples.is_empty() {
            let examples: Vec<String> = finding.examples.iter().map(example).collect();
            writeln!(out, "   Such as: {}", examples.join("; "))?;
        }
        writeln!(out, "   More: {}\n", finding.explained)?;
    }
    let number = |severity| found.iter().filter(|f| f.severity == severity).count();
    writeln!(
        out,
        "{}, {} and {} for information in {seconds:.0} s, {} endings.",
        count(number(Severity::Problem), "problem"),
        count(number(Severity::Warning), "warning"),
        number(Severity::Info),
        seen.endings
    )
}

/// `1 problem`, `2 problems`.
fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// `10.0.0.1:80 to 10.0.0.2:40000 (77 bytes lost, for 41 s)`
fn example(example: &Example) -> String {
    let mut more = Vec::new();
    if let Some(lost) = example.lost.filter(|lost| *lost > 0) {
        more.push(format!("{lost} bytes lost"));
    }
    if let Some(unread) = example.unread.filter(|unread| *unread > 0) {
        more.push(format!("{unread} bytes unread"));
    }
    if let Some(age) = example.age_s {
        more.push(format!("for {age} s"));
    }
    let more = match more.is_empty() {
        true => String::new(),
        false => format!(" ({})", more.join(", ")),
    };
    format!("{} to {}{more}", example.local, example.remote)
}
