//! The message from shim to supervisor.

use crate::left::Left;

/// `struct linger` as the shim read it from the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linger {
    /// Zero: off.
    pub l_onoff: i32,
    /// Seconds.
    pub l_linger: i32,
}

/// Stands for an unread queue of unknown length; no queue is as long.
const UNKNOWN: u32 = u32::MAX;

/// What is asked of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// End this socket, which nobody else holds. It rides along.
    End,
    /// As [`Kind::End`], once the sending process is gone: it is exiting, and
    /// what stdio still holds is written after this.
    EndAfterExit,
    /// As [`Kind::End`], once no process of the run holds the socket; if one still does
    /// after a moment, nothing is to be done. The sender is about to execute another
    /// program, which may fail.
    EndUnlessHeld,
    /// Does any other process of the run hold the socket `inode`? Answered: 0 if none does, 1 if one does or that cannot be excluded.
    Shared,
    /// The program is about to execute something the shim cannot enter; the
    /// reason is in `flags`, the file's name (its end) in `name`.
    Uncovered,
    /// The program has a connection from now on: `cookie` and `addresses`. Sent only
    /// where somebody observes, as the two below; no answer, no socket along.
    Opened,
    /// The program shut down the sending side of `cookie`.
    HalfClosed,
    /// The kernel closes `cookie` next, because that is right or, with `left`, because
    /// nothing else is possible.
    Closes,
}

/// Bits of [`Request::flags`].
pub mod flag {
    /// The file is statically linked: no dynamic loader, no shim.
    pub const STATIC: u32 = 1;
    /// The file is set-user-id or set-group-id: the loader ignores LD_PRELOAD.
    pub const SETUID: u32 = 2;
    /// The file's loader is musl's.
    pub const MUSL: u32 = 4;
    /// The file is for another architecture.
    pub const FOREIGN: u32 = 8;
    /// A Go program: it makes its system calls itself.
    pub const GO: u32 = 32;
    /// The program set up an io_uring, through which sockets can be held and closed
    /// unseen. `name` is the program's.
    pub const IO_URING: u32 = 64;
    /// The program forbids itself system calls (seccomp(2)), ours perhaps among them.
    /// `name` is the program's.
    pub const SECCOMP: u32 = 128;
    /// With [`Kind::EndAfterExit`](super::Kind::EndAfterExit): another process may hold
    /// the socket. If one does once the sender is gone, nothing is to be done. With
    /// [`Kind::Closes`](super::Kind::Closes): the close may not be the last.
    pub const MAY_BE_HELD: u32 = 256;
    /// The FIN has left: the program's own shutdown(2), or the shim's.
    pub const FIN_IS_OUT: u32 = 512;
    /// With [`Kind::Opened`](super::Kind::Opened): this side connected.
    pub const CONNECTED: u32 = 1024;
    /// With [`Kind::Opened`](super::Kind::Opened) and
    /// [`Kind::Closes`](super::Kind::Closes): the socket is MPTCP's.
    pub const MPTCP: u32 = 2048;
    /// With [`Kind::Opened`](super::Kind::Opened): another program opened it, and which
    /// side connected is not known.
    pub const INHERITED: u32 = 4096;
    /// The reading side was shut down: input may have made this host reset the connection,
    /// with the error of the peer's RST.
    pub const READING_IS_SHUT: u32 = 8192;
    /// With [`Kind::HalfClosed`](super::Kind::HalfClosed) and
    /// [`Kind::Closes`](super::Kind::Closes): the shim's filter keeps input out, and nothing
    /// counts what that was.
    pub const INPUT_IS_TRIMMED: u32 = 16384;
}

/// A message, always [`Request::SIZE`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub kind: Kind,
    /// The descriptor's number in the program.
    pub fd: i32,
    /// What the answer is known by ([`Nonce`](crate::Nonce)); zero if none is awaited.
    pub nonce: u64,
    /// See [`flag`].
    pub flags: u32,
    /// The linger option found.
    pub linger: Linger,
    /// `st_ino` of the socket.
    pub inode: u64,
    /// `SO_COOKIE` of the socket, where none comes along.
    pub cookie: u64,
    /// With [`Kind::Closes`]: why the kernel closes it although the contract asks for
    /// more.
    pub left: Option<Left>,
    /// With [`Kind::Closes`]: `tcpi_state`, zero where it is not known.
    pub state: u8,
    /// With [`Kind::Closes`]: `SIOCINQ`; `None` where the kernel did not answer.
    pub unread: Option<u32>,
    /// When the program called close (CLOCK_MONOTONIC, nanoseconds), so that a time to
    /// wait counts from there; zero where that is not said.
    pub began: u64,
    /// `struct sockaddr` of our side and of the peer's, where they are wanted: a
    /// connection that is over has none any more. All zero where unknown.
    pub addresses: [[u8; Request::ADDRESS]; 2],
    /// The program's thread name, or a file's; NUL-padded.
    pub name: [u8; Request::NAME],
}

/// Why bytes are not a [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not [`Request::SIZE`] bytes.
    Length(usize),
    /// The first word is not the protocol's.
    Magic(u32),
    /// Another version's shim.
    Version(u16),
    /// No such kind.
    Kind(u16),
}

impl Request {
    /// Bytes of a message.
    pub const SIZE: usize = 64 + 2 * Self::ADDRESS + Self::NAME;
    /// Bytes of an address: as long as the longest we know, a `sockaddr_in6`.
    pub const ADDRESS: usize = 28;
    /// Bytes of `name`.
    pub const NAME: usize = 80;

    const MAGIC: u32 = 0x6c62_7974;
    const VERSION: u16 = 2;

    /// A request with nothing but its kind and descriptor.
    #[must_use]
    pub const fn new(kind: Kind, fd: i32) -> Self {
        Self {
            kind,
            fd,
            nonce: 0,
            flags: 0,
            linger: Linger {
                l_onoff: 0,
                l_linger: 0,
            },
            inode: 0,
            cookie: 0,
            left: None,
            state: 0,
            unread: None,
            began: 0,
            addresses: [[0; Self::ADDRESS]; 2],
            name: [0; Self::NAME],
        }
    }

    /// The message's bytes, in this machine's byte order.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let kind: u16 = match self.kind {
            Kind::End => 1,
            Kind::EndAfterExit => 2,
            Kind::Shared => 3,
            Kind::Uncovered => 4,
            Kind::EndUnlessHeld => 5,
            Kind::Opened => 6,
            Kind::HalfClosed => 7,
            Kind::Closes => 8,
        };
        let left = self.left.map_or(0, |left| left.index() as u16 + 1);
        let mut out = [0; Self::SIZE];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            if let Some(room) = out.get_mut(at..at + bytes.len()) {
                room.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        put(&Self::MAGIC.to_ne_bytes());
        put(&Self::VERSION.to_ne_bytes());
        put(&kind.to_ne_bytes());
        put(&self.fd.to_ne_bytes());
        put(&self.nonce.to_ne_bytes());
        put(&self.flags.to_ne_bytes());
        put(&self.linger.l_onoff.to_ne_bytes());
        put(&self.linger.l_linger.to_ne_bytes());
        put(&self.inode.to_ne_bytes());
        put(&self.cookie.to_ne_bytes());
        put(&left.to_ne_bytes());
        put(&u16::from(self.state).to_ne_bytes());
        put(&self.unread.unwrap_or(UNKNOWN).to_ne_bytes());
        put(&self.began.to_ne_bytes());
        for address in &self.addresses {
            put(address);
        }
        put(&self.name);
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let message: &[u8; Self::SIZE] = bytes
            .try_into()
            .map_err(|_| Malformed::Length(bytes.len()))?;
        let mut fields = Fields(message);
        let magic = u32::from_ne_bytes(fields.take());
        if magic != Self::MAGIC {
            return Err(Malformed::Magic(magic));
        }
        let version = u16::from_ne_bytes(fields.take());
        if version != Self::VERSION {
            return Err(Malformed::Version(version));
        }
        let kind = match u16::from_ne_bytes(fields.take()) {
            1 => Kind::End,
            2 => Kind::EndAfterExit,
            3 => Kind::Shared,
            4 => Kind::Uncovered,
            5 => Kind::EndUnlessHeld,
            6 => Kind::Opened,
            7 => Kind::HalfClosed,
            8 => Kind::Closes,
            other => return Err(Malformed::Kind(other)),
        };
        let request = Self {
            kind,
            fd: i32::from_ne_bytes(fields.take()),
            nonce: u64::from_ne_bytes(fields.take()),
            flags: u32::from_ne_bytes(fields.take()),
            linger: Linger {
                l_onoff: i32::from_ne_bytes(fields.take()),
                l_linger: i32::from_ne_bytes(fields.take()),
            },
            inode: u64::from_ne_bytes(fields.take()),
            cookie: u64::from_ne_bytes(fields.take()),
            left: reason(u16::from_ne_bytes(fields.take())),
            // What is no state is not known.
            state: u8::try_from(u16::from_ne_bytes(fields.take())).unwrap_or(0),
            unread: Some(u32::from_ne_bytes(fields.take())).filter(|unread| *unread != UNKNOWN),
            began: u64::from_ne_bytes(fields.take()),
            addresses: [fields.take(), fields.take()],
            name: fields.take(),
        };
        Ok(request)
    }

    /// `name` up to its first NUL.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
    }
}

/// The reason of that number; none for what is no reason.
fn reason(number: u16) -> Option<Left> {
    Left::ALL
        .into_iter()
        .find(|left| left.index() + 1 == usize::from(number))
}

/// Takes fields off the front; what is missing reads as zero, which cannot
/// happen because the length was checked first.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::End),
            Just(Kind::EndAfterExit),
            Just(Kind::Shared),
            Just(Kind::Uncovered),
            Just(Kind::EndUnlessHeld),
            Just(Kind::Opened),
            Just(Kind::HalfClosed),
            Just(Kind::Closes),
        ]
    }

    proptest! {
        #[test]
        fn a_request_arrives_as_it_was_sent(
            kind in kinds(), fd: i32, nonce: u64, flags: u32,
            l_onoff: i32, l_linger: i32, inode: u64, cookie: u64, left in 0..=Left::ALL.len(),
            state: u8, unread in proptest::option::of(0..UNKNOWN), began: u64, remote: [u8; 28], name: [u8; 32],
        ) {
            let mut request = Request::new(kind, fd);
            request.nonce = nonce;
            request.flags = flags;
            request.linger = Linger { l_onoff, l_linger };
            request.inode = inode;
            request.cookie = cookie;
            request.left = left.checked_sub(1).and_then(|index| Left::ALL.get(index).copied());
            request.state = state;
            request.unread = unread;
            request.began = began;
            request.addresses[1] = remote;
            request.name[..32].copy_from_slice(&name);
            prop_assert_eq!(Request::parse(&request.encode()), Ok(request));
        }

        #[test]
        fn any_bytes_are_a_request_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(request) = Request::parse(&bytes) {
                prop_assert_eq!(Request::parse(&request.encode()), Ok(request));
            }
        }

        #[test]
        fn a_damaged_request_is_an_error_or_another_request(at in 0..Request::SIZE, bit in 0..8_u32) {
            let mut bytes = Request::new(Kind::End, 7).encode();
            bytes[at] ^= 1 << bit;
            match Request::parse(&bytes) {
                Ok(_) => prop_assert!(at >= 6),
                Err(Malformed::Magic(_)) => prop_assert!(at < 4),
                Err(Malformed::Version(_)) => prop_assert!((4..6).contains(&at)),
                Err(Malformed::Kind(_)) => prop_assert!((6..8).contains(&at)),
                Err(Malformed::Length(_)) => prop_assert!(false),
            }
        }
    }

    #[test]
    fn the_length_is_part_of_the_protocol() {
        let bytes = Request::new(Kind::Shared, 3).encode();
        assert_eq!(
            Request::parse(&bytes[1..]),
            Err(Malformed::Length(Request::SIZE - 1))
        );
        assert_eq!(Request::parse(&[]), Err(Malformed::Length(0)));
    }
}
