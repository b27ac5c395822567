//! The messages and shared memory by which the shim in a program and the supervisor communicate.
//!
//! Three things cross the border, and this crate is the only place that knows
//! their shape:
//!
//! - [`Request`]: a message of fixed size on an inherited `SOCK_SEQPACKET` pair,
//!   with the socket itself riding along by SCM_RIGHTS where there is one;
//! - [`Control`]: a block of atomics that both sides map and the supervisor alone can
//!   write, holding the run's settings and the answers that a blocking close waits for;
//! - [`Shared`]: a block of atomics that every process of the run can write, holding
//!   the sockets to leave alone, who lets go of one this moment, and counts.
//!
//! The shim runs inside signal handlers and vforked children: nothing here
//! allocates, locks or panics. The supervisor reads what any program may have
//! scribbled: nothing here trusts a byte.

#![no_std]

mod control;
pub mod elf;
mod left;
mod mark;
mod request;
mod shared;

pub use control::{Bell, Control, Nonce, Override, Settings};
pub use left::Left;
pub use mark::{MARK, MARKED, SHIM_VERSION};
pub use request::{Kind, Linger, Malformed, Request, flag};
pub use shared::{Shared, VERSION};

/// The variable that tells a program where its run's descriptors are: channel,
/// shared block, the channel's socket cookie, and the control block, in fixed-width
/// decimal so that it can be rewritten in place.
pub const ENVIRONMENT: &str = "LASTBYTE_RUN";

/// The text of [`ENVIRONMENT`]: `cccccccccc,mmmmmmmmmm,kkkkkkkkkkkkkkkkkkkk_bbbbbbbbbb`.
pub const ENVIRONMENT_LENGTH: usize = 10 + 1 + 10 + 1 + 20 + 1 + 10;

/// Where a program finds its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The program's end of the socket pair.
    pub channel: i32,
    /// The sealed memfd that holds [`Shared`].
    pub memory: i32,
    /// The sealed memfd that holds [`Control`].
    pub control: i32,
    /// `SO_COOKIE` of `channel`, so that a descriptor number that came to mean
    /// something else is never written to.
    pub cookie: u64,
}

impl Address {
    /// The environment variable's value.
    #[must_use]
    pub fn encode(self) -> [u8; ENVIRONMENT_LENGTH] {
        let mut text = [b','; ENVIRONMENT_LENGTH];
        let mut put = |start: usize, end: usize, value: u64| {
            if let Some(field) = text.get_mut(start..end) {
                decimal(field, value);
            }
        };
        put(0, 10, u64::from(self.channel.unsigned_abs()));
        put(11, 21, u64::from(self.memory.unsigned_abs()));
        put(22, 42, self.cookie);
        put(43, 53, u64::from(self.control.unsigned_abs()));
        if let Some(mark) = text.get_mut(42) {
            *mark = b'_';
        }
        text
    }

    /// Reads the variable's value; `None` where it is not one.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != ENVIRONMENT_LENGTH
            || text.get(10) != Some(&b',')
            || text.get(21) != Some(&b',')
            || text.get(42) != Some(&b'_')
        {
            return None;
        }
        Some(Self {
            channel: i32::try_from(number(text.get(..10)?)?).ok()?,
            memory: i32::try_from(number(text.get(11..21)?)?).ok()?,
            cookie: number(text.get(22..42)?)?,
            control: i32::try_from(number(text.get(43..)?)?).ok()?,
        })
    }
}

fn decimal(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn number(field: &[u8]) -> Option<u64> {
    field.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_address_survives_the_environment(channel in 0..i32::MAX, memory in 0..i32::MAX, control in 0..i32::MAX, cookie: u64) {
            let address = Address { channel, memory, control, cookie };
            prop_assert_eq!(Address::parse(&address.encode()), Some(address));
        }

        #[test]
        fn any_text_is_an_address_or_not(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(address) = Address::parse(&text) {
                prop_assert_eq!(&address.encode()[..], &text[..]);
            }
        }
    }
}
