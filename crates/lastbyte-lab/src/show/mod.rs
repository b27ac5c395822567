//! What a run found, for people and for programs.

mod document;
mod json;
mod ladder;
mod markdown;
mod table;
mod trace;

pub use document::document;
pub use json::json;
pub use ladder::ladder;
pub use markdown::markdown;
pub use table::{summary, table};
pub use trace::trace;

#[cfg(test)]
mod tests;
