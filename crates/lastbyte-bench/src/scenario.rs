//! What is closed: how many connections, in which state, to what kind of peer.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::peer::{Habit, Peer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// Nothing was ever written; the peer acknowledges at once and stays.
    Empty,
    /// A request was answered with 100 bytes; the peer delays its ACK (by 40 ms)
    /// and stays.
    DelayedAck,
    /// The same, and the peer closes as soon as it sees our FIN.
    PeerCloses,
    /// 16 KiB were written to readers that take 4 KiB at a time. Two of three
    /// read on once all closes are under way, the third never does and meets its
    /// deadline: each has its own, 3 to 4 s.
    SlowReaders,
    /// A server under load: 64 clients at once, one request per connection.
    Server,
}

/// What a client says.
pub(crate) const REQUEST: [u8; 64] = [b'q'; 64];
/// What a server under load answers.
pub(crate) const RESPONSE: [u8; 1024] = [b'r'; 1024];
/// Clients at a time.
pub(crate) const CLIENTS: usize = 64;

impl Scenario {
    pub(crate) const ALL: [Scenario; 5] = [
        Scenario::Empty,
        Scenario::DelayedAck,
        Scenario::PeerCloses,
        Scenario::SlowReaders,
        Scenario::Server,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Scenario::Empty => "empty",
            Scenario::DelayedAck => "delayed_ack",
            Scenario::PeerCloses => "peer_closes",
            Scenario::SlowReaders => "slow_readers",
            Scenario::Server => "server",
        }
    }

    pub(crate) const fn habit(self) -> Habit {
        match self {
            Scenario::Empty | Scenario::Server => Habit::Stays,
            Scenario::DelayedAck => Habit::Delays,
            Scenario::PeerCloses => Habit::Closes,
            Scenario::SlowReaders => Habit::Slow,
        }
    }

    /// Bytes written before the close.
    pub(crate) const fn response(self) -> usize {
        match self {
            Scenario::Empty => 0,
            Scenario::DelayedAck | Scenario::PeerCloses => 100,
            Scenario::SlowReaders => 16 << 10,
            Scenario::Server => RESPONSE.len(),
        }
    }

    /// The deadline of the `i`th connection.
    pub(crate) const fn deadline(self, i: usize) -> Duration {
        match self {
            Scenario::SlowReaders => Duration::from_millis(3000 + (i as u64 * 7) % 1000),
            _ => Duration::from_secs(5),
        }
    }

    /// The last thing before the close.
    pub(crate) fn respond(self, mut stream: &TcpStream) -> io::Result<()> {
        const RESPONSE: [u8; 16 << 10] = [b'x'; 16 << 10];
        stream.write_all(&RESPONSE[..self.response()])
    }
}

/// Connections ready to be closed.
pub(crate) fn connect(peer: &mut Peer, n: usize, habit: Habit) -> io::Result<Vec<TcpStream>> {
    let listener = listen()?;
    peer.connect(listener.local_addr()?, n, habit)?;
    let streams = (0..n)
        .map(|_| accept(&listener, habit))
        .collect::<io::Result<Vec<_>>>()?;
    peer.answer()?;
    Ok(streams)
}

fn accept(listener: &TcpListener, habit: Habit) -> io::Result<TcpStream> {
    let (mut stream, _) = listener.accept()?;
    if habit.asks() {
        let mut request = REQUEST;
        stream.read_exact(&mut request)?;
    }
    Ok(stream)
}

pub(crate) fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into())?;
    // Where the backlog is full the kernel drops SYNs, and the peers try again
    // after a second.
    socket.listen(4096)?;
    Ok(socket.into())
}
