//! Closes TCP connections and tells what became of the last byte.

mod errno;
mod linger;
mod policy;
mod report;
mod sys;

pub use errno::Errno;
pub use linger::{Linger, LingerForm, LingerRangeError, RawLinger};
pub use policy::Policy;
pub use report::{Fate, Report, Side};
