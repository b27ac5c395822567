//! What lwIP's close does with the contract's rows, as far as no clock decides: the lab must
//! see both what a stack keeps and what it does not.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use lastbyte_lab::{Outcome, lwip};

#[test]
fn lwip_keeps_some_rows_and_breaks_others() {
    let results = lwip::run(&|_| {}).unwrap();
    let outcome = |id: &str| {
        let result = results.iter().find(|result| result.row.id == id);
        &result.unwrap().outcome
    };
    for result in &results {
        let broken = matches!(result.outcome, Outcome::Broken(_));
        assert!(!broken, "{}: {}", result.row.id, result.outcome.saw());
    }
    for kept in ["A1", "A5", "B1", "C1"] {
        assert!(outcome(kept).kept(), "{kept}: {:?}", outcome(kept).faults());
    }
    // 32768 s turn the option off; unread or late input resets; an error is never returned.
    for not_kept in ["A2", "A3", "B2", "B3", "D2", "D3"] {
        assert!(
            !outcome(not_kept).kept(),
            "{not_kept}: {}",
            outcome(not_kept).saw()
        );
    }
    for id in ["B2", "B3", "D2"] {
        assert!(
            outcome(id).saw().contains("ECONNRESET"),
            "{id}: {}",
            outcome(id).saw()
        );
        assert!(!outcome(id).traces().is_empty(), "{id} has no packets");
    }
    for not_run in ["B4", "D5", "E3", "F1"] {
        assert!(outcome(not_run).not_run().is_some(), "{not_run}");
    }
}
