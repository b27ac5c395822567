//! The contract's rows. One file a section, one small function a row, with the
//! manual's sentence beside it.

use crate::findings::Findings;
use crate::stage::{Stage, Stop};

mod a_option;
mod b_off;
mod c_abort;
mod c_states;
mod d_ack;
mod d_signal;
mod d_wait;
mod e_nonblocking;
mod f_many;

/// A row of the contract that can be run.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its id in the contract: `D2`.
    pub id: &'static str,
    /// What it shows, as a test's name ends: `timeout_discards_and_resets`.
    pub shows: &'static str,
    /// What the manual says.
    pub manual: &'static str,
    /// Runs with nothing beside it: it loads the machine, or forks, or measures
    /// what a busy machine would blur.
    pub alone: bool,
    /// Runs it.
    pub run: fn(&Stage) -> Result<Findings, Stop>,
}

impl Row {
    /// `d2_timeout_discards_and_resets`.
    #[must_use]
    pub fn test_name(&self) -> String {
        format!("{}_{}", self.id.to_lowercase(), self.shows)
    }
}

/// Every row, in the order of the contract.
pub const ROWS: &[Row] = &[
    a_option::A1,
    a_option::A2,
    a_option::A3,
    a_option::A4,
    a_option::A5,
    b_off::B1,
    b_off::B2,
    b_off::B3,
    b_off::B4,
    c_abort::C1,
    c_abort::C2,
    c_states::C3,
    d_ack::D1,
    d_wait::D2,
    d_wait::D3,
    d_wait::D4,
    d_signal::D5,
    d_wait::D6,
    d_wait::D7,
    d_signal::D8,
    e_nonblocking::E1,
    e_nonblocking::E2,
    e_nonblocking::E3,
    f_many::F1,
];

/// The row with this id, in either case.
#[must_use]
pub fn row(id: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.id.eq_ignore_ascii_case(id))
}
