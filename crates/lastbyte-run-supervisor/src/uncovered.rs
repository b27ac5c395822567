//! Programs of the run that no shim is in, although nobody announced that: their
//! environment was emptied before exec, or they were executed by a system call in line.
//!
//! A thread looks through the run's processes at intervals. One that has no mapping of the
//! run's memory and holds TCP sockets is reported once, and its connections are followed.
//! What lives shorter than an interval is not found.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::channel::Sender;
use crate::descendants::{self, Image};
use crate::ledger::Ledger;
use crate::messages;
use crate::witness::Diag;

/// Between two looks, and a fiftieth of the time is spent looking at most.
const PAUSE: Duration = Duration::from_millis(500);
const SHARE: u32 = 50;
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(2);
/// Programs reported, at most.
const MOST: usize = 1000;
/// What the run's memory is called in a process's maps.
const MEMORY: &[u8] = b"memfd:lastbyte";
/// `TCP_LISTEN` in /proc/net/tcp.
const LISTEN: &str = "0A";

/// A TCP socket of /proc/PID/net/tcp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    inode: u64,
    is_listening: bool,
}

struct Finder {
    ledger: Arc<Ledger>,
    diag: Option<Diag>,
    /// Programs that the shim was seen in.
    covered: HashSet<Image>,
    /// Programs that it was not seen in the last time. It may just not be loaded yet.
    suspect: HashSet<Image>,
    reported: HashSet<Image>,
}

/// Starts looking. Without a thread nothing is found.
pub(crate) fn start(ledger: Arc<Ledger>) {
    let finder = Finder {
        diag: ledger.observed.then(Diag::new).and_then(Result::ok),
        ledger,
        covered: HashSet::new(),
        suspect: HashSet::new(),
        reported: HashSet::new(),
    };
    let _ = std::thread::Builder::new()
        .name("lastbyte-find".to_owned())
        .spawn(move || finder.run());
}

impl Finder {
    fn run(mut self) {
        let mut pause = PAUSE;
        while !self.ledger.is_over.load(Ordering::Acquire) {
            std::thread::sleep(pause);
            let began = Instant::now();
            self.look(began + LOOK);
            pause = PAUSE.max(began.elapsed() * SHARE);
        }
    }

    fn look(&mut self, until: Instant) {
        let Ok(images) = descendants::images(until) else {
            return;
        };
        self.covered.retain(|image| images.contains(image));
        self.reported.retain(|image| images.contains(image));
        let before = std::mem::take(&mut self.suspect);
        for image in images {
            if self.covered.contains(&image) || Instant::now() >= until {
                continue;
            }
            match is_covered(image.pid) {
                Some(true) => drop(self.covered.insert(image)),
                Some(false) if before.contains(&image) => self.examine(image),
                Some(false) => {}
                // It is gone, or may not be looked at.
                None => continue,
            }
            self.suspect.insert(image);
        }
    }

    /// The sockets of a process that the shim is not in.
    fn examine(&mut self, image: Image) {
        let sockets = sockets_of(image.pid);
        if sockets.is_empty() {
            return;
        }
        self.follow(image.pid, &sockets);
        if self.reported.len() < MOST && self.reported.insert(image) {
            self.report(image.pid);
        }
    }

    /// Has the kernel's notices of its connections written down.
    fn follow(&mut self, pid: libc::pid_t, sockets: &[Socket]) {
        let Some(diag) = &mut self.diag else { return };
        if !is_in_our_network(pid) {
            return;
        }
        for socket in sockets.iter().filter(|socket| !socket.is_listening) {
            let Some(found) = diag.find(socket.local, socket.remote) else {
                continue;
            };
            if found.inode == socket.inode {
                let sender = Sender {
                    process: pid,
                    user: found.user,
                };
                let ends = [socket.local, socket.remote];
                let mut entries = self.ledger.entries();
                entries
                    .connections
                    .found(found.cookie, sender, name_of(pid), ends);
            }
        }
    }

    fn report(&self, pid: libc::pid_t) {
        let text = format!(
            "{} (process {pid}) has TCP sockets, but not the shim",
            name_of(pid).escape_debug()
        );
        messages::print_limited(format_args!("{text}; its closes are the kernel's own"));
        self.ledger.entries().uncovered.push(text);
    }
}

/// Whether the run's memory is mapped. `None` where that cannot be told.
fn is_covered(pid: libc::pid_t) -> Option<bool> {
    let maps = fs::read(format!("/proc/{pid}/maps")).ok()?;
    // Empty: the process is exiting.
    (!maps.is_empty()).then(|| maps.windows(MEMORY.len()).any(|bytes| bytes == MEMORY))
}

fn name_of(pid: libc::pid_t) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    name.map_or_else(
        |_| "a program".to_owned(),
        |name| name.trim_end().to_owned(),
    )
}

fn is_in_our_network(pid: libc::pid_t) -> bool {
    let namespace = |path: String| fs::metadata(path).map(|file| file.ino()).ok();
    let ours = namespace("/proc/self/ns/net".to_owned());
    ours.is_some() && ours == namespace(format!("/proc/{pid}/ns/net"))
}

/// The TCP sockets that the process holds.
fn sockets_of(pid: libc::pid_t) -> Vec<Socket> {
    let held = descendants::sockets(pid).unwrap_or_default();
    if held.is_empty() {
        return Vec::new();
    }
    let mut all: HashMap<u64, Socket> = HashMap::new();
    for file in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
        all.extend(
            text.lines()
                .filter_map(parse)
                .map(|socket| (socket.inode, socket)),
        );
    }
    held.iter()
        .filter_map(|inode| all.get(inode).copied())
        .collect()
}

/// A line of /proc/net/tcp (proc(5)).
fn parse(line: &str) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let local = address(words.next()?)?;
    let remote = address(words.next()?)?;
    let is_listening = words.next()? == LISTEN;
    let inode = words.nth(5)?.parse().ok()?;
    Some(Socket {
        local,
        remote,
        inode,
        is_listening,
    })
}

/// `0100007F:1F90`: words of the address in this machine's byte order, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = [0; 16];
    let words = ip.len() / 8;
    for (index, place) in bytes.chunks_exact_mut(4).take(words).enumerate() {
        let word = u32::from_str_radix(ip.get(index * 8..index * 8 + 8)?, 16).ok()?;
        place.copy_from_slice(&word.to_ne_bytes());
    }
    let ip = match (words, bytes) {
        (1, [a, b, c, d, ..]) => IpAddr::from(Ipv4Addr::new(a, b, c, d)),
        (4, bytes) => IpAddr::from(Ipv6Addr::from(bytes)),
        _ => return None,
    };
    Some((ip, port).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernels_table_are_read() {
        let line = "   1: 0100007F:1F90 0200007F:C350 01 00000000:00000000 00:00000000 00000000  \
                    1000        0 4242 1 0000000000000000 100 0 0 10 0";
        if cfg!(target_endian = "little") {
            let socket = parse(line).expect("a socket");
            assert_eq!(socket.local, "127.0.0.1:8080".parse().expect("an address"));
            assert_eq!(
                socket.remote,
                "127.0.0.2:50000".parse().expect("an address")
            );
            assert_eq!((socket.inode, socket.is_listening), (4242, false));
        }
        let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
        assert_eq!(parse(header), None);
        assert_eq!(
            address("00000000000000000000000001000000:0016").map(|a| a.port()),
            Some(22)
        );
    }

    #[test]
    fn a_process_without_the_runs_memory_is_not_covered() {
        let ours = libc::pid_t::try_from(std::process::id()).expect("a pid");
        assert_eq!(is_covered(ours), Some(false));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let own = listener.local_addr().expect("bound");
        let found = sockets_of(ours);
        assert!(
            found.iter().any(|one| one.is_listening && one.local == own),
            "{found:?}"
        );
    }
}
