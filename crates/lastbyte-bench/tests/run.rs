//! A small run of the whole: what it prints, and how it ends.

use std::process::{Command, Output};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lastbyte-bench"))
        .args(["--rounds", "1", "--connections", "100", "--patience", "0"])
        .args(args)
        .output()
        .expect("the binary was built for this test")
}

fn rows(output: &Output) -> Vec<Value> {
    let errors = String::from_utf8_lossy(&output.stderr);
    let all: Value = serde_json::from_slice(&output.stdout).expect(&errors);
    all["rows"].as_array().expect("rows").clone()
}

#[test]
fn every_row_has_its_figures() {
    let output = bench(&[
        "--json",
        "--scenario=empty,delayed_ack,peer_closes,server",
        "--subject=closer_epoll,closer_off_receipt,tokio,tokio_by_hand,tokio_polls",
    ]);
    assert!(output.status.success(), "{output:?}");
    let rows = rows(&output);
    let of = |scenario: &str, subject: &str| {
        rows.iter()
            .find(|row| row["scenario"] == scenario && row["subject"] == subject)
    };
    for scenario in ["empty", "delayed_ack", "peer_closes", "server"] {
        let plain = of(scenario, "plain").expect("plain is always measured");
        assert!(plain["closes_per_s"].is_null(), "nobody waits: {plain}");
        for subject in ["closer_epoll", "closer_off_receipt", "tokio", "tokio_polls"] {
            let row = of(scenario, subject).expect(subject);
            assert!(row["process_cpu_vs_plain"].as_f64().expect("a ratio") > 0.0);
            assert!(row["closes_per_s"].as_f64().expect("a rate") > 0.0);
            assert!(row["threads"].as_u64().expect("a count") >= 1);
        }
    }
    // It reads to EOF, which does not come there.
    assert!(of("delayed_ack", "tokio_by_hand").is_none());
    let paced = of("peer_closes", "closer_epoll").expect("measured");
    // Null where the machine kept the peer from its ACKs for too long.
    match (
        paced["ack_to_report_p50_us"].as_f64(),
        paced["ack_to_report_p99_us"].as_f64(),
    ) {
        (Some(half), Some(most)) => assert!(0.0 < half && half <= most, "{paced}"),
        (None, None) => {}
        _ => panic!("one without the other: {paced}"),
    }
}

#[test]
fn memory_is_counted_while_all_are_in_flight() {
    let output = bench(&[
        "--json",
        "--in-flight=200",
        "--scenario=slow_readers",
        "--subject=closer_epoll",
    ]);
    assert!(output.status.success(), "{output:?}");
    let rows = rows(&output);
    let row = rows
        .iter()
        .find(|row| row["subject"] == "closer_epoll")
        .expect("measured");
    // At least what an ending is; a count that forgot some would be below.
    assert!(row["bytes_per_ending"].as_f64() > Some(64.0), "{row}");
}

#[test]
fn a_mark_that_was_not_measured_is_not_met() {
    let output = bench(&["--check", "--scenario=empty", "--subject=plain"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("missed   unknown"), "{said}");
}

#[test]
fn nonsense_is_refused() {
    for args in [["--rounds=0"], ["--connections=20000"], ["--patience=-1"]] {
        let output = bench(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}
