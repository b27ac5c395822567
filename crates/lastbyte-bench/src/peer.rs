//! The other end, in a process of its own: so that its descriptors and its CPU
//! time are not ours.
//!
//! It is driven by lines on its standard input and answers each with one line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

/// The measuring side's handle on its peer.
pub(crate) struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// How a peer's connections behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Acknowledges at once, never closes.
    Prompt,
    /// Delays its ACKs, never closes.
    Delayed,
    /// Has a small receive buffer and reads when told.
    Slow,
}

impl Habit {
    const fn word(self) -> &'static str {
        match self {
            Habit::Prompt => "prompt",
            Habit::Delayed => "delayed",
            Habit::Slow => "slow",
        }
    }
}

impl Peer {
    pub(crate) fn start() -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--peer")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let to = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let from = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            child,
            to,
            from: BufReader::new(from),
        })
    }

    /// Begins to open connections; they are to be accepted meanwhile.
    pub(crate) fn connect(&mut self, to: SocketAddr, n: usize, habit: Habit) -> io::Result<()> {
        writeln!(self.to, "connect {to} {n} {}", habit.word())
    }

    /// Waits for the answer to an earlier line.
    pub(crate) fn answer(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        match line.trim() {
            "ok" => Ok(()),
            other => Err(io::Error::other(format!("the peer says: {other}"))),
        }
    }

    /// Lets two of three connections read everything, by and by.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        writeln!(self.to, "read")
    }

    /// Resets all connections, so that no TIME_WAIT stays behind.
    pub(crate) fn drop_all(&mut self) -> io::Result<()> {
        writeln!(self.to, "drop")?;
        self.answer()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends at EOF too; this is for one that is stuck.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The peer's own main.
pub(crate) fn run() -> ExitCode {
    let mut connections: Vec<TcpStream> = Vec::new();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let words: Vec<&str> = line.split_whitespace().collect();
        let done = match words[..] {
            ["connect", to, n, habit] => connect(to, n, habit).map(|new| connections = new),
            ["read"] => read_by_and_by(&connections),
            ["drop"] => {
                for connection in connections.drain(..) {
                    let _ = lastbyte::Linger::Abort.set(&connection);
                }
                Ok(())
            }
            _ => Err(io::Error::other(format!("unknown line: {line}"))),
        };
        match done {
            Ok(()) => println!("ok"),
            Err(error) => println!("{error}"),
        }
    }
    ExitCode::SUCCESS
}

fn connect(to: &str, n: &str, habit: &str) -> io::Result<Vec<TcpStream>> {
    let to: SocketAddr = to.parse().map_err(io::Error::other)?;
    let n: usize = n.parse().map_err(io::Error::other)?;
    (0..n)
        .map(|_| {
            let stream = if habit == "slow" {
                small_window(to)?
            } else {
                TcpStream::connect(to)?
            };
            if habit == "delayed" {
                option(&stream, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 0)?;
            }
            Ok(stream)
        })
        .collect()
}

/// The buffer must be small before the handshake offers a window.
fn small_window(to: SocketAddr) -> io::Result<TcpStream> {
    use std::os::fd::FromRawFd;
    let SocketAddr::V4(to) = to else {
        return Err(io::Error::other("IPv4 only"));
    };
    // SAFETY: no pointer is passed; the descriptor is new and owned by the
    // stream from here on.
    let stream = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        TcpStream::from_raw_fd(fd)
    };
    option(&stream, libc::SOL_SOCKET, libc::SO_RCVBUF, 4096)?;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(to.ip().octets()),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: reads one sockaddr_in of the length passed.
    let rc = unsafe {
        libc::connect(
            stream.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    if rc == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(stream)
}

fn read_by_and_by(connections: &[TcpStream]) -> io::Result<()> {
    let mut buffer = vec![0; 65536];
    for (i, mut stream) in connections.iter().enumerate() {
        if i % 3 < 2 {
            stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
            while stream.read(&mut buffer)? > 0 {}
        }
    }
    Ok(())
}

fn option(stream: &TcpStream, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: reads one int of the length passed.
    let rc = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if rc == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
