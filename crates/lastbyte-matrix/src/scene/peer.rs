//! The other end of the connection.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use lastbyte_lab::harness::{Conn, End, Peer};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::{LATE, Seen, UNREAD, patience};
use crate::axes::{Before, Came, Cell, Waits, Who};

/// Longer than an ending of the matrix takes, the peer's silence before included.
const SILENCE: Duration = Duration::from_secs(8);
/// The same where the kernel's MPTCP may stand still: it was seen to for 7.9 s, until a timer
/// of its own.
const MPTCP_SILENCE: Duration = Duration::from_secs(12);

/// The peer, or the listener that it will come from.
pub(super) struct Other {
    cell: Cell,
    listener: Option<Socket>,
    peer: Option<Peer>,
    address: SocketAddr,
    /// The connection, once it is known.
    pub(super) conn: Option<Conn>,
}

impl Other {
    pub(super) fn new(cell: &Cell) -> io::Result<Self> {
        let ip = if cell.came.v6() {
            Ipv6Addr::LOCALHOST.into()
        } else {
            Ipv4Addr::LOCALHOST.into()
        };
        let mut address = SocketAddr::new(ip, 0);
        let mut listener = None;
        if !cell.came.accepts() {
            let socket = socket(cell)?;
            if cell.came == Came::FastConnect {
                fast_open(&socket)?;
            }
            if cell.void() {
                // No SYN arrives, so none is answered.
                let nothing = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
                socket.attach_filter(&[nothing])?;
            }
            socket.bind(&address.into())?;
            socket.listen(4)?;
            let bound = socket.local_addr()?.as_socket();
            address = bound.ok_or(io::ErrorKind::AddrNotAvailable)?;
            listener = Some(socket);
        }
        Ok(Self {
            cell: *cell,
            listener,
            peer: None,
            address,
            conn: None,
        })
    }

    /// Where the program is to connect to.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connects to the program.
    pub(super) fn connect(&mut self, port: u16) -> io::Result<()> {
        let socket = socket(&self.cell)?;
        let theirs = SocketAddr::new(self.address.ip(), port);
        match self.cell.came {
            Came::FastAccept => fast_connect(&socket, theirs, 0)?,
            Came::FastHeld => {
                let nothing = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
                socket.attach_filter(&[nothing])?;
                fast_connect(&socket, theirs, libc::MSG_DONTWAIT)?;
            }
            _ => socket.connect(&theirs.into())?,
        }
        let ours = socket.local_addr()?.as_socket();
        self.address = ours.ok_or(io::ErrorKind::AddrNotAvailable)?;
        self.hold(socket)
    }

    /// Takes the program's connection, whose port it has told.
    pub(super) fn accept(&mut self, port: u16) -> io::Result<()> {
        let theirs = SocketAddr::new(self.address.ip(), port);
        self.conn = Some(Conn {
            ours: theirs,
            peer: self.address,
        });
        if let Some(listener) = self.listener.as_ref().filter(|_| !self.cell.void()) {
            let (socket, _) = listener.accept()?;
            self.hold(socket)?;
        }
        Ok(())
    }

    fn hold(&mut self, socket: Socket) -> io::Result<()> {
        if !self.cell.came.multi() {
            // A byte sent as urgent stays in its place.
            socket.set_out_of_band_inline(true)?;
        }
        socket.set_write_timeout(Some(Duration::from_secs(2)))?;
        self.peer = Some(Peer::new(socket));
        Ok(())
    }

    /// Sends what the program is not to read; how many bytes that is.
    pub(super) fn send_before(&mut self) -> io::Result<u64> {
        let Some(peer) = &self.peer else { return Ok(0) };
        let mut sent = 0;
        if self.cell.waits == Waits::Unread {
            peer.send_all(UNREAD)?;
            sent += UNREAD as u64;
        }
        if self.cell.before == Before::UrgentIn {
            peer.socket().send_out_of_band(b"u")?;
            peer.settled()?;
            sent += 1;
        }
        Ok(sent)
    }

    /// Does what the cell has it do once the program has let go.
    pub(super) fn act(&mut self, seen: &mut Seen) -> io::Result<()> {
        let limit = patience(&self.cell);
        let Some(mut peer) = self.peer.take() else {
            // Nobody answers the SYN; a close that waits for that has its time.
            std::thread::sleep(Duration::from_millis(600).min(limit));
            return Ok(());
        };
        let held = self.cell.came == Came::FastHeld;
        if held && !matches!(self.cell.waits, Waits::Never | Waits::Resets) {
            peer.heal()?;
        }
        match self.cell.waits {
            Waits::Resets => peer.reset(),
            Waits::Never => {
                if peer.wait_error(limit).is_some() {
                    seen.got = Some(peer.read_all(Duration::from_secs(1)));
                }
                peer.reset();
            }
            Waits::Late => {
                // Both may fail: the program may have reset by then.
                let (sent, _) = peer.send(LATE);
                // Input that is trimmed for a shut read side is never acknowledged.
                if sent == LATE && !self.cell.before.shuts_reading() {
                    let _ = peer.settled();
                }
                seen.got = Some(read(&self.cell, peer));
            }
            Waits::Nothing | Waits::Unread | Waits::Full => seen.got = Some(read(&self.cell, peer)),
        }
        Ok(())
    }

    /// What is left of the peer, to be dropped: its drop resets.
    pub(super) fn leave(&mut self) -> Option<Peer> {
        self.listener = None;
        self.peer.take()
    }
}

/// Reads to the end, and closes as a program does.
fn read(cell: &Cell, mut peer: Peer) -> lastbyte_lab::harness::Got {
    // A SYN-ACK that was lost comes again after 1, 3, 7, 15 and 31 seconds, and what was
    // sent behind it with the same time-out.
    let held = cell.came == Came::FastHeld;
    let silence = match cell.came.multi() {
        true => MPTCP_SILENCE,
        false if held => 5 * SILENCE,
        false => SILENCE,
    };
    let got = peer.read_all(silence);
    if got.end == End::Eof {
        if cell.who == Who::Confirm {
            // Who takes our FIN for the peer's has said so by then.
            std::thread::sleep(Duration::from_millis(100));
        }
        peer.close();
    }
    got
}

fn socket(cell: &Cell) -> io::Result<Socket> {
    let domain = if cell.came.v6() {
        Domain::IPV6
    } else {
        Domain::IPV4
    };
    let protocol = cell
        .came
        .multi()
        .then(|| Protocol::from(libc::IPPROTO_MPTCP));
    let socket = Socket::new(domain, Type::STREAM, protocol)?;
    // Little is taken before the peer reads.
    socket.set_recv_buffer_size(8192)?;
    Ok(socket)
}

fn fast_open(listener: &Socket) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let queue: libc::c_int = 16;
    // SAFETY: reads one int.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN,
            (&raw const queue).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn fast_connect(socket: &Socket, to: SocketAddr, flags: libc::c_int) -> io::Result<()> {
    let flags = flags | libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    match socket.send_to_with_flags(b"hello", &to.into(), flags) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(()),
    }
}
