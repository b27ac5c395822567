//! Requests to inet_diag: dumps of the socket table, and look-ups by the ends.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use lastbyte_tcp::diag::{self, Request};
use lastbyte_tcp::netlink;

use super::doing;
use crate::parse::inet_diag::Socket;
use crate::tuple::{Place, Tuple};

/// A dump is sent in parts of at most 32 KiB.
const PART: usize = 64 << 10;
/// Look-ups sent at once; their answers fit the smallest default buffer.
const LOOK_UPS: usize = 32;

/// A socket to ask.
#[derive(Debug)]
pub(crate) struct Diag {
    fd: OwnedFd,
    /// The watch's number of the network namespace.
    space: u32,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl Diag {
    /// Opens it, in the network namespace of the calling thread, which the watch knows
    /// by this number.
    ///
    /// # Errors
    ///
    /// As [`Destroyed::subscribe`](super::destroy::Destroyed::subscribe).
    pub(crate) fn open(space: u32) -> io::Result<Self> {
        Ok(Self {
            space,
            fd: netlink::sock_diag().map_err(doing("cannot open NETLINK_SOCK_DIAG"))?,
            sequence: 0,
            buffer: vec![0; PART].into_boxed_slice(),
        })
    }

    /// Every TCP socket in one of the states ([`State::bit`][bit]), of both
    /// address families.
    ///
    /// [bit]: crate::tuple::State::bit
    ///
    /// # Errors
    ///
    /// What the kernel answers instead of the dump.
    pub(crate) fn dump(
        &mut self,
        states: u32,
        info: bool,
        mut each: impl FnMut(&Socket),
    ) -> io::Result<()> {
        for family in [diag::IPV4, diag::IPV6] {
            let request = Request::Dump {
                family,
                states,
                info,
            };
            let sequence = self.send(&[request])?;
            loop {
                let length = self.receive()?;
                let mut done = false;
                for message in netlink::messages(&self.buffer[..length]) {
                    if message.sequence != sequence {
                        continue;
                    }
                    match message.kind {
                        netlink::DONE => done = true,
                        netlink::ERROR => match message.error() {
                            // No IPv6 in this kernel.
                            Some(libc::ENOENT) => done = true,
                            errno => return Err(refused(errno)),
                        },
                        _ => {
                            if let Some(socket) = self.parse(message.payload) {
                                each(&socket);
                            }
                        }
                    }
                }
                if done {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What the kernel holds for each of these ends now.
    ///
    /// # Errors
    ///
    /// A broken descriptor's.
    pub(crate) fn find(
        &mut self,
        tuples: &[Tuple],
        mut each: impl FnMut(Place, Option<&Socket>),
    ) -> io::Result<()> {
        for chunk in tuples.chunks(LOOK_UPS) {
            let requests: Vec<_> = chunk.iter().map(find).collect();
            let first = self.send(&requests)?;
            let mut answered = vec![false; chunk.len()];
            while answered.contains(&false) {
                let length = self.receive()?;
                for message in netlink::messages(&self.buffer[..length]) {
                    let index = message.sequence.wrapping_sub(first);
                    let Some(index) = usize::try_from(index).ok().filter(|i| *i < chunk.len())
                    else {
                        continue;
                    };
                    if std::mem::replace(&mut answered[index], true) {
                        continue;
                    }
                    let socket = match message.kind {
                        netlink::ERROR => None,
                        _ => self.parse(message.payload),
                    };
                    let space = self.space;
                    let tuple = chunk[index];
                    each(Place { space, tuple }, socket.as_ref());
                }
            }
        }
        Ok(())
    }

    fn parse(&self, message: &[u8]) -> Option<Socket> {
        let socket = Socket::parse(message)?;
        let space = self.space;
        Some(Socket { space, ..socket })
    }

    /// Sends requests in one datagram, numbered from what it returns.
    fn send(&mut self, requests: &[Request]) -> io::Result<u32> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::with_capacity(requests.len() * diag::REQUEST);
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            datagram.extend(request.encode(self.sequence));
        }
        // SAFETY: the datagram is valid for its length.
        let sent = unsafe {
            libc::send(
                self.fd.as_raw_fd(),
                datagram.as_ptr().cast(),
                datagram.len(),
                0,
            )
        };
        if sent < 0 {
            return Err(doing("cannot ask inet_diag")(io::Error::last_os_error()));
        }
        Ok(first)
    }

    fn receive(&mut self) -> io::Result<usize> {
        loop {
            // SAFETY: the buffer is valid for its length.
            let length = unsafe {
                libc::recv(
                    self.fd.as_raw_fd(),
                    self.buffer.as_mut_ptr().cast(),
                    self.buffer.len(),
                    0,
                )
            };
            match usize::try_from(length) {
                Ok(length) => return Ok(length),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(doing("cannot read inet_diag's answer")(error));
                    }
                }
            }
        }
    }
}

fn find(tuple: &Tuple) -> Request {
    Request::Find {
        local: SocketAddr::new(tuple.local.ip, tuple.local.port),
        remote: SocketAddr::new(tuple.remote.ip, tuple.remote.port),
    }
}

fn refused(errno: Option<i32>) -> io::Error {
    match errno {
        Some(errno) => doing("inet_diag refused the dump")(io::Error::from_raw_os_error(errno)),
        None => io::Error::other("inet_diag's refusal was cut off"),
    }
}
