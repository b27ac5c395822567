//! What the rows stand on: a place of their own, a peer that can misbehave, and
//! witnesses (packets, kernel tables) that do not ask the closing code.

mod capture;
mod info;
mod metronome;
mod pair;
mod pattern;
mod peer;
mod place;
mod ring;
mod stamp;
mod tables;
mod wire;

pub use capture::{Capture, Conn};
pub use info::{TcpInfo, state_name};
pub use metronome::{Metronome, Starvation, starved};
pub use pair::{Crowd, Pair, Setup, fill, fill_from, has_ipv6};
pub use pattern::pattern;
pub(crate) use peer::FilterRefused;
pub use peer::{End, Got, Peer};
pub use place::{Place, enter};
pub use procfs::net::TcpState;
pub use stamp::{Stamp, ms};
pub use tables::{TableRow, row_of};
pub use wire::{Flags, From, Packet, Wire};
