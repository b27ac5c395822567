//! `lastbyte doctor`: what is wrong with how this host's connections end.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use lastbyte_host::doctor::{Finding, Observations, findings, look};
use lastbyte_host::stop::Stop;
use lastbyte_host::watcher::Watcher;

use super::watch::Scope;
use crate::output::{failed, output};
use crate::status::{DONE, NOT_SO, Status};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 nothing found, 1 something found, 2 could not look, or standard output cannot be written."
)]
pub(crate) struct Args {
    /// Look for this long, such as 10s or 2m.
    #[arg(long = "for", value_name = "TIME", default_value = "10s",
          value_parser = humantime::parse_duration)]
    time: Duration,
    /// Print one JSON line per finding.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    scope: Scope,
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
        eprintln!("lastbyte: {note}");
    }
    let progress = io::stderr().is_terminal();
    if !progress {
        let time = humantime::format_duration(args.time);
        eprintln!("lastbyte: looking for {time}");
    }
    let seen = look(&mut watcher, &stop, |seen| {
        if progress {
            eprint!(
                "\rlooking: {:.0} of {:.0} s, {} endings ",
                seen.window.as_secs_f64(),
                args.time.as_secs_f64(),
                seen.endings
            );
        }
    })?;
    if progress {
        eprintln!();
    }
    let found = findings(&seen);
    let mut out = output();
    match args.json {
        true => lines(&mut out, &found)?,
        false => text(&mut out, &seen, &found)?,
    }
    out.flush()?;
    Ok(!found.is_empty())
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
        return writeln!(
            out,
            "Nothing wrong in {seconds:.0} s: {} endings, {} sockets closing.",
            seen.endings,
            seen.stuck.len()
        );
    }
    for (number, finding) in found.iter().enumerate() {
        writeln!(out, "{}. {}.", number + 1, finding.what)?;
        writeln!(out, "   Why:  {}", finding.why)?;
        writeln!(out, "   Cure: {}", finding.cure)?;
        if let Some(myth) = finding.myth {
            writeln!(out, "   Not:  {myth}")?;
        }
        writeln!(out, "   More: {}\n", finding.explained)?;
    }
    writeln!(
        out,
        "{} found in {seconds:.0} s, {} endings.",
        found.len(),
        seen.endings
    )
}
