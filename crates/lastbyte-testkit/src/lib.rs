//! What the tests of all crates share.
//!
//! [`net`] has connections and peers that misbehave; [`succeed`] and [`compile_c`] run
//! foreign programs.
//!
//! A test that needs something this machine lacks is reported as ignored, and the lines
//! after the result name what to install. A binary with such tests sets
//! `harness = false` and begins with
//!
//! ```text
//! #[macro_use]
//! extern crate lastbyte_testkit;
//!
//! fn main() -> std::process::ExitCode {
//!     lastbyte_testkit::main()
//! }
//! ```
//!
//! which makes every `#[test]` of its modules one of ours. A test, or a helper that
//! it calls, then says what it needs: `need("nginx", "nginx-light")`.
//!
//! With [`REQUIRE_ALL`] in the environment a test that lacks something fails instead.

#[doc(hidden)]
pub use inventory;
pub use lastbyte_testkit_macros::test;

mod command;
mod lack;
#[cfg(target_os = "linux")]
pub mod net;
mod run;

pub use command::{compile_c, succeed};
pub use lack::{REQUIRE_ALL, ignore, is_root, need, need_path, need_root};
pub use run::{Ended, Test, main, run, trial};
