//! Connections over loopback, and peers that misbehave.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Connects over IPv4's loopback. Returns the side that connected and the side that accepted.
pub fn pair() -> (TcpStream, TcpStream) {
    pair_on("127.0.0.1:0")
}

/// Connects as [`pair`] does, to a listener on `address`.
pub fn pair_on(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).expect("an address of loopback");
    let address = listener.local_addr().expect("it is bound");
    let connecting = TcpStream::connect(address).expect("it listens");
    let (accepted, _) = listener.accept().expect("it connected");
    (connecting, accepted)
}

/// Writes until the peer's window and our send queue are full. Returns the bytes written.
pub fn fill(stream: &TcpStream) -> u64 {
    stream.set_nonblocking(true).expect("a plain option");
    let chunk = [0x5a; 65536];
    let mut written = 0;
    loop {
        match (&mut &*stream).write(&chunk) {
            Ok(n) => written += n as u64,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => panic!("{e}"),
        }
    }
    stream.set_nonblocking(false).expect("a plain option");
    written
}

/// Reads up to EOF or an error. Returns the bytes read before it.
pub fn read_all(mut stream: &TcpStream) -> (u64, io::Result<()>) {
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

/// Closes with an RST, by the kernel's SO_LINGER and not by lastbyte's.
pub fn reset(stream: TcpStream) {
    let abort = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    option(&stream, libc::SO_LINGER, &abort).expect("any socket takes it");
    drop(stream);
}

/// Waits up to `time` for the descriptor to become readable. Returns `false` on timeout.
pub fn readable(fd: &impl AsFd, time: Duration) -> bool {
    happens(fd, libc::POLLIN, time)
}

/// Waits up to `time` for the connection to end in both directions. Returns `false` on timeout.
pub fn hung_up(fd: &impl AsFd, time: Duration) -> bool {
    happens(fd, 0, time)
}

fn happens(fd: &impl AsFd, events: libc::c_short, time: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call.
    unsafe { libc::poll(&mut poll, 1, time.as_millis() as i32) == 1 }
}

/// Drops whatever arrives for `stream`, ACKs included: a network that is gone. Fails
/// where the kernel lets this user attach no filter.
pub fn blackhole(stream: &TcpStream) -> io::Result<()> {
    filter(stream, 0)
}

/// Lets this many bytes of each segment in.
pub fn filter(stream: &TcpStream, bytes: u32) -> io::Result<()> {
    let mut instruction = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: bytes,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut instruction,
    };
    option(stream, libc::SO_ATTACH_FILTER, &program)
}

/// Undoes [`filter`].
pub fn unfilter(stream: &TcpStream) {
    let none: libc::c_int = 0;
    option(stream, libc::SO_DETACH_FILTER, &none).expect("a filter is attached");
}

/// Sets an option of level SOL_SOCKET.
fn option<T>(socket: &impl AsFd, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is alive during the call and has the length passed; what a filter's
    // program points to is alive in the caller.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Switches the loopback interface of a new network namespace on.
pub fn loopback_up() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("any namespace has UDP");
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
