//! What the library's tests share: the test kit's connections, and every form of close.
#![allow(dead_code, unused_imports, reason = "each test file uses some")]
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

pub(crate) mod forms;

pub(crate) use lastbyte_testkit::net::{
    blackhole, fill, filter, hung_up, loopback_up, pair, pair_on, read_all, readable, reset,
    unfilter,
};
