//! The bytes that a pair is filled with, and that a peer expects.

/// The byte that is sent at this place of the stream. 251 is prime to every
/// segment size, so a piece lost or doubled shows.
#[must_use]
pub const fn pattern(at: u64) -> u8 {
    (at % 251) as u8
}
