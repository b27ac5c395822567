//! Instructions per observation of the state machine, counted by callgrind: the
//! same on every run, whatever else the machine does.
//!
//! The program runs itself under valgrind with two numbers of repetitions; the
//! difference is what the repetitions cost.

use std::hint::black_box;
use std::process::{Command, ExitCode};

use lastbyte::bench::{Waiting, whole_ending};

const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, what, times] = &args[..]
        && let Ok(times) = times.parse()
    {
        return repeat(what, times);
    }
    for (what, title) in [
        ("look", "an observation that changes nothing"),
        ("ending", "a whole ending of three looks"),
    ] {
        match (count(what, FEW), count(what, MANY)) {
            (Ok(few), Ok(many)) => {
                let each = (many - few) as f64 / (MANY - FEW) as f64;
                println!("{each:>8.1} instructions  {title}");
            }
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("instructions skipped: {error}");
                return ExitCode::SUCCESS;
            }
        }
    }
    ExitCode::SUCCESS
}

fn repeat(what: &str, times: u64) -> ExitCode {
    match what {
        "look" => {
            let mut waiting = Waiting::begin();
            for _ in 0..times {
                black_box(&mut waiting).look();
            }
        }
        "ending" => {
            for _ in 0..times {
                black_box(whole_ending());
            }
        }
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// All instructions of a run with so many repetitions.
fn count(what: &str, times: u64) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .args([what, &times.to_string()])
        .output()
        .map_err(|e| format!("valgrind: {e} (Debian: valgrind)"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines()
        .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
        .ok_or_else(|| format!("valgrind counted nothing: {said}"))
}
