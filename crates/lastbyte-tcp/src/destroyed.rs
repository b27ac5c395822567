//! The kernel's notice of each TCP socket's end: the multicast groups
//! `SKNLGRP_INET_TCP_DESTROY` and `SKNLGRP_INET6_TCP_DESTROY` of `NETLINK_SOCK_DIAG`
//! ([sock_diag(7)], `net/core/sock_diag.c`; Linux 4.5).
//!
//! The kernel sends one [`Socket`], with its final counts, when the last
//! reference to a TCP socket of the network namespace is gone: for a connection that was
//! closed in order, that is when the FIN was acknowledged. What waits on in TIME_WAIT, or
//! in FIN_WAIT2 without a socket, is not awaited. Anyone may subscribe.
//!
//! ```no_run
//! use lastbyte_tcp::destroyed::{Buffer, Subscriber};
//!
//! let mut subscriber = Subscriber::subscribe(8 << 20)?;
//! let mut buffer = Buffer::new();
//! // Whenever it is readable:
//! let drained = subscriber.drain(&mut buffer, usize::MAX, |socket| {
//!     println!("{} -> {}: {} unacknowledged", socket.local(), socket.remote(), socket.wqueue());
//! })?;
//! if drained.dropped > 0 {
//!     println!("and {} that nobody saw", drained.dropped);
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [sock_diag(7)]: https://man7.org/linux/man-pages/man7/sock_diag.7.html

use std::boxed::Box;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::vec::Vec;

use crate::diag::{self, Socket};
use crate::netlink;

const SKNLGRP_INET_TCP_DESTROY: u32 = 1;
const SKNLGRP_INET6_TCP_DESTROY: u32 = 3;

/// Messages that one system call takes.
const BATCH: usize = 64;
/// Room for one message, of which Linux 6.18's have 384 bytes.
const MESSAGE: usize = 1024;

/// A subscription to the notices of one network namespace. It is readable while notices
/// wait.
///
/// The kernel keeps what waits in the socket's receive buffer, and drops what does not
/// fit. Reading is therefore to be quick; [`Drained::dropped`] says what was missed.
#[derive(Debug)]
pub struct Subscriber {
    socket: OwnedFd,
    room: usize,
    /// Messages dropped so far; `None` where the kernel does not count them.
    drops: Option<u32>,
}

/// Room to read notices into, 64 KiB on the heap. Several subscribers can share one.
#[derive(Debug)]
pub struct Buffer(Box<[[u8; MESSAGE]; BATCH]>);

/// What one reading brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// How many notices were read.
    pub notices: usize,
    /// How many notices were lost since the last reading because the receive buffer was
    /// full; at least so many where the kernel does not count them (before Linux 4.12).
    pub dropped: u64,
    /// Whether reading ended at the limit, so that more may wait.
    pub more: bool,
}

impl Drained {
    /// Adds what another reading brought.
    pub fn add(&mut self, other: Self) {
        self.notices += other.notices;
        self.dropped += other.dropped;
        self.more |= other.more;
    }
}

impl Buffer {
    /// Allocates the room.
    #[must_use]
    pub fn new() -> Self {
        let bytes = std::vec![[0; MESSAGE]; BATCH].into_boxed_slice();
        Self(bytes.try_into().expect("it was made of BATCH messages"))
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Subscriber {
    /// Subscribes in the network namespace of the calling thread, and asks for a receive
    /// buffer of `room` bytes. Beyond `net.core.rmem_max` that takes `CAP_NET_ADMIN`;
    /// without it the buffer is as large as allowed ([`room`](Self::room)). Memory is
    /// taken only while notices wait.
    ///
    /// # Errors
    ///
    /// As of [`netlink::sock_diag`], and what bind(2) answers.
    pub fn subscribe(room: usize) -> io::Result<Self> {
        let subscriber = Self::open(room)?;
        subscriber.bind()?;
        Ok(subscriber)
    }

    /// Subscribes with several sockets that share the notices, where one alone is allowed
    /// less than `room` bytes: as many as it takes, `most` at most, which the kernel
    /// limits to 256. Each costs the kernel a look at every notice.
    ///
    /// # Errors
    ///
    /// As of [`subscribe`](Self::subscribe), and where a filter is refused.
    pub fn subscribe_shared(room: usize, most: usize) -> io::Result<Vec<Self>> {
        let first = Self::open(room)?;
        let number = shares(room, first.room, most);
        let mut shares = Vec::with_capacity(number);
        shares.push(first);
        while shares.len() < number {
            shares.push(Self::open(room)?);
        }
        for (which, share) in (0..).zip(&shares) {
            if number > 1 {
                share.take_one_in(number as u32, which)?;
            }
            share.bind()?;
        }
        Ok(shares)
    }

    /// Returns the size of the receive buffer as the kernel accounts for it: some 300
    /// notices fit the default of 208 KiB.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room
    }

    /// Returns the cookie of the network namespace that the notices are of, as
    /// [`namespace`] does for any socket.
    #[must_use]
    pub fn namespace(&self) -> Option<u64> {
        namespace(self.as_fd())
    }

    /// Reads what waits, about `at_most` notices, without waiting for more, and gives each
    /// to `each`.
    ///
    /// # Errors
    ///
    /// What recvmmsg(2) answers; of a working descriptor it answers nothing that ends up
    /// here. What was read before was given to `each`.
    pub fn drain(
        &mut self,
        buffer: &mut Buffer,
        at_most: usize,
        mut each: impl FnMut(Socket<'_>),
    ) -> io::Result<Drained> {
        let mut drained = Drained::default();
        let mut received = 0;
        while received < at_most {
            let count = match self.receive(buffer, &mut drained, &mut each) {
                Ok(count) => count,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    Some(libc::EINTR) => continue,
                    Some(libc::ENOBUFS) => {
                        // Reported once for any number that were lost.
                        drained.dropped += u64::from(self.drops.is_none());
                        continue;
                    }
                    _ => return Err(error),
                },
            };
            received += count;
            // What came since makes it readable again.
            if count < BATCH {
                break;
            }
        }
        drained.more = received >= at_most;
        if let (Some(before), Some(now)) = (self.drops, drops(self.as_fd())) {
            drained.dropped += u64::from(now.wrapping_sub(before));
            self.drops = Some(now);
        }
        Ok(drained)
    }

    fn open(room: usize) -> io::Result<Self> {
        let socket = netlink::sock_diag()?;
        let room = widen(socket.as_fd(), room)?;
        let drops = drops(socket.as_fd());
        if drops.is_some() {
            go_on_after_drops(socket.as_fd());
        }
        Ok(Self {
            socket,
            room,
            drops,
        })
    }

    fn bind(&self) -> io::Result<()> {
        // SAFETY: all zero is a valid sockaddr_nl.
        let mut address: libc::sockaddr_nl = unsafe { zeroed() };
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        // Group n is bit n − 1.
        address.nl_groups =
            1 << (SKNLGRP_INET_TCP_DESTROY - 1) | 1 << (SKNLGRP_INET6_TCP_DESTROY - 1);
        // SAFETY: reads one sockaddr_nl of the length passed.
        check(unsafe {
            libc::bind(
                self.socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_nl>() as libc::socklen_t,
            )
        })?;
        Ok(())
    }

    /// Lets through one in `number` notices, a power of two up to 256, by the lowest byte
    /// of the socket's cookie.
    fn take_one_in(&self, number: u32, which: u32) -> io::Result<()> {
        let lowest = if cfg!(target_endian = "big") { 3 } else { 0 };
        let cookie = diag::COOKIE_IN_MESSAGE + lowest;
        let statement = |code, k| libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf: 0,
            k,
        };
        let mut program = [
            statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, cookie),
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
        set_option(
            self.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            &program,
        )
    }

    /// Makes one recvmmsg(2), gives what came to `each`, and returns how many datagrams
    /// that were.
    fn receive(
        &self,
        buffer: &mut Buffer,
        drained: &mut Drained,
        each: &mut impl FnMut(Socket<'_>),
    ) -> io::Result<usize> {
        let mut places = buffer.0.each_mut().map(|message| libc::iovec {
            iov_base: message.as_mut_ptr().cast(),
            iov_len: MESSAGE,
        });
        let mut headers = places.each_mut().map(|place| {
            // SAFETY: all zero is a valid mmsghdr, of nothing.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_iov = place;
            header.msg_hdr.msg_iovlen = 1;
            header
        });
        // SAFETY: each header has one place, each place is a whole message of the
        // buffer's, and all outlive the call; no time-out is passed.
        let count = check(unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        })?;
        let count = usize::try_from(count).unwrap_or(0);
        for (bytes, header) in buffer.0.iter().zip(&headers).take(count) {
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                // Longer than any kernel's so far: it is lost like one that was dropped.
                drained.dropped += 1;
                continue;
            }
            let length = MESSAGE.min(header.msg_len as usize);
            notices(&bytes[..length], |socket| {
                drained.notices += 1;
                each(socket);
            });
        }
        Ok(count)
    }
}

impl AsFd for Subscriber {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Returns the cookie of the network namespace that a socket is in (`SO_NETNS_COOKIE`,
/// Linux 5.14), or `None` where the kernel has none.
#[must_use]
pub fn namespace(socket: BorrowedFd<'_>) -> Option<u64> {
    // asm-generic/socket.h; the libc crate has it for some systems only.
    const SO_NETNS_COOKIE: libc::c_int =
        if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
            0x0050
        } else {
            71
        };
    let (cookie, length) = option::<u64>(socket, SO_NETNS_COOKIE).ok()?;
    (length == size_of::<u64>()).then_some(cookie)
}

/// Gives each notice of a datagram to `each`, of which the kernel sends one.
fn notices<'a>(datagram: &'a [u8], each: impl FnMut(Socket<'a>)) {
    netlink::messages(datagram)
        .filter(|message| message.kind == diag::SOCK_DIAG_BY_FAMILY)
        .filter_map(|message| Socket::parse(message.payload))
        .for_each(each);
}

/// Returns how many sockets share the notices: a power of two, because cookies are shared out by
/// their lowest bits, of which a byte is read.
fn shares(wanted: usize, room: usize, most: usize) -> usize {
    let most = most.clamp(1, 256);
    let number = (wanted / room.max(1)).clamp(1, most);
    let largest_power = 1 << most.ilog2();
    number.next_power_of_two().min(largest_power)
}

/// Returns how many messages the kernel has dropped so far because the socket's buffer
/// was full, or `None` before Linux 4.12.
fn drops(socket: BorrowedFd<'_>) -> Option<u32> {
    const SO_MEMINFO: libc::c_int = 55;
    const DROPS: usize = 8;
    let (memory, length) = option::<[u32; 9]>(socket, SO_MEMINFO).ok()?;
    (length == size_of_val(&memory)).then_some(memory[DROPS])
}

/// Asks the kernel to deliver again as soon as there is room. It would answer `ENOBUFS`
/// instead, and drop everything until the buffer has been emptied.
fn go_on_after_drops(socket: BorrowedFd<'_>) {
    let on: libc::c_int = 1;
    // Refused, more is dropped, and counted.
    let _ = set_option(socket, libc::SOL_NETLINK, libc::NETLINK_NO_ENOBUFS, &on);
}

/// Widens the receive buffer as far as the privilege goes; returns its size.
fn widen(socket: BorrowedFd<'_>, wanted: usize) -> io::Result<usize> {
    let wanted = libc::c_int::try_from(wanted).unwrap_or(libc::c_int::MAX);
    for name in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        if set_option(socket, libc::SOL_SOCKET, name, &wanted).is_ok() {
            break;
        }
    }
    let (room, _) = option::<libc::c_int>(socket, libc::SO_RCVBUF)?;
    Ok(usize::try_from(room).unwrap_or(0))
}

/// A type of which any bytes are a valid value.
///
/// # Safety
/// Every bit pattern, zeroes included, must be valid.
unsafe trait Plain: Copy {}

// SAFETY: integers have no invalid bit pattern.
unsafe impl Plain for libc::c_int {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for [u32; 9] {}

/// Returns an option of the socket level, and how many of its bytes the kernel filled.
fn option<T: Plain>(socket: BorrowedFd<'_>, name: libc::c_int) -> io::Result<(T, usize)> {
    // SAFETY: `Plain` allows all zeroes.
    let mut value: T = unsafe { zeroed() };
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` has room for `length` bytes, of which `Plain` allows any; both
    // outlive the call.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok((value, length as usize))
}

fn set_option<T>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `value` is a live T of exactly the length passed, and what a filter
    // program points to is alive in the caller.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })?;
    Ok(())
}

fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(not(miri))]
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_datagram_gives_sockets_and_passes_over_the_rest() {
        let capture = include_bytes!("../fixtures/destroy_clean_client.bin");
        let mut other = capture.to_vec();
        other[4..6].copy_from_slice(&netlink::DONE.to_ne_bytes());
        let datagram = [&capture[..], &other, capture].concat();
        let mut cookies = Vec::new();
        notices(&datagram, |socket| cookies.push(socket.cookie()));
        assert_eq!(cookies.len(), 2);
        assert_eq!(cookies[0], cookies[1]);
        notices(&datagram[..capture.len() - 4], |socket| {
            panic!("{socket:?}")
        });
    }

    #[test]
    fn shares_are_a_power_of_two_up_to_the_most() {
        assert_eq!(shares(64 << 20, 64 << 20, 8), 1);
        assert_eq!(shares(64 << 20, 128 << 20, 8), 1);
        assert_eq!(shares(100, 30, 8), 4);
        assert_eq!(shares(64 << 20, 425_984, 8), 8);
        assert_eq!(shares(100, 10, 6), 4);
        assert_eq!(shares(100, 0, 0), 1);
        assert_eq!(shares(usize::MAX, 1, usize::MAX), 256);
    }

    #[cfg(not(miri))]
    mod with_the_kernel {
        use super::*;

        /// Both ends of a connection.
        type Ends = [SocketAddr; 2];

        /// Ends a connection in order, so that both its sockets are destroyed.
        fn one_connection() -> Ends {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
            let address = listener.local_addr().expect("it is bound");
            let ours = TcpStream::connect(address).expect("it listens");
            let (theirs, _) = listener.accept().expect("it connected");
            ours.shutdown(Shutdown::Write).expect("an open connection");
            drop(theirs);
            [ours.local_addr().expect("it is bound"), address]
        }

        /// Reads until both sockets of each connection have been seen; returns which
        /// subscribers saw them.
        fn await_all(subscribers: &mut [Subscriber], connections: &[Ends]) -> Vec<usize> {
            let mut buffer = Buffer::new();
            let mut seen = Vec::new();
            while seen.len() < 2 * connections.len() {
                let mut polls: Vec<_> = subscribers
                    .iter()
                    .map(|subscriber| libc::pollfd {
                        fd: subscriber.as_fd().as_raw_fd(),
                        events: libc::POLLIN,
                        revents: 0,
                    })
                    .collect();
                // SAFETY: as many as are said, alive during the call.
                let ready = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as _, 20_000) };
                assert!(ready > 0, "{seen:?}");
                for (index, subscriber) in subscribers.iter_mut().enumerate() {
                    let each = |socket: Socket<'_>| {
                        let (local, remote) = (socket.local(), socket.remote());
                        let is_it =
                            |ends: &Ends| *ends == [local, remote] || *ends == [remote, local];
                        if connections.iter().any(is_it) {
                            assert!(socket.is_tcp() && socket.info().is_some());
                            seen.push(index);
                        }
                    };
                    subscriber
                        .drain(&mut buffer, usize::MAX, each)
                        .expect("a working socket");
                }
            }
            seen
        }

        #[test]
        fn both_sockets_of_a_connection_are_reported_once() {
            let mut subscriber = [Subscriber::subscribe(1 << 20).expect("netlink")];
            assert!(subscriber[0].room() > 0);
            let ends = one_connection();
            assert_eq!(await_all(&mut subscriber, &[ends]), [0, 0]);
        }

        #[test]
        fn those_who_share_get_each_notice_once() {
            // However much is allowed, all of memory is more.
            let mut subscribers = Subscriber::subscribe_shared(usize::MAX, 4).expect("netlink");
            assert_eq!(subscribers.len(), 4);
            let ends: [Ends; 16] = core::array::from_fn(|_| one_connection());
            let mut seen = await_all(&mut subscribers, &ends);
            assert_eq!(seen.len(), 32);
            seen.sort_unstable();
            seen.dedup();
            assert!(seen.len() > 1, "one has got them all: {seen:?}");
        }

        /// A socket with the least room that Linux gives, and nobody who reads it.
        #[test]
        fn what_finds_no_room_is_counted() {
            let mut other = [Subscriber::subscribe(1 << 20).expect("netlink")];
            let mut subscriber = Subscriber::subscribe(1).expect("netlink");
            let ends: [Ends; 64] = core::array::from_fn(|_| one_connection());
            await_all(&mut other, &ends);
            let mut buffer = Buffer::new();
            let mut drain = || subscriber.drain(&mut buffer, usize::MAX, |_| {});
            let drained = drain().expect("a working socket");
            assert!(drained.dropped >= 100, "{drained:?}");
            let again = drain().expect("a working socket");
            assert!(again.dropped < drained.dropped, "{again:?}");
        }

        #[test]
        fn reading_ends_at_the_limit() {
            let mut other = [Subscriber::subscribe(1 << 20).expect("netlink")];
            let mut subscriber = Subscriber::subscribe(1 << 20).expect("netlink");
            let ends: [Ends; 41] = core::array::from_fn(|_| one_connection());
            await_all(&mut other, &ends);
            let mut buffer = Buffer::new();
            let mut drain = |most| subscriber.drain(&mut buffer, most, |_| {});
            let drained = drain(1).expect("a working socket");
            assert_eq!((drained.notices, drained.more), (BATCH, true));
            let drained = drain(usize::MAX).expect("a working socket");
            assert!(drained.notices > 0 && !drained.more, "{drained:?}");
        }
    }
}
