//! The contract's rows, run for real, with the packets as evidence.
//!
//! ```no_run
//! use std::sync::Arc;
//! use lastbyte_lab::{Lab, ROWS, Lastbyte, Plain, Subject, harness};
//!
//! // Before any thread exists.
//! let place = harness::enter();
//! let lab = Lab::new(place);
//! let subjects: [Arc<dyn Subject>; 2] = [Arc::new(Plain), Arc::new(Lastbyte)];
//! let rows: Vec<_> = ROWS.iter().collect();
//! let results = lab.run(&rows, &subjects, &|row| eprintln!("{}", row.id));
//! println!("{}", lastbyte_lab::show::table(&results, 100, false));
//! ```

mod child;
pub mod contract;
mod findings;
pub mod harness;
mod lab;
#[cfg(feature = "lwip")]
pub mod lwip;
mod rows;
pub mod show;
mod stage;
mod subject;

pub use child::run_if_asked;
pub use findings::{Findings, Trace};
pub use lab::{Lab, Outcome, Results, RowResult};
pub use rows::{ROWS, Row, row};
pub use stage::{Call, Stage, Stop, await_state};
pub use subject::{Account, Child, Handle, Lastbyte, Plain, Subject, Told};
