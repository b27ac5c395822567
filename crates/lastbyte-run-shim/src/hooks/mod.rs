//! The functions that programs call and find here instead of in libc.
//!
//! Only calls through the dynamic symbol table arrive here. glibc's own calls to
//! itself (fclose to close, system to fork, exit to _exit) do not, so each outer
//! function that matters has a hook of its own.

// They are reached by symbol name, not by path.
#![allow(unreachable_pub)]

pub(crate) mod close;
mod dup;
mod epoll;
mod exec;
pub(crate) mod exit;
pub(crate) mod fork;
mod message;
mod raw;
mod ring;
pub(crate) mod shutdown;
mod socket;
mod stdio;
mod twice;
