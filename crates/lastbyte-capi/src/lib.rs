//! The C ABI of lastbyte. `include/lastbyte.h` is written from this crate by
//! cbindgen, and its comments are the ones here.
//!
//! No panic crosses it: a bug inside is `ENOTRECOVERABLE` outside.

#![allow(non_camel_case_types)]

mod close;
mod closer;
mod closing;
mod guard;
mod platform;
mod types;

pub use close::{lb_background_wait, lb_background_wait_delivered, lb_close, lb_close_with};
pub use closer::{
    lb_closer, lb_closer_close, lb_closer_drain, lb_closer_free, lb_closer_in_flight,
    lb_closer_new, lb_closer_sums, lb_closer_then, lb_closer_wait_idle,
};
pub use closing::{lb_close_begin, lb_closing, lb_closing_detach, lb_closing_finish};
pub use platform::*;
pub use types::{
    lb_fate, lb_fate_name, lb_linger, lb_policy, lb_policy_flag, lb_report, lb_side, lb_sums,
    lb_version, lb_version_number,
};
