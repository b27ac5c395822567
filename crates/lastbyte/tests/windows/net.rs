//! Connections over loopback, and Winsock called directly.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::windows::io::{AsRawSocket, AsSocket};
use std::thread::JoinHandle;
use std::time::Duration;

use windows_sys::Win32::Networking::WinSock::{
    LINGER, POLLWRNORM, SO_DONTLINGER, SO_LINGER, SOCKET, SOL_SOCKET, WSAPOLLFD, WSAPoll,
    getsockopt, setsockopt,
};

pub(crate) const WSAEWOULDBLOCK: i32 = 10035;
pub(crate) const WSAECONNRESET: i32 = 10054;

/// A wait that is over long before this test is given up.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A connection, our end first. The peer has little room, so that a peer that does not read soon
/// leaves bytes in our send queue.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    listener.set_recv_buffer_size(4096).expect("an option");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).expect("loopback");
    listener.listen(8).expect("it is bound");
    let listener = TcpListener::from(listener);
    let ours = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (peer, _) = listener.accept().expect("it connected");
    (ours, peer)
}

/// Writes until the queue has been full for a while. Returns the bytes that send accepted.
pub(crate) fn fill(stream: &TcpStream) -> u64 {
    stream.set_nonblocking(true).expect("an option");
    let mut written = 0;
    while written < 64 << 20 {
        let mut to = stream;
        match to.write(&[b'x'; 16 * 1024]) {
            Ok(n) => written += n as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if !writable_within(stream, Duration::from_millis(50)) {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).expect("an option");
    written
}

fn writable_within(stream: &TcpStream, time: Duration) -> bool {
    let mut poll = WSAPOLLFD {
        fd: stream.as_raw_socket() as SOCKET,
        events: POLLWRNORM,
        revents: 0,
    };
    // SAFETY: one live entry.
    unsafe { WSAPoll(&mut poll, 1, time.as_millis() as i32) == 1 }
}

/// What the peer reads before the end: how many bytes, and the error if it is no EOF.
pub(crate) fn read_all(peer: &mut TcpStream) -> (u64, Option<i32>) {
    let mut buffer = [0; 16 * 1024];
    let mut read = 0;
    loop {
        match peer.read(&mut buffer) {
            Ok(0) => return (read, None),
            Ok(n) => read += n as u64,
            Err(error) => return (read, error.raw_os_error()),
        }
    }
}

/// The same on a thread of its own.
pub(crate) fn reader(mut peer: TcpStream) -> JoinHandle<(u64, Option<i32>)> {
    std::thread::spawn(move || read_all(&mut peer))
}

/// Closes with linger on and 0, by Winsock.
pub(crate) fn reset(stream: TcpStream) {
    set_linger(&stream, 1, 0);
    drop(stream);
}

pub(crate) fn set_linger(socket: &impl AsSocket, l_onoff: u16, l_linger: u16) {
    let raw = LINGER { l_onoff, l_linger };
    // SAFETY: the option is read during the call.
    let rc = unsafe {
        setsockopt(
            socket.as_socket().as_raw_socket() as SOCKET,
            SOL_SOCKET,
            SO_LINGER,
            (&raw const raw).cast(),
            4,
        )
    };
    assert_eq!(rc, 0);
}

/// SO_LINGER as Winsock has it.
pub(crate) fn linger(socket: &impl AsSocket) -> (u16, u16) {
    let mut raw = LINGER {
        l_onoff: 9,
        l_linger: 9,
    };
    let mut len = 4;
    // SAFETY: the option is written during the call.
    let rc = unsafe {
        getsockopt(
            socket.as_socket().as_raw_socket() as SOCKET,
            SOL_SOCKET,
            SO_LINGER,
            (&raw mut raw).cast(),
            &mut len,
        )
    };
    assert_eq!((rc, len), (0, 4));
    (raw.l_onoff, raw.l_linger)
}

/// SO_DONTLINGER as Winsock has it.
pub(crate) fn dont_linger(socket: &impl AsSocket) -> bool {
    let mut raw = 7i32;
    let mut len = 4;
    // SAFETY: the option is written during the call.
    let rc = unsafe {
        getsockopt(
            socket.as_socket().as_raw_socket() as SOCKET,
            SOL_SOCKET,
            SO_DONTLINGER,
            (&raw mut raw).cast(),
            &mut len,
        )
    };
    assert_eq!(rc, 0);
    raw != 0
}

pub(crate) fn set_dont_linger(socket: &impl AsSocket, value: bool) {
    let raw = i32::from(value);
    // SAFETY: the option is read during the call.
    let rc = unsafe {
        setsockopt(
            socket.as_socket().as_raw_socket() as SOCKET,
            SOL_SOCKET,
            SO_DONTLINGER,
            (&raw const raw).cast(),
            4,
        )
    };
    assert_eq!(rc, 0);
}
