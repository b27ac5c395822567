//! `lastbyte send`, against programs that nobody here wrote and against peers
//! that misbehave on purpose; what it says is held against the wire.

mod hundred;
mod programs;
mod sender;
mod words;

use std::process::ExitCode;
use std::sync::Arc;

use lastbyte_lab::{Lab, Lastbyte, Stage, harness};
use lastbyte_testkit::trial;
use libtest_mimic::{Arguments, Failed};

type Test = fn(&Stage) -> Result<(), Failed>;

const TESTS: &[(&str, Test)] = &[
    ("hundred_delivered", hundred::delivered),
    ("hundred_timed_out", hundred::timed_out),
    ("hundred_reset", hundred::reset),
    ("python_socketserver_reads_all", programs::python_reads_all),
    ("python_socketserver_echoes", programs::python_echoes),
    (
        "python_socketserver_stops_reading",
        programs::python_stops_reading,
    ),
    ("nc_reads_all", programs::nc_reads_all),
    ("nc_stops_reading", programs::nc_stops_reading),
    ("nc_is_killed_half_way", programs::nc_is_killed_half_way),
    ("socat_reads_all", programs::socat_reads_all),
    ("socat_stops_reading", programs::socat_stops_reading),
    (
        "socat_is_killed_half_way",
        programs::socat_is_killed_half_way,
    ),
    (
        "socat_is_killed_during_the_close",
        programs::socat_is_killed_during_the_close,
    ),
    (
        "abort_tells_what_was_lost",
        words::abort_tells_what_was_lost,
    ),
    ("off_stays_until_the_fate", words::off_stays_until_the_fate),
    ("one_line_says_it", words::one_line_says_it),
    ("recv_says_how_it_ended", words::recv_says_how_it_ended),
    ("usage_is_status_2", words::usage_is_status_2),
];

fn main() -> ExitCode {
    let place = harness::enter();
    println!("running in: {place:?}");
    let lab = Lab::new(place);
    // Only its witnesses are asked here.
    let stage = Arc::new(lab.stage(Arc::new(Lastbyte)));

    let arguments = Arguments::from_args();
    let trials = TESTS
        .iter()
        .map(|&(name, test)| {
            let stage = Arc::clone(&stage);
            trial(name, move || test(&stage))
        })
        .collect();
    lastbyte_testkit::run(&arguments, trials)
}
