//! The netlink framing ([netlink(7)]): messages in a datagram, attributes in a
//! message.
//!
//! [netlink(7)]: https://man7.org/linux/man-pages/man7/netlink.7.html

use super::bytes;

const HEADER: usize = 16;

/// `NLMSG_ERROR`.
pub(crate) const ERROR: u16 = 2;
/// `NLMSG_DONE`.
pub(crate) const DONE: u16 = 3;

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
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
    /// The errno of an `NLMSG_ERROR`, positive; 0 acknowledges.
    #[must_use]
    pub(crate) fn error(&self) -> Option<i32> {
        (self.kind == ERROR)
            .then(|| bytes::i32(self.payload, 0))
            .flatten()
            .map(i32::wrapping_neg)
    }
}

/// The messages of a datagram, up to the first whose length cannot be true.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(bytes::u32(rest, 0)?).ok()?;
        if length < HEADER {
            return None;
        }
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

/// Attributes (`struct nlattr`): type and value, up to the first whose length
/// cannot be true.
pub(crate) fn attributes(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let length = usize::from(bytes::u16(rest, 0)?);
        let kind = bytes::u16(rest, 2)?;
        let value = rest.get(4..length)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

const fn align(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + payload.len()).expect("short test payload");
        let mut frame = length.to_ne_bytes().to_vec();
        frame.extend(kind.to_ne_bytes());
        frame.extend([0; 10]);
        frame.extend(payload);
        frame.resize(frame.len().next_multiple_of(4), 0);
        frame
    }

    #[test]
    fn messages_follow_one_another_at_four_byte_steps() {
        let datagram = [frame(20, b"abc"), frame(DONE, b"")].concat();
        let seen: Vec<_> = messages(&datagram).map(|m| (m.kind, m.payload)).collect();
        assert_eq!(seen, [(20, &b"abc"[..]), (DONE, &b""[..])]);
    }

    #[test]
    fn a_length_beyond_the_datagram_ends_the_walk() {
        let mut datagram = frame(20, b"abcd");
        datagram[0] = 200;
        assert_eq!(messages(&datagram).count(), 0);
    }

    #[test]
    fn an_error_is_a_positive_errno() {
        let datagram = frame(ERROR, &(-libc::ENOENT).to_ne_bytes());
        let message = messages(&datagram).next().expect("one message");
        assert_eq!(message.error(), Some(libc::ENOENT));
    }

    proptest! {
        #[test]
        fn any_bytes_end(datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(messages(&datagram).count() <= datagram.len() / HEADER);
            prop_assert!(attributes(&datagram).count() <= datagram.len() / 4 + 1);
        }
    }
}
