//! The netlink framing ([netlink(7)]): messages in a datagram, attributes in a message.
//!
//! No length that the bytes give is trusted: a walk ends at the first that cannot be
//! true.
//!
//! [netlink(7)]: https://man7.org/linux/man-pages/man7/netlink.7.html

use crate::bytes;

/// The length of `struct nlmsghdr`.
pub const HEADER: usize = 16;

/// `NLMSG_ERROR`: the answer is an errno, of which 0 acknowledges.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`: the dump is complete.
pub const DONE: u16 = 3;

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`, as the request had it.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// Returns the errno of an [`ERROR`] message as a positive number; 0 acknowledges.
    /// Returns `None` for other messages.
    #[must_use]
    pub fn error(&self) -> Option<i32> {
        match self.kind {
            ERROR => bytes::i32(self.payload, 0).map(i32::wrapping_neg),
            _ => None,
        }
    }
}

/// Iterates over the messages of a datagram, up to the first whose length cannot be
/// true.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    core::iter::from_fn(move || {
        let length = usize::try_from(bytes::u32(rest, 0)?).ok()?;
        let message = Message {
            kind: bytes::u16(rest, 4)?,
            flags: bytes::u16(rest, 6)?,
            sequence: bytes::u32(rest, 8)?,
            payload: rest.get(HEADER..length)?,
        };
        rest = rest.get(align(length)..).unwrap_or_default();
        Some(message)
    })
}

/// Iterates over attributes (`struct nlattr`) as pairs of type and value, up to the
/// first whose length cannot be true.
pub fn attributes(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = payload;
    core::iter::from_fn(move || {
        let length = usize::from(bytes::u16(rest, 0)?);
        let kind = bytes::u16(rest, 2)?;
        let value = rest.get(4..length)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// `NLMSG_ALIGN` and `NLA_ALIGN`: the next multiple of four.
const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// Opens a socket of `NETLINK_SOCK_DIAG` ([sock_diag(7)]) in the network namespace of
/// the calling thread. It is close-on-exec and blocking, and needs no privilege.
///
/// # Errors
///
/// `EPROTONOSUPPORT` where the kernel lacks `CONFIG_INET_DIAG`, `EMFILE` and `ENFILE`
/// where no descriptor is left, or what a sandbox answers.
///
/// [sock_diag(7)]: https://man7.org/linux/man-pages/man7/sock_diag.7.html
#[cfg(all(feature = "std", target_os = "linux"))]
pub fn sock_diag() -> std::io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::{FromRawFd, OwnedFd};

    // SAFETY: no pointers are passed.
    let fd = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_SOCK_DIAG,
        )
    };
    if fd == -1 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).expect("short test payload");
        let mut frame = length.to_ne_bytes().to_vec();
        frame.extend(kind.to_ne_bytes());
        frame.extend(0x0102u16.to_ne_bytes());
        frame.extend(0x0304_0506u32.to_ne_bytes());
        frame.extend([0; 4]);
        frame.extend(payload);
        frame.resize(frame.len().next_multiple_of(4), 0);
        frame
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short test value");
        let mut attribute = length.to_ne_bytes().to_vec();
        attribute.extend(kind.to_ne_bytes());
        attribute.extend(value);
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        attribute
    }

    #[test]
    fn messages_follow_one_another_at_four_byte_steps() {
        let datagram = [frame(20, b"abc"), frame(DONE, b"")].concat();
        let seen: Vec<_> = messages(&datagram).collect();
        let message = |kind, payload| Message {
            kind,
            flags: 0x0102,
            sequence: 0x0304_0506,
            payload,
        };
        assert_eq!(seen, [message(20, &b"abc"[..]), message(DONE, &b""[..])]);
    }

    #[test]
    fn attributes_follow_one_another_at_four_byte_steps() {
        let payload = [attribute(2, b"abcde"), attribute(7, b"")].concat();
        let seen: Vec<_> = attributes(&payload).collect();
        assert_eq!(seen, [(2, &b"abcde"[..]), (7, &b""[..])]);
    }

    #[test]
    fn the_last_may_end_without_its_padding() {
        let mut datagram = frame(20, b"abc");
        datagram.truncate(HEADER + 3);
        assert_eq!(messages(&datagram).count(), 1);
        let mut payload = attribute(2, b"abcde");
        payload.truncate(9);
        assert_eq!(attributes(&payload).count(), 1);
    }

    #[test]
    fn a_length_that_cannot_be_true_ends_the_walk() {
        for length in [0u8, 15, 200] {
            let mut datagram = frame(20, b"abcd");
            datagram[..4].copy_from_slice(&u32::from(length).to_ne_bytes());
            assert_eq!(messages(&datagram).count(), 0, "{length}");
        }
        for length in [0u8, 3, 200] {
            let mut payload = attribute(2, b"abcd");
            payload[..2].copy_from_slice(&u16::from(length).to_ne_bytes());
            assert_eq!(attributes(&payload).count(), 0, "{length}");
        }
    }

    #[test]
    fn an_error_is_a_positive_errno() {
        let datagram = frame(ERROR, &(-libc::ENOENT).to_ne_bytes());
        let message = messages(&datagram).next().expect("one message");
        assert_eq!(message.error(), Some(libc::ENOENT));
        let other = Message {
            kind: 20,
            ..message
        };
        assert_eq!(other.error(), None);
    }

    proptest! {
        #![proptest_config(crate::few_under_miri())]

        #[test]
        fn any_bytes_end(datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(messages(&datagram).count() <= datagram.len() / HEADER);
            prop_assert!(attributes(&datagram).count() <= datagram.len() / 4 + 1);
        }
    }
}
