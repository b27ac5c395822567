//! Bytes from outside, read with every bound checked. Nothing here does I/O or
//! trusts a length it was given; each parser is fuzzed and proven on captures.

pub(crate) mod inet_diag;
pub(crate) mod perf;
pub(crate) mod procnet;
pub(crate) mod ring_page;
pub(crate) mod trace;
pub(crate) mod tracefs;
