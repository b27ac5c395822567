//! Closes TCP connections and tells what became of the last byte.

mod blocking;
mod closer;
mod closing;
mod ending;
mod errno;
mod error;
mod linger;
mod live;
mod policy;
mod report;
mod sums;
mod sys;

pub use blocking::close;
pub use closer::background::{Background, background};
pub use closer::{Builder, Closer};
pub use closing::Closing;
pub use errno::Errno;
pub use error::{CloseError, Refusal};
pub use linger::{Linger, LingerForm, LingerRangeError, RawLinger};
pub use policy::Policy;
pub use report::{Fate, Report, Side};
pub use sums::Sums;
