//! How TCP connections end on this host, seen from outside the processes that
//! own them. Linux only.
//!
//! Five modules are public: [`watch`] follows connections and hands over each ending,
//! [`doctor`] finds what is wrong with how they end, [`explain`] says what a word of the
//! kernel means, [`metrics`] counts endings for Prometheus and [`view`] shows them on a
//! terminal.
//!
//! Inside, the kernel's sources (`source`) are read by pure parsers (`parse`), collected as
//! `evidence` and joined by each socket's cookie (`tracker`), and judged (`judge`) in the
//! words of the library `lastbyte`. What a source cannot report without privilege is
//! `None`, never a guess.

pub mod doctor;
pub mod explain;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "view")]
pub mod view;
pub mod watch;

mod ending;
mod evidence;
#[cfg(fuzzing)]
pub mod fuzzing;
mod judge;
mod losses;
mod netns;
mod parse;
mod process;
mod reason;
mod source;
mod time_wait;
mod tracker;
mod tuple;

#[cfg(test)]
mod documented;
