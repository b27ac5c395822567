//! The matrix. See the crate's documentation.
//!
//! `cargo test -p lastbyte-matrix --test matrix` plays cells in which all pairs of
//! values meet; `LASTBYTE_MATRIX=triples` all triples, `=situations` every
//! combination of socket, past, option, what waits and who closes, which are tens of
//! thousands: `LASTBYTE_MATRIX_PART=3/20` plays the third twentieth of the cells. A
//! cell's whole name as the filter plays that one, whether or not it is among them, and
//! `LASTBYTE_MATRIX_CELLS=FILE` those that the file names, one on each line.

mod workers;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use lastbyte_matrix::axes::Cell;
use lastbyte_matrix::cover;
use lastbyte_matrix::known::{Known, known};
use lastbyte_matrix::stage::{Programs, build_command};
use libtest_mimic::{Arguments, Failed};

use workers::{Answer, NO_STAGE, Workers};

fn main() -> ExitCode {
    if let Some(code) = workers::run_if_asked() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // Cells wait rather than compute.
    let threads = *arguments.test_threads.get_or_insert(24);
    let (cells, infeasible) = cells(arguments.filter.as_deref());
    let programs = match programs() {
        Ok(programs) => programs,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    let workers = Arc::new(Workers::new(
        programs,
        if arguments.list { 0 } else { threads },
    ));
    let known = known();
    let tally = Arc::new(Mutex::new(Vec::new()));
    let listed = known.len();
    let trials = cells.iter().map(|cell| {
        let (workers, tally) = (Arc::clone(&workers), Arc::clone(&tally));
        let known = known.get(&cell.to_string()).cloned();
        let cell = *cell;
        lastbyte_testkit::trial(cell.to_string(), move || {
            let answer = workers.play(&cell).map_err(Failed::from)?;
            if answer.kind == NO_STAGE {
                lastbyte_testkit::ignore(&answer.text);
            }
            let outcome = weigh(&answer, known.as_ref());
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.push((answer.kind, outcome.is_ok()));
            outcome
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if !arguments.list {
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        print_tally(&tally, infeasible, listed, began);
    }
    conclusion.exit_code()
}

/// A cell that is wrong fails, unless it is known to be; and then it fails if it is
/// right.
fn weigh(answer: &Answer, known: Option<&Known>) -> Result<(), Failed> {
    match (answer.kind == "WRONG", known) {
        (true, None) => Err(answer.text.clone().into()),
        (false, Some(known)) if !known.sometimes => Err(format!(
            "{}, although known_wrong.txt lists it ({}): take it out",
            answer.text, known.reason
        )
        .into()),
        _ => Ok(()),
    }
}

fn cells(filter: Option<&str>) -> (Vec<Cell>, usize) {
    if let Some(Ok(one)) = filter.map(str::parse::<Cell>) {
        return (vec![one], 0);
    }
    if let Ok(file) = std::env::var("LASTBYTE_MATRIX_CELLS") {
        return (listed(&file), 0);
    }
    let level = std::env::var("LASTBYTE_MATRIX").unwrap_or_default();
    let (cells, infeasible) = match level.as_str() {
        "situations" => (cover::situations(), 0),
        "triples" => {
            let cover = cover::cover(3);
            (cover.cells, cover.infeasible)
        }
        _ => {
            let cover = cover::cover(2);
            (cover.cells, cover.infeasible)
        }
    };
    match std::env::var("LASTBYTE_MATRIX_PART") {
        Ok(part) => (part_of(&cells, &part), infeasible),
        Err(_) => (cells, infeasible),
    }
}

/// The cells that a file names, one on each line.
fn listed(file: &str) -> Vec<Cell> {
    let text = std::fs::read_to_string(file).expect("LASTBYTE_MATRIX_CELLS names a file");
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
    names
        .map(|name| name.parse().expect("each line names a cell"))
        .collect()
}

/// The third twentieth where `part` is `3/20`: every twentieth cell, from the third on.
fn part_of(cells: &[Cell], part: &str) -> Vec<Cell> {
    let numbers = part.split_once('/').and_then(|(number, of)| {
        let (number, of) = (number.parse::<usize>().ok()?, of.parse::<usize>().ok()?);
        (1..=of).contains(&number).then_some((number, of))
    });
    let (number, of) = numbers.expect("LASTBYTE_MATRIX_PART is NUMBER/OF, such as 3/20");
    let cells = cells.iter().skip(number - 1).step_by(of);
    cells.copied().collect()
}

fn programs() -> Result<Programs, String> {
    Ok(Programs {
        plain: env!("CARGO_BIN_EXE_matrix-plain").into(),
        library: env!("CARGO_BIN_EXE_matrix-library").into(),
        command: build_command()?,
    })
}

fn print_tally(tally: &[(String, bool)], infeasible: usize, listed: usize, began: Instant) {
    let count = |kind: &str| tally.iter().filter(|(one, _)| one == kind).count();
    let known = tally
        .iter()
        .filter(|(kind, passed)| kind == "WRONG" && *passed)
        .count();
    let wrong = count("WRONG") - known;
    println!(
        "matrix: {} cells in {:.1} s: {} contract kept; {} exactly the kernel's and said; \
         {} exactly the kernel's, nothing asked; {} not applicable; {} known to be wrong \
         (of {listed} listed); {wrong} WRONG; {infeasible} combinations exclude each other",
        tally.len(),
        began.elapsed().as_secs_f64(),
        count("kept"),
        count("kernel's, and said"),
        count("kernel's, nothing asked"),
        count("not applicable"),
        known,
    );
}
