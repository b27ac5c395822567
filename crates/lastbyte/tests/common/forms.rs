//! Every form of close, to be called like one that blocks.

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::mpsc;

use lastbyte::{CloseError, Closer, Closing, Policy, Report};

pub(crate) type Form = fn(TcpStream, Policy) -> Result<Report, CloseError>;

/// The forms that give a report of what was waited for.
pub(crate) const FORMS: &[(&str, Form)] = &[
    ("close", |stream, policy| {
        set_nonblocking(&stream, false);
        lastbyte::close(stream, policy)
    }),
    ("Closing", closing),
    ("Closer", closer),
    #[cfg(feature = "tokio")]
    ("on_tokio::close", tokio_close),
    #[cfg(feature = "tokio")]
    ("on_tokio::Stream", tokio_stream),
];

/// By fcntl(2), and not by an ioctl: some tests forbid those.
fn set_nonblocking(stream: &TcpStream, on: bool) {
    // SAFETY: neither call takes a pointer.
    let rc = unsafe {
        let flags = libc::fcntl(stream.as_raw_fd(), libc::F_GETFL);
        let flags = match on {
            true => flags | libc::O_NONBLOCK,
            false => flags & !libc::O_NONBLOCK,
        };
        libc::fcntl(stream.as_raw_fd(), libc::F_SETFL, flags)
    };
    assert_eq!(rc, 0);
}

fn closing(stream: TcpStream, policy: Policy) -> Result<Report, CloseError> {
    let mut closing = Closing::begin(stream, policy)?;
    loop {
        match closing.try_finish() {
            Err(error) if error.would_block() => wait_readable(closing.as_raw_fd()),
            done => return done,
        }
    }
}

fn closer(stream: TcpStream, policy: Policy) -> Result<Report, CloseError> {
    let closer = Closer::new().unwrap();
    let (send, result) = mpsc::channel();
    closer.close(stream, policy, move |told| send.send(told).unwrap())?;
    result.recv().unwrap()
}

#[cfg(feature = "tokio")]
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[cfg(feature = "tokio")]
fn tokio_close(stream: TcpStream, policy: Policy) -> Result<Report, CloseError> {
    runtime().block_on(async {
        set_nonblocking(&stream, true);
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        lastbyte::on_tokio::close(stream, policy).await
    })
}

#[cfg(feature = "tokio")]
fn tokio_stream(stream: TcpStream, policy: Policy) -> Result<Report, CloseError> {
    runtime().block_on(async {
        set_nonblocking(&stream, true);
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        lastbyte::on_tokio::Stream::new(stream, policy)
            .close()
            .await
    })
}

fn wait_readable(fd: std::os::fd::RawFd) {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, alive during the call.
    unsafe { libc::poll(&mut poll, 1, -1) };
}
