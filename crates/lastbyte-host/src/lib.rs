//! How TCP connections end on this host, seen from outside the processes that
//! own them.
//!
//! The kernel's sources ([`source`]) are read by pure parsers ([`parse`]), joined
//! by each socket's cookie ([`tracker`]) and judged ([`judge`]) in the words of
//! the library `lastbyte`. What a source cannot tell without privilege is
//! `None`, never a guess. Linux only.

pub mod doctor;
pub mod ending;
pub mod evidence;
pub mod explain;
pub mod judge;
pub mod losses;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod namespaces;
pub mod netns;
pub mod parse;
pub mod process;
pub mod reason;
pub mod source;
pub mod sources;
pub mod stop;
pub mod time_wait;
pub mod tracker;
pub mod tuple;
#[cfg(feature = "view")]
pub mod view;
pub mod watcher;
