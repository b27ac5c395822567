//! Measures ways to close TCP connections, side by side in one run.
//!
//! Every figure is a median over rounds in which all subjects take turns, so that
//! what else the machine does falls on all alike.

mod clock;
mod flat;
mod latency;
mod marks;
mod peer;
mod progress;
mod round;
mod row;
mod scenario;
mod subjects;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lastbyte_lab::harness::{Place, enter};

use progress::Progress;
use round::Effort;
use scenario::Scenario;
use subjects::Subject;

/// Ways to close TCP connections, side by side.
///
/// Ratios are to plain close(2) in the same round: CPU of the whole machine
/// (softirq and the peer's side counted, unrelated processes not) and of the
/// closing process alone. Runs in a network namespace of its own where that is
/// allowed.
///
/// Exit status: 0, 1 with --check when a mark is missed or was not measured, 2
/// when nothing could be measured.
#[derive(Debug, Parser)]
#[command(name = "lastbyte-bench")]
struct Args {
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 7, value_parser = at_least_one)]
    rounds: usize,
    /// Connections closed at once, 100 to 15900.
    #[arg(long, default_value_t = 9000, value_parser = connections)]
    connections: usize,
    /// Connections in flight where many are: slow readers, and the cost of a
    /// close beside many others. 100 to 15900.
    #[arg(long, default_value_t = 15_000, value_parser = connections)]
    in_flight: usize,
    /// Only these scenarios.
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// Only these subjects; plain is always measured.
    #[arg(long, value_delimiter = ',')]
    subject: Vec<Subject>,
    /// Before each measurement, wait so many seconds at most for other processes
    /// to pause.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    patience: f64,
    /// Judge the marks, and end with status 1 if one is missed.
    #[arg(long)]
    check: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Be the peer that a measurement starts for itself.
    #[arg(long, hide = true)]
    peer: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1".to_owned()),
        Ok(n) => Ok(n),
    }
}

/// Twice as many descriptors, and some, have to fit into two processes whose limit
/// may be 20 000.
fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 100..=15_900) => Ok(n),
        _ => Err("a number from 100 to 15900".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(s) if (0.0..=3600.0).contains(&s) => Ok(s),
        _ => Err("seconds, 0 to 3600".to_owned()),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.peer {
        return peer::run();
    }
    match measure(&args) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("lastbyte-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn measure(args: &Args) -> std::io::Result<ExitCode> {
    // Before there are threads.
    let place = enter();
    let progress = Progress::start();
    match &place {
        Place::Namespace => make_room(&progress),
        Place::Loopback { why } => progress.note(&format!("in this host's own network: {why}")),
    }
    let effort = Effort {
        rounds: args.rounds,
        connections: args.connections,
        patience: Duration::from_secs_f64(args.patience),
    };
    let subjects: Vec<Subject> = Subject::ALL
        .into_iter()
        .filter(|subject| {
            *subject == Subject::Plain || args.subject.is_empty() || args.subject.contains(subject)
        })
        .collect();
    let mut rows = Vec::new();
    let chosen = |scenario: &Scenario| args.scenario.is_empty() || args.scenario.contains(scenario);
    for scenario in Scenario::ALL.into_iter().filter(chosen) {
        let connections = match scenario {
            Scenario::SlowReaders => args.in_flight,
            _ => args.connections,
        };
        let effort = Effort {
            connections,
            ..effort
        };
        rows.extend(round::measure(scenario, &subjects, effort, &progress)?);
    }
    let flat = if chosen(&Scenario::SlowReaders) {
        let connections = args.in_flight;
        flat::measure(
            Effort {
                connections,
                ..effort
            },
            &progress,
        )?
    } else {
        Vec::new()
    };
    drop(progress);
    let marks = args.check.then(|| marks::judge(&rows, &flat));
    if args.json {
        let all = serde_json::json!({ "rows": rows, "in_flight": flat, "marks": marks });
        println!("{all}");
    } else {
        println!("{}", table::rows(&rows));
        if !flat.is_empty() {
            println!("\n{}", table::flat(&flat));
        }
    }
    let mut status = ExitCode::SUCCESS;
    for mark in marks.into_iter().flatten() {
        if !args.json {
            println!("{mark}");
        } else if !mark.met {
            eprintln!("{mark}");
        }
        if !mark.met {
            status = ExitCode::FAILURE;
        }
    }
    Ok(status)
}

/// Makes room for thousands of connections, again and again: where TIME_WAIT's
/// table is full the kernel behaves differently, and where half of the ports
/// are taken connect(2) searches them all.
fn make_room(progress: &Progress) {
    for (file, value) in [
        ("tcp_max_tw_buckets", "4000000"),
        ("ip_local_port_range", "1024 65535"),
    ] {
        let path = format!("/proc/sys/net/ipv4/{file}");
        if let Err(error) = std::fs::write(&path, value) {
            progress.note(&format!("{path} stays as it is: {error}"));
        }
    }
}
