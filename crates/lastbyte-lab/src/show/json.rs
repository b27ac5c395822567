//! The documented format of `lastbyte lab --json`.

use serde_json::{Value, json};

use crate::lab::{Outcome, Results};

/// The results of close(2) and lastbyte, in that order, as one object:
///
/// ```json
/// {"kernel": "6.18…", "where": "namespace", "took_ms": 5120, "packets_dropped": 0,
///  "rows": [{"id": "D2", "manual": "…",
///            "kernel": {"kept": false, "saw": "…", "faults": ["…"]},
///            "lastbyte": {"kept": true, "saw": "…"}}],
///  "kept": {"kernel": 9, "lastbyte": 24, "rows": 24}}
/// ```
///
/// `kernel` at the top is `uname -r`; in a row it is plain close(2). `faults`
/// lists what the row demanded and did not get. A row that could not run has
/// `"kept": false` and `not_run`, the reason. `where` is `namespace` or
/// `loopback`, and with the latter `why` says what kept us out of a namespace.
#[must_use]
pub fn json(results: &Results) -> Value {
    let rows: Vec<Value> = results
        .rows
        .iter()
        .map(|result| {
            let mut row = json!({"id": result.row.id, "manual": result.row.manual});
            for (name, outcome) in NAMES.iter().zip(&result.outcomes) {
                row[*name] = cell(outcome);
            }
            row
        })
        .collect();
    let kept = |index: usize| {
        results
            .rows
            .iter()
            .filter(|f| f.outcomes.get(index).is_some_and(Outcome::kept))
            .count()
    };
    let mut all = json!({
        "kernel": results.kernel,
        "where": results.place.as_str(),
        "took_ms": u64::try_from(results.took.as_millis()).unwrap_or(u64::MAX),
        "packets_dropped": results.dropped,
        "rows": rows,
        "kept": {"kernel": kept(0), "lastbyte": kept(1), "rows": results.rows.len()},
    });
    if let crate::harness::Place::Loopback { why } = &results.place {
        all["why"] = json!(why);
    }
    all
}

const NAMES: [&str; 2] = ["kernel", "lastbyte"];

fn cell(outcome: &Outcome) -> Value {
    let mut cell = json!({"kept": outcome.kept(), "saw": outcome.saw()});
    if let Some(why) = outcome.not_run() {
        cell["not_run"] = json!(why);
    }
    if !outcome.faults().is_empty() {
        cell["faults"] = json!(outcome.faults());
    }
    cell
}
