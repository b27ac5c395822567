//! Measures ways to close TCP connections, side by side in one run.
//!
//! Every figure is a median over rounds in which all subjects take turns, so that
//! what else the machine does falls on all alike.

mod clock;
mod peer;
mod round;
mod scenario;
mod subjects;
mod table;

use std::process::ExitCode;

use clap::Parser;

use scenario::Scenario;
use subjects::Subject;

/// Ways to close TCP connections, side by side.
///
/// Ratios are to plain close(2) in the same run: CPU of the whole machine
/// (softirq and the peer's side counted) and of the closing process alone.
#[derive(Debug, Parser)]
#[command(name = "lastbyte-bench")]
struct Args {
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Connections closed at once.
    #[arg(long, default_value_t = 9000)]
    connections: usize,
    /// Only these scenarios.
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// Only these subjects; plain is always measured.
    #[arg(long, value_delimiter = ',')]
    subject: Vec<Subject>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Be the peer that a measurement starts for itself.
    #[arg(long, hide = true)]
    peer: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.peer {
        return peer::run();
    }
    match measure(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lastbyte-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> std::io::Result<()> {
    let chosen = |all: &[Scenario], some: &[Scenario]| match some {
        [] => all.to_vec(),
        some => some.to_vec(),
    };
    let mut rows = Vec::new();
    for scenario in chosen(&Scenario::ALL, &args.scenario) {
        let subjects: Vec<Subject> = Subject::ALL
            .into_iter()
            .filter(|&subject| {
                subject == Subject::Plain
                    || args.subject.is_empty()
                    || args.subject.contains(&subject)
            })
            .collect();
        rows.extend(round::measure(
            scenario,
            &subjects,
            args.rounds,
            args.connections,
        )?);
    }
    if args.json {
        println!("{}", serde_json::json!({ "rows": rows }));
    } else {
        print!("{}", table::render(&rows));
    }
    Ok(())
}
