//! What a run found, for people and for programs.

mod json;
mod markdown;
mod table;
mod trace;

pub use json::json;
pub use markdown::markdown;
pub use table::{summary, table};
pub use trace::trace;
