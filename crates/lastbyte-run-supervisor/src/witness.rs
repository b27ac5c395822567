//! What the kernel says of the run's sockets: its notices of their ends, and whether a
//! socket is whose a program says it is. Nothing here touches a socket of a program's.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use lastbyte_run_protocol::Request;
use lastbyte_tcp::destroyed::{Buffer, Subscriber};
use lastbyte_tcp::diag::{self, Socket};
use lastbyte_tcp::netlink;

use crate::channel::{Sender, check};
use crate::connections;
use crate::last_word::Notice;

/// Asked for; the system may allow less.
const ROOM: usize = 8 << 20;
/// Notices read at once, so that signals do not starve.
const BATCH: usize = 4096;
/// Room for one answer.
const ANSWER: usize = 8192;

pub(crate) struct Witness {
    subscriber: Subscriber,
    buffer: Buffer,
    diag: Diag,
    /// Our own user.
    user: u32,
}

/// Asks the kernel for sockets by their addresses.
pub(crate) struct Diag {
    socket: OwnedFd,
    sequence: u32,
}

/// What the kernel says of a socket.
pub(crate) struct Found {
    pub(crate) cookie: u64,
    pub(crate) inode: u64,
    pub(crate) user: u32,
}

impl Witness {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            subscriber: Subscriber::subscribe(ROOM)?,
            buffer: Buffer::new(),
            diag: Diag::new()?,
            // SAFETY: cannot fail.
            user: unsafe { libc::getuid() },
        })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.subscriber.as_fd()
    }

    /// Reads notices of sockets that `is_wanted`.
    pub(crate) fn drain(&mut self, is_wanted: impl Fn(u64) -> bool, notices: &mut Vec<Notice>) {
        // A broken descriptor gives nothing more, and all that is left then is null.
        let _ = self.subscriber.drain(&mut self.buffer, BATCH, |socket| {
            if is_wanted(socket.cookie()) {
                notices.push(socket.into());
            }
        });
    }

    /// The addresses of the announced socket, if it is the sender's. A process of our own
    /// user is believed: it could trace us as well. Of others the kernel must have a
    /// socket with that cookie there, and it must be of the same user, or the sender hold
    /// it. One that is gone by now is not confirmed.
    pub(crate) fn confirm(&mut self, request: &Request, sender: Sender) -> Option<[SocketAddr; 2]> {
        let [local, remote] = connections::addresses(request)?;
        if self.is_trusted(sender) {
            return Some([local, remote]);
        }
        let found = self.diag.find(local, remote)?;
        let is_senders = found.cookie == request.cookie
            && (found.user == sender.user || holds(sender.process, request.fd, found.inode));
        is_senders.then_some([local, remote])
    }

    fn is_trusted(&self, sender: Sender) -> bool {
        sender.user == self.user || sender.user == 0
    }

    /// Whether the sender holds the socket that it says it closes.
    pub(crate) fn is_holder(&mut self, request: &Request, sender: Sender) -> bool {
        if self.is_trusted(sender) {
            return true;
        }
        connections::addresses(request)
            .and_then(|[local, remote]| self.diag.find(local, remote))
            .is_some_and(|found| {
                found.cookie == request.cookie && holds(sender.process, request.fd, found.inode)
            })
    }
}

impl Diag {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            socket: netlink::sock_diag()?,
            sequence: 0,
        })
    }

    /// The socket with these ends. The kernel answers within the system call that asks.
    pub(crate) fn find(&mut self, local: SocketAddr, remote: SocketAddr) -> Option<Found> {
        if local.is_ipv4() != remote.is_ipv4() {
            return None;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let question = diag::Request::Find { local, remote }.encode(self.sequence);
        let fd = self.socket.as_raw_fd();
        // SAFETY: reads the whole question.
        let sent = unsafe { libc::send(fd, question.as_ptr().cast(), question.len(), 0) };
        if sent < 0 {
            return None;
        }
        let mut answer = [0_u8; ANSWER];
        loop {
            // SAFETY: room for as many bytes as said.
            let length = unsafe {
                let budget = answer.as_mut_ptr().cast();
                libc::recv(fd, budget, answer.len(), libc::MSG_DONTWAIT)
            };
            let bytes = answer.get(..usize::try_from(length).ok()?)?;
            for message in netlink::messages(bytes) {
                // An answer to an earlier question that was given up.
                if message.sequence != self.sequence {
                    continue;
                }
                let socket = Socket::parse(message.payload)?;
                return Some(Found {
                    cookie: socket.cookie(),
                    inode: socket.inode().into(),
                    user: socket.uid(),
                });
            }
        }
    }
}

/// Whether the process has that socket at that descriptor.
fn holds(process: libc::pid_t, fd: i32, inode: u64) -> bool {
    let link = fs::read_link(format!("/proc/{process}/fd/{fd}"));
    link.is_ok_and(|link| link.as_os_str() == format!("socket:[{inode}]").as_str())
}

/// CLOCK_MONOTONIC in nanoseconds, the clock of a request's `began`.
pub(crate) fn monotonic() -> u64 {
    let mut now = std::mem::MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: room for a time; zeroed is one too.
    let now = unsafe {
        let _ = check(libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()));
        now.assume_init()
    };
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}
