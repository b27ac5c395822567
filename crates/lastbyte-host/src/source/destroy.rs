//! The destroy multicast: `SKNLGRP_INET_TCP_DESTROY` and `_INET6_TCP_DESTROY` of
//! `NETLINK_SOCK_DIAG`. One message per TCP socket destroyed in the network
//! namespace, with its final counts; no privilege needed.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use super::netlink::netlink_socket;
use super::{check, doing};

const BATCH: usize = 64;
/// A message of Linux 6.18 has 384 bytes; newer ones may grow.
const MESSAGE: usize = 1024;
/// Asked for: with privilege room for some 100 000 destroy notices. Memory is taken only
/// as far as they come.
const WANTED_BUFFER: libc::c_int = 64 << 20;

const SKNLGRP_INET_TCP_DESTROY: u32 = 1;
const SKNLGRP_INET6_TCP_DESTROY: u32 = 3;

/// Sockets to share the messages at most: each costs the kernel a look at every
/// message.
const SHARES: usize = 8;
/// Messages read at once: whoever sends as fast as they are read must not keep
/// the reader from all else.
const AT_ONCE: usize = 128 * BATCH;

/// The subscription: one socket, or several that share the messages where one
/// alone has little room.
#[derive(Debug)]
pub(crate) struct Destroyed {
    shares: Vec<Share>,
    buffers: Box<[[u8; MESSAGE]; BATCH]>,
}

/// A socket that gets its share of the messages.
#[derive(Debug)]
struct Share {
    fd: OwnedFd,
    room: usize,
    counted: bool,
    drops: u32,
}

/// What one reading brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Messages read.
    pub messages: usize,
    /// Messages that the kernel dropped since the last reading because its
    /// buffer was full; at least so many where the kernel does not count them.
    pub dropped: u64,
    /// More may be there.
    pub more: bool,
}

impl Destroyed {
    /// Subscribes, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// No netlink (`EPROTONOSUPPORT`: the kernel lacks `CONFIG_INET_DIAG`), or no
    /// descriptor left.
    pub(crate) fn subscribe() -> io::Result<Self> {
        let first = Share::open()?;
        // A power of two, as cookies are shared out by their lowest bits.
        let number = (WANTED_BUFFER as usize / first.room.max(1)).clamp(1, SHARES);
        let number = number.next_power_of_two();
        let mut shares = vec![first];
        while shares.len() < number {
            shares.push(Share::open()?);
        }
        for (index, share) in shares.iter().enumerate() {
            if number > 1 {
                share.take_one_in(number as u32, index as u32)?;
            }
            share.bind()?;
        }
        Ok(Self {
            shares,
            buffers: vec![[0; MESSAGE]; BATCH]
                .into_boxed_slice()
                .try_into()
                .unwrap_or_else(|_| unreachable!("BATCH buffers were made")),
        })
    }

    /// The receive buffers in bytes, as the kernel counts them.
    #[must_use]
    pub(crate) fn room(&self) -> usize {
        self.shares.iter().map(|share| share.room).sum()
    }

    /// The sockets, to wait for.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.shares.iter().map(|share| share.fd.as_fd())
    }

    /// Reads what has come, or a good part of it, without waiting.
    ///
    /// # Errors
    ///
    /// Only a broken descriptor's.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<Drained> {
        let mut drained = Drained::default();
        let at_once = AT_ONCE / self.shares.len();
        for share in &mut self.shares {
            let one = share.drain(&mut self.buffers, at_once, &mut each)?;
            drained.messages += one.messages;
            drained.dropped += one.dropped;
            drained.more |= one.more;
        }
        Ok(drained)
    }
}

impl Share {
    fn open() -> io::Result<Self> {
        let fd = netlink_socket().map_err(doing("cannot open NETLINK_SOCK_DIAG"))?;
        let room = widen(fd.as_fd(), WANTED_BUFFER)?;
        let drops = drops(fd.as_fd());
        if drops.is_some() {
            go_on_after_drops(fd.as_fd());
        }
        Ok(Self {
            fd,
            room,
            counted: drops.is_some(),
            drops: drops.unwrap_or(0),
        })
    }

    fn bind(&self) -> io::Result<()> {
        // SAFETY: a zeroed sockaddr_nl is a valid one.
        let mut address: libc::sockaddr_nl = unsafe { zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups =
            1 << (SKNLGRP_INET_TCP_DESTROY - 1) | 1 << (SKNLGRP_INET6_TCP_DESTROY - 1);
        // SAFETY: address is a valid sockaddr_nl and its size is given.
        check(unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_nl>() as libc::socklen_t,
            )
        })
        .map_err(doing("cannot subscribe to the destroy multicast"))?;
        Ok(())
    }

    /// Lets through one in `number` messages, a power of two up to 256, by the
    /// lowest byte of the socket's cookie.
    fn take_one_in(&self, number: u32, which: u32) -> io::Result<()> {
        // Into the message: its header of 16 bytes, the cookie at 44.
        const COOKIE: u32 = 16 + 44;
        let lowest = if cfg!(target_endian = "big") { 3 } else { 0 };
        let statement = |code, k| libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf: 0,
            k,
        };
        let mut program = [
            statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, COOKIE + lowest),
            statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, number - 1),
            libc::sock_filter {
                jf: 1,
                ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, which)
            },
            statement(libc::BPF_RET | libc::BPF_K, u32::MAX),
            statement(libc::BPF_RET | libc::BPF_K, 0),
        ];
        let program = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the program and its length are valid through the call.
        check(unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        })
        .map_err(doing("cannot share out the destroy multicast"))?;
        Ok(())
    }

    fn drain(
        &mut self,
        buffers: &mut [[u8; MESSAGE]; BATCH],
        at_once: usize,
        each: &mut impl FnMut(&[u8]),
    ) -> io::Result<Drained> {
        let mut drained = Drained::default();
        while drained.messages < at_once {
            match self.receive(buffers) {
                Ok(lengths) => {
                    for (buffer, length) in buffers.iter().zip(lengths.iter()) {
                        if let Some(message) = length.and_then(|n| buffer.get(..n)) {
                            each(message);
                            drained.messages += 1;
                        }
                    }
                    if lengths.contains(&None) {
                        break;
                    }
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOBUFS) if self.counted => {}
                    Some(libc::ENOBUFS) => drained.dropped += 1,
                    Some(libc::EAGAIN) => break,
                    Some(libc::EINTR) => {}
                    _ => return Err(doing("cannot read the destroy multicast")(error)),
                },
            }
        }
        drained.more = drained.messages >= at_once;
        if self.counted
            && let Some(drops) = drops(self.fd.as_fd())
        {
            drained.dropped = drops.wrapping_sub(self.drops).into();
            self.drops = drops;
        }
        Ok(drained)
    }

    /// The lengths of up to `BATCH` messages; `None` from where there were no more.
    fn receive(&self, buffers: &mut [[u8; MESSAGE]; BATCH]) -> io::Result<[Option<usize>; BATCH]> {
        // SAFETY: zeroed iovec and mmsghdr are valid, empty ones.
        let (mut parts, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (zeroed(), zeroed()) };
        for ((part, header), buffer) in parts.iter_mut().zip(&mut headers).zip(buffers.iter_mut()) {
            part.iov_base = buffer.as_mut_ptr().cast();
            part.iov_len = MESSAGE;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: each header points to one iovec over one buffer of MESSAGE
        // bytes, all of which live until the call returns.
        let count = check(unsafe {
            libc::recvmmsg(
                self.fd.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        })?;
        let mut lengths = [None; BATCH];
        let count = usize::try_from(count).unwrap_or(0);
        for (length, header) in lengths.iter_mut().zip(headers).take(count) {
            *length = usize::try_from(header.msg_len).ok();
        }
        Ok(lengths)
    }
}

/// How many messages the kernel has dropped so far because the socket's buffer
/// was full; `None` before Linux 4.12.
fn drops(fd: BorrowedFd<'_>) -> Option<u32> {
    const SO_MEMINFO: libc::c_int = 55;
    const DROPS: usize = 8;
    let mut memory = [0u32; 9];
    let mut length = size_of_val(&memory) as libc::socklen_t;
    // SAFETY: `memory` is valid for the length given.
    let told = check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut length,
        )
    });
    let whole = told.is_ok() && length as usize == size_of_val(&memory);
    whole.then_some(memory[DROPS])
}

/// Asks the kernel to deliver again as soon as there is room. It would say
/// `ENOBUFS` instead, and drop everything until the buffer has been emptied.
fn go_on_after_drops(fd: BorrowedFd<'_>) {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is one int, which lives through the call.
    // Refused, more is dropped, and counted.
    unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_NO_ENOBUFS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}

/// Widens the receive buffer as far as the privilege goes; says how far.
fn widen(fd: BorrowedFd<'_>, wanted: libc::c_int) -> io::Result<usize> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        // SAFETY: the option's value is one int, which lives through the call.
        let set = check(unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const wanted).cast(),
                length,
            )
        });
        if set.is_ok() {
            break;
        }
    }
    let mut room: libc::c_int = 0;
    let mut length = length;
    // SAFETY: `room` is one int and `length` says so.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw mut room).cast(),
            &raw mut length,
        )
    })?;
    Ok(usize::try_from(room).unwrap_or(0))
}
