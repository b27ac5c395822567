//! What the Linux kernel says about a TCP socket.
//!
//! The kernel describes a connection in several places, each with its own layout, age
//! and exceptions. This crate reads them and says what each number means:
//!
//! | module | reads |
//! |---|---|
//! | [`state`] | the TCP state, `include/net/tcp_states.h` |
//! | [`info`] | `struct tcp_info`, as `getsockopt(TCP_INFO)` and netlink give it, of any length |
//! | [`queue`] | the lengths of the queues: `SIOCOUTQ`, `SIOCOUTQNSD`, `SIOCINQ` |
//! | [`payload`] | payload bytes, out of counters that count SYN and FIN here and there |
//! | [`netlink`] | the framing of netlink(7): messages and attributes |
//! | [`diag`] | `struct inet_diag_msg`, sock_diag(7): the requests and the answers |
//! | [`destroyed`] | the kernel's notice of each TCP socket's end |
//! | [`bytes`] | integers at an offset, `None` past the end |
//!
//! The rules are the same everywhere. What a kernel does not have is `None`, never 0.
//! A failed system call is an error, never a count. No length that comes from outside is
//! trusted, and no input makes a parser panic.
//!
//! # Without the standard library
//!
//! The parsers and the arithmetic allocate nothing and build on any system without the
//! standard library. The feature `std`, on by default, adds the system calls, on Linux.
//!
//! # Kernels
//!
//! Everything works from Linux 4.19; each item says what an older kernel lacks. Nothing
//! here needs a privilege.
#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]
#![cfg_attr(not(feature = "std"), forbid(unsafe_code))]

#[cfg(any(test, all(feature = "std", target_os = "linux")))]
extern crate std;

pub mod bytes;
#[cfg(all(feature = "std", target_os = "linux"))]
pub mod destroyed;
pub mod diag;
pub mod info;
pub mod netlink;
pub mod payload;
pub mod queue;
pub mod state;

pub use info::TcpInfo;
pub use state::State;

/// Miri runs a thousandth as fast, and has no file to keep failures in.
#[cfg(test)]
fn few_under_miri() -> proptest::test_runner::Config {
    use proptest::test_runner::Config;
    if cfg!(miri) {
        Config {
            cases: 8,
            failure_persistence: None,
            ..Config::default()
        }
    } else {
        Config::default()
    }
}
