//! The contract, row by row, against the real kernel: lastbyte keeps them,
//! close(2) does not, and a closer that is broken on purpose is found out.

mod broken;

use std::process::ExitCode;
use std::sync::Arc;

use lastbyte_lab::{Lab, Lastbyte, Outcome, Plain, ROWS, Row, Subject, harness, row};
use lastbyte_testkit::ignore;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    if let Some(code) = lastbyte_lab::run_if_asked() {
        return code;
    }
    let place = harness::enter();
    println!("running in: {place:?}");
    let lab = Arc::new(Lab::new(place));

    let mut arguments = Arguments::from_args();
    // The rows wait rather than compute.
    arguments.test_threads.get_or_insert(16);

    let mut trials = Vec::new();
    for row in ROWS {
        trials.push(trial(&lab, row.test_name(), |lab| lastbyte_keeps(lab, row)));
    }
    for id in ["B2", "B3", "D2", "D3", "D5", "D6", "E1"] {
        let row = row(id).expect("a row of the contract");
        let name = format!("close_fails_{}", row.test_name());
        trials.push(trial(&lab, name, |lab| close_fails(lab, row)));
    }
    for id in ["A1", "A4", "B1", "C1", "C2", "C3", "D1", "D4", "D8"] {
        let row = row(id).expect("a row of the contract");
        let name = format!("close_keeps_{}", row.test_name());
        trials.push(trial(&lab, name, |lab| close_keeps(lab, row)));
    }
    for case in broken::CASES {
        let name = format!("found_out_{}", case.name);
        trials.push(trial(&lab, name, |lab| broken::found_out(lab, case)));
    }
    trials.push(trial(&lab, "every_row_can_fail".into(), |_| {
        broken::every_row_can_fail()
    }));
    lastbyte_testkit::run(&arguments, trials)
}

fn trial(
    lab: &Arc<Lab>,
    name: String,
    test: impl FnOnce(&Lab) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let lab = Arc::clone(lab);
    lastbyte_testkit::trial(name, move || test(&lab))
}

fn lastbyte_keeps(lab: &Lab, row: &'static Row) -> Result<(), Failed> {
    kept(lab.try_row(row, Arc::new(Lastbyte)))
}

fn close_keeps(lab: &Lab, row: &'static Row) -> Result<(), Failed> {
    kept(lab.try_row(row, Arc::new(Plain)))
}

fn kept(outcome: Outcome) -> Result<(), Failed> {
    if outcome.kept() {
        return Ok(());
    }
    demand_run(&outcome);
    Err(format!(
        "not kept: {}\n  {}",
        outcome.saw(),
        outcome.faults().join("\n  ")
    )
    .into())
}

fn close_fails(lab: &Lab, row: &'static Row) -> Result<(), Failed> {
    let outcome = lab.try_row(row, Arc::new(Plain) as Arc<dyn Subject>);
    demand_run(&outcome);
    red(&outcome).map_err(|saw| format!("plain close(2) was not found out: {saw}").into())
}

/// Ends the test as ignored where the system lacks what the row needs.
fn demand_run(outcome: &Outcome) {
    if let Some(why) = outcome.not_run() {
        ignore(why);
    }
}

/// Not kept for a reason that the row found, rather than not run or broken.
fn red(outcome: &Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Ran(findings) if !findings.kept() => Ok(()),
        other => Err(other.saw()),
    }
}
