//! Connections over loopback, and peers that misbehave.
#![allow(dead_code, reason = "each test file uses some")]
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

pub(crate) mod forms;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// A connected pair: the side that connected, the side that accepted.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    pair_on("127.0.0.1:0")
}

pub(crate) fn pair_on(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    (connecting, accepted)
}

/// Writes until the peer's window and our send queue are full; how much that was.
pub(crate) fn fill(stream: &TcpStream) -> u64 {
    stream.set_nonblocking(true).unwrap();
    let chunk = [0x5a; 65536];
    let mut written = 0;
    loop {
        match (&mut &*stream).write(&chunk) {
            Ok(n) => written += n as u64,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => panic!("{e}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    written
}

/// Everything up to EOF or an error.
pub(crate) fn read_all(mut stream: &TcpStream) -> (u64, io::Result<()>) {
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (total, Ok(())),
            Ok(n) => total += n as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (total, Err(e)),
        }
    }
}

/// Closes with an RST.
pub(crate) fn reset(stream: TcpStream) {
    lastbyte::Linger::Abort.set(&stream).unwrap();
    drop(stream);
}

/// Whether the descriptor becomes readable within `time`.
pub(crate) fn readable(fd: &impl AsFd, time: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call.
    unsafe { libc::poll(&mut poll, 1, time.as_millis() as i32) == 1 }
}

/// Whether the connection is over, in both directions, within `time`.
pub(crate) fn hung_up(fd: &impl AsFd, time: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call.
    unsafe { libc::poll(&mut poll, 1, time.as_millis() as i32) == 1 }
}

/// Drops whatever arrives for `stream`, ACKs included: a network that is gone. Fails
/// where the kernel lets this user attach no filter.
pub(crate) fn blackhole(stream: &TcpStream) -> io::Result<()> {
    filter(stream, 0)
}

/// Lets this many bytes of each segment in.
pub(crate) fn filter(stream: &TcpStream, bytes: u32) -> io::Result<()> {
    let mut instruction = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: bytes,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &mut instruction,
    };
    // SAFETY: `program` and the one instruction it points to are alive.
    let rc = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Undoes [`filter`].
pub(crate) fn unfilter(stream: &TcpStream) {
    let none: libc::c_int = 0;
    // SAFETY: one int, of the length passed.
    let rc = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DETACH_FILTER,
            (&raw const none).cast(),
            size_of_val(&none) as libc::socklen_t,
        )
    };
    assert_eq!(rc, 0, "{}", io::Error::last_os_error());
}

/// Switches the loopback interface of a new network namespace on.
pub(crate) fn loopback_up() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request reads one ifreq, which is alive.
    let rc = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    assert_eq!(rc, 0, "{}", io::Error::last_os_error());
}
