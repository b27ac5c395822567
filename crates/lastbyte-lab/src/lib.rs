//! lab
#[allow(missing_docs)]
pub mod harness;
