//! The socket pair and the blocks of memory: made here, inherited by the program.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use lastbyte_run_protocol::{Address, Control, Malformed, Nonce, Request, Settings, Shared};

/// Where the program's ends are put: out of the way of its own descriptors, but
/// not so high that its table (copied by each fork) grows.
const HIGH: RawFd = 1000;
/// How long a close may be held up by a supervisor that does not keep up.
const SEND_TIME: libc::timeval = libc::timeval {
    tv_sec: 1,
    tv_usec: 0,
};
const SEND_ROOM: libc::c_int = 1 << 20;

/// Both ends, before the program has its own.
pub(crate) struct Pair {
    pub(crate) ours: Channel,
    pub(crate) theirs: Theirs,
    pub(crate) shared: Mapping,
}

/// What the program inherits.
pub(crate) struct Theirs {
    channel: OwnedFd,
    memory: OwnedFd,
    control: OwnedFd,
}

impl Pair {
    pub(crate) fn new(settings: Settings, limit: u64) -> io::Result<Self> {
        let mut ends = [0; 2];
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        // SAFETY: room for two descriptors.
        check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
        // SAFETY: just made, and nobody else's.
        let [ours, theirs] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        set(&ours, libc::SO_PASSCRED, 1)?;
        set(&theirs, libc::SO_SNDBUF, SEND_ROOM)?;
        set(&theirs, libc::SO_SNDTIMEO, SEND_TIME)?;
        let memory = memory(size_of::<Shared>())?;
        let control = memory_of_length(size_of::<Control>())?;
        let shared = Mapping {
            marks: map(&memory)?,
            control: map(&control)?,
        };
        // From here on nobody else can map it for writing.
        seal(&control, libc::F_SEAL_FUTURE_WRITE)?;
        seal(&control, ALL_ELSE)?;
        shared.get().prepare();
        shared.control().prepare(settings);
        Ok(Self {
            ours: Channel(ours),
            theirs: Theirs {
                channel: raise(&theirs, limit)?,
                memory: raise(&memory, limit)?,
                control: raise(&control, limit)?,
            },
            shared,
        })
    }
}

impl Theirs {
    /// What the program is told.
    pub(crate) fn address(&self) -> io::Result<Address> {
        Ok(Address {
            channel: self.channel.as_raw_fd(),
            memory: self.memory.as_raw_fd(),
            control: self.control.as_raw_fd(),
            cookie: cookie(self.channel.as_raw_fd())?,
        })
    }

    pub(crate) fn descriptors(&self) -> [RawFd; 3] {
        [&self.channel, &self.memory, &self.control].map(AsRawFd::as_raw_fd)
    }
}

/// A program that cut a block short would turn every look at it into a SIGBUS.
const ALL_ELSE: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

fn memory(length: usize) -> io::Result<OwnedFd> {
    let memory = memory_of_length(length)?;
    seal(&memory, ALL_ELSE)?;
    Ok(memory)
}

fn memory_of_length(length: usize) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a name and flags.
    let memory = check(unsafe { libc::memfd_create(c"lastbyte".as_ptr(), flags) })?;
    // SAFETY: just made.
    let memory = unsafe { OwnedFd::from_raw_fd(memory) };
    let length = libc::off_t::try_from(length).map_err(io::Error::other)?;
    // SAFETY: no memory involved.
    check(unsafe { libc::ftruncate(memory.as_raw_fd(), length) })?;
    Ok(memory)
}

fn seal(memory: &OwnedFd, seals: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory involved.
    check(unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// A mapping for the whole run.
fn map<T>(memory: &OwnedFd) -> io::Result<NonNull<T>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, at an address the kernel chooses.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<T>(),
            protection,
            libc::MAP_SHARED,
            memory.as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Moves a descriptor up.
fn raise(fd: &OwnedFd, limit: u64) -> io::Result<OwnedFd> {
    let limit = RawFd::try_from(limit).unwrap_or(RawFd::MAX);
    let lowest = HIGH.min(limit.saturating_sub(8)).max(3);
    // SAFETY: no memory involved.
    let raised = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) })?;
    // SAFETY: just made.
    Ok(unsafe { OwnedFd::from_raw_fd(raised) })
}

/// `SO_COOKIE`.
pub(crate) fn cookie(fd: RawFd) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: room for a u64, which is what the option is.
    check(unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    })?;
    Ok(cookie)
}

/// A `struct sockaddr` (ip(7), ipv6(7)); `None` where it is none of these.
pub(crate) fn address(bytes: &[u8; Request::ADDRESS]) -> Option<SocketAddr> {
    let (family, rest) = bytes.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    match libc::c_int::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let (address, _) = rest.split_first_chunk::<4>()?;
            Some((*address, port).into())
        }
        libc::AF_INET6 => {
            let (flow, rest) = rest.split_first_chunk()?;
            let (address, rest) = rest.split_first_chunk::<16>()?;
            let (scope, _) = rest.split_first_chunk()?;
            let (flow, scope) = (u32::from_ne_bytes(*flow), u32::from_ne_bytes(*scope));
            Some(SocketAddrV6::new((*address).into(), port, flow, scope).into())
        }
        _ => None,
    }
}

/// The number that /proc/PID/fd shows for the socket.
pub(crate) fn inode(socket: &OwnedFd) -> io::Result<u64> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: room for a stat.
    check(unsafe { libc::fstat(socket.as_raw_fd(), stat.as_mut_ptr()) })?;
    // SAFETY: zeroed, then written; a stat is plain integers.
    Ok(unsafe { stat.assume_init() }.st_ino)
}

/// Closes a descriptor without the wait that its linger option may ask for.
pub(crate) fn close_without_lingering(descriptor: OwnedFd) {
    let off = libc::linger {
        l_onoff: 0,
        l_linger: 0,
    };
    // SAFETY: a plain option of that size; what is no socket refuses it.
    unsafe {
        libc::setsockopt(
            descriptor.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const off).cast(),
            size_of_val(&off) as libc::socklen_t,
        );
    }
    drop(descriptor);
}

/// The blocks, mapped for the whole run.
#[derive(Clone, Copy)]
pub(crate) struct Mapping {
    marks: NonNull<Shared>,
    control: NonNull<Control>,
}

// SAFETY: the blocks are atomics, and never unmapped.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn get(&self) -> &Shared {
        // SAFETY: mapped, as long as a `Shared`, sealed against shrinking.
        unsafe { self.marks.as_ref() }
    }

    pub(crate) fn control(&self) -> &Control {
        // SAFETY: mapped, as long as a `Control`, sealed against shrinking.
        unsafe { self.control.as_ref() }
    }

    /// Answers whoever waits for the request, if anyone does.
    pub(crate) fn answer(&self, request: &Request, value: i32) {
        if let Some(nonce) = Nonce::from_wire(request.nonce)
            && let Some(word) = self.control().answer(nonce, value)
        {
            // SAFETY: a word of the mapping.
            unsafe {
                libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX);
            }
        }
    }
}

/// Our end.
pub(crate) struct Channel(OwnedFd);

/// A request with what came along.
pub(crate) struct Delivery {
    pub(crate) request: Request,
    pub(crate) sender: libc::pid_t,
    /// Its user. Kernel's word, like the process.
    pub(crate) user: u32,
    pub(crate) socket: Option<OwnedFd>,
    /// The socket's, zero where it is none.
    pub(crate) cookie: u64,
    /// When another process was last seen to hold it (CLOCK_MONOTONIC, nanoseconds); zero
    /// if none was.
    pub(crate) held_at: u64,
}

/// What a look at the channel brought.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are deliveries, and none is kept"
)]
pub(crate) enum Arrival {
    /// A request, and descriptors beyond the one it may bring.
    Delivery(Delivery, Vec<OwnedFd>),
    /// Something else, and what came along.
    Malformed(Malformed, Sender, Vec<OwnedFd>),
    /// Nothing for now.
    Nothing,
    /// Nobody is left who could send.
    End,
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Channel {
    /// Takes the next message, if there is one.
    pub(crate) fn take(&self) -> io::Result<Arrival> {
        // One byte more than a message, so that a longer one is noticed.
        let mut bytes = [0_u8; Request::SIZE + 1];
        // Credentials, and as many descriptors as a message can bring (SCM_MAX_FD): what
        // finds no room is closed by the kernel in this very call, which can block.
        let mut control = [0_u64; 144];
        let mut vector = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: a msghdr is pointers and integers, for which zero is a value.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: everything the message points to outlives the call.
        let length = unsafe { libc::recvmsg(self.as_raw_fd(), &raw mut message, flags) };
        let Ok(length) = usize::try_from(length) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Ok(Arrival::Nothing),
                Some(libc::ECONNRESET) => Ok(Arrival::End),
                _ => Err(error),
            };
        };
        let (sender, mut sockets) = riders(&message);
        // A message of no bytes has a sender all the same.
        let Some(sender) = sender else {
            return Ok(Arrival::End);
        };
        match Request::parse(bytes.get(..length).unwrap_or_default()) {
            Ok(request) => {
                let socket = sockets.pop();
                let cookie = socket.as_ref().map_or(0, |socket| {
                    // Takes no lock of the socket's.
                    cookie(socket.as_raw_fd()).unwrap_or(0)
                });
                let delivery = Delivery {
                    request,
                    sender: sender.process,
                    user: sender.user,
                    socket,
                    cookie,
                    held_at: 0,
                };
                Ok(Arrival::Delivery(delivery, sockets))
            }
            Err(malformed) => Ok(Arrival::Malformed(malformed, sender, sockets)),
        }
    }
}

/// Who sent a message, as the kernel says (SCM_CREDENTIALS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) process: libc::pid_t,
    pub(crate) user: u32,
}

/// The sender, and every descriptor that came along.
fn riders(message: &libc::msghdr) -> (Option<Sender>, Vec<OwnedFd>) {
    let mut sender = None;
    let mut sockets = Vec::new();
    // SAFETY: the kernel filled in the control data and its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: CMSG_NXTHDR stays within the control data.
    while let Some(control) = unsafe { header.as_ref() } {
        // SAFETY: a header has its data behind it.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: pure arithmetic.
        let before = unsafe { libc::CMSG_LEN(0) } as usize;
        let whole: usize = control.cmsg_len as _;
        let length = whole.saturating_sub(before);
        match (control.cmsg_level, control.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                // SAFETY: as long as a ucred.
                let credentials = unsafe { data.cast::<libc::ucred>().read_unaligned() };
                sender = Some(Sender {
                    process: credentials.pid,
                    user: credentials.uid,
                });
            }
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for index in 0..length / size_of::<RawFd>() {
                    // SAFETY: within the data; the descriptor is new and ours.
                    sockets.push(unsafe {
                        OwnedFd::from_raw_fd(data.cast::<RawFd>().add(index).read_unaligned())
                    });
                }
            }
            _ => {}
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    (sender, sockets)
}

fn set<T>(fd: &OwnedFd, name: libc::c_int, value: T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads a plain value of that length.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw const value).cast(),
            length,
        )
    })
    .map(drop)
}

pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
