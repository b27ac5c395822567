//! The destroy multicast: `SKNLGRP_INET_TCP_DESTROY` and `_INET6_TCP_DESTROY` of
//! `NETLINK_SOCK_DIAG`. One message per TCP socket destroyed in the network
//! namespace, with its final counts; no privilege needed.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::{check, doing};

const BATCH: usize = 64;
/// A message of Linux 6.18 has 384 bytes; newer ones may grow.
const MESSAGE: usize = 1024;
/// Asked for with privilege: room for some 50 000 obituaries. Memory is taken
/// only as far as they come.
const WANTED_BUFFER: libc::c_int = 64 << 20;

const SKNLGRP_INET_TCP_DESTROY: u32 = 1;
const SKNLGRP_INET6_TCP_DESTROY: u32 = 3;

/// The subscription.
#[derive(Debug)]
pub struct Destroyed {
    fd: OwnedFd,
    room: usize,
    buffers: Box<[[u8; MESSAGE]; BATCH]>,
}

/// What one reading brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Messages read.
    pub messages: usize,
    /// Times the kernel said (`ENOBUFS`) that it had dropped messages since the
    /// last reading; how many, it does not say.
    pub overruns: u64,
}

impl Destroyed {
    /// Subscribes, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// No netlink (`EPROTONOSUPPORT`: the kernel lacks `CONFIG_INET_DIAG`), or no
    /// descriptor left.
    pub fn subscribe() -> io::Result<Self> {
        let fd = netlink_socket().map_err(doing("cannot open NETLINK_SOCK_DIAG"))?;
        let room = widen(fd.as_fd(), WANTED_BUFFER)?;
        // SAFETY: a zeroed sockaddr_nl is a valid one.
        let mut address: libc::sockaddr_nl = unsafe { zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        address.nl_groups =
            1 << (SKNLGRP_INET_TCP_DESTROY - 1) | 1 << (SKNLGRP_INET6_TCP_DESTROY - 1);
        // SAFETY: address is a valid sockaddr_nl and its size is given.
        check(unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_nl>() as libc::socklen_t,
            )
        })
        .map_err(doing("cannot subscribe to the destroy multicast"))?;
        Ok(Self {
            fd,
            room,
            buffers: vec![[0; MESSAGE]; BATCH]
                .into_boxed_slice()
                .try_into()
                .unwrap_or_else(|_| unreachable!("BATCH buffers were made")),
        })
    }

    /// The receive buffer in bytes, as the kernel counts it.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room
    }

    /// Reads what has come, without waiting.
    ///
    /// # Errors
    ///
    /// Only a broken descriptor's.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<Drained> {
        let mut drained = Drained::default();
        loop {
            match self.receive() {
                Ok(lengths) => {
                    for (buffer, length) in self.buffers.iter().zip(lengths.iter()) {
                        if let Some(message) = length.and_then(|n| buffer.get(..n)) {
                            each(message);
                            drained.messages += 1;
                        }
                    }
                    if lengths.contains(&None) {
                        return Ok(drained);
                    }
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOBUFS) => drained.overruns += 1,
                    Some(libc::EAGAIN) => return Ok(drained),
                    Some(libc::EINTR) => {}
                    _ => return Err(doing("cannot read the destroy multicast")(error)),
                },
            }
        }
    }

    /// The lengths of up to `BATCH` messages; `None` from where there were no more.
    fn receive(&mut self) -> io::Result<[Option<usize>; BATCH]> {
        // SAFETY: zeroed iovec and mmsghdr are valid, empty ones.
        let (mut parts, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (zeroed(), zeroed()) };
        for ((part, header), buffer) in parts
            .iter_mut()
            .zip(&mut headers)
            .zip(self.buffers.iter_mut())
        {
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

impl AsFd for Destroyed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A socket of `NETLINK_SOCK_DIAG`.
pub(super) fn netlink_socket() -> io::Result<OwnedFd> {
    // SAFETY: plain system call; the result is checked.
    let fd = check(unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_SOCK_DIAG,
        )
    })?;
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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
