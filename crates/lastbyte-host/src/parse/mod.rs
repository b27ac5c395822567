//! Bytes from outside, read with every bound checked. Nothing here does I/O or
//! trusts a length it was given; each parser is fuzzed and proven on captures.

pub mod bytes;
pub mod inet_diag;
pub mod netlink;
pub mod perf;
pub mod procnet;
pub mod ring_page;
pub mod tcp_info;
pub mod trace;
pub mod tracefs;
