//! The matrix: every way in which a connection comes, what its program did before,
//! what waits in it, and how it is let go, for every form of lastbyte.
//!
//! A cell is one value of each axis ([`axes`]); [`cover`] picks cells so that all
//! pairs (or triples) of values occur. A helper program ([`actor`]) brings about the
//! situation and lets go, by the kernel, under `lastbyte run`, or by the library.
//! [`scene`] plays the peer and gathers what happened; [`judge`] decides by the
//! packets and the peer's bytes, never by what lastbyte says of itself.

#![cfg(target_os = "linux")]

pub mod actor;
pub mod axes;
pub mod cover;
pub mod judge;
pub mod known;
pub mod late;
pub mod scene;
pub mod stage;
pub mod wire;

/// The Rust of the repository's documents compiles.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/library.md")]
    struct Library;
}
