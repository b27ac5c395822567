//! Connections that a peer holds, and what it does with them.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Socket, Type};

use super::Habit;
use crate::clock;
use crate::scenario::REQUEST;

/// Nothing that is measured keeps a peer waiting for longer.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Connections {
    streams: Vec<Option<TcpStream>>,
    watch: Option<Epoll>,
    /// Port and CLOCK_MONOTONIC.
    stamps: Vec<(u16, u64)>,
}

impl Connections {
    pub(super) fn open(to: SocketAddr, n: usize, habit: Habit) -> io::Result<Self> {
        let streams = (0..n)
            .map(|_| open(to, habit).map(Some))
            .collect::<io::Result<Vec<_>>>()?;
        let watch = match habit {
            Habit::Closes => Some(watch(&streams)?),
            Habit::Stays | Habit::Delays | Habit::Slow => None,
        };
        Ok(Self {
            streams,
            watch,
            stamps: Vec::with_capacity(n),
        })
    }

    /// Reads to EOF and closes, as clients do, each as its FIN arrives.
    pub(super) fn close_as_fins_arrive(&mut self) -> io::Result<()> {
        let Some(watch) = &self.watch else {
            return Err(io::Error::other("these connections do not close"));
        };
        let timeout = EpollTimeout::try_from(SILENCE).map_err(io::Error::other)?;
        let mut events = [EpollEvent::empty(); 256];
        let mut left = self.streams.len();
        let mut sink = [0; 4096];
        while left > 0 {
            let fired = watch.wait(&mut events, timeout)?;
            if fired == 0 {
                return Err(io::Error::other(format!("{left} FINs did not come")));
            }
            for event in &events[..fired] {
                let Some(mut stream) = self.streams[event.data() as usize].take() else {
                    continue;
                };
                let port = stream.local_addr()?.port();
                // Reading may send the ACK, and closing does.
                self.stamps.push((port, clock::monotonic()));
                while stream.read(&mut sink).is_ok_and(|n| n > 0) {}
                left -= 1;
            }
        }
        Ok(())
    }

    /// Reads two of three to EOF; the third never reads.
    pub(super) fn read_by_and_by(&self) {
        let mut buffer = vec![0; 65536];
        let readers = self.streams.iter().flatten().enumerate();
        for (_, mut stream) in readers.filter(|(i, _)| i % 3 < 2) {
            // One that was reset has come to its end as well.
            while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
        }
    }

    pub(super) fn stamps(&mut self) -> String {
        let mut line = String::new();
        for (port, at) in self.stamps.drain(..) {
            let _ = write!(line, "{port}:{at} ");
        }
        line
    }

    pub(super) fn reset(&mut self) {
        for stream in self.streams.drain(..).flatten() {
            let _ = lastbyte::Linger::Abort.set(&stream);
        }
        self.watch = None;
    }
}

fn open(to: SocketAddr, habit: Habit) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if habit == Habit::Slow {
        // It must be small before the handshake offers a window.
        socket.set_recv_buffer_size(4096)?;
        socket.set_read_timeout(Some(SILENCE))?;
    }
    socket.connect(&to.into())?;
    let mut stream = TcpStream::from(socket);
    if habit.asks() {
        stream.write_all(&REQUEST)?;
    }
    Ok(stream)
}

fn watch(streams: &[Option<TcpStream>]) -> io::Result<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let flags = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    for (i, stream) in streams.iter().flatten().enumerate() {
        epoll.add(stream, EpollEvent::new(flags, i as u64))?;
    }
    Ok(epoll)
}
