//! The state of a connection by its row in the system's TCP table (GetTcpTable, GetTcp6Table).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, mem, slice};

use lastbyte_tcp::State;
use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetTcp6Table, GetTcpTable, MIB_TCP6ROW, MIB_TCPROW_LH,
};

/// One copy of the table serves all connections that are looked at within this time.
const FRESH: Duration = Duration::from_millis(2);

type End = (IpAddr, u16);

#[derive(Clone, Copy)]
struct Row {
    local: End,
    peer: End,
    state: u32,
}

struct Snapshot {
    at: Instant,
    rows: Vec<Row>,
}

static LAST: Mutex<Option<Snapshot>> = Mutex::new(None);

/// Which copy of the table will do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// One that is read now. A connection's first look takes it, so that no row of an earlier
    /// connection with the same addresses is taken for this one's.
    Now,
    Recent,
}

/// The state; `Closed` where there is no row.
pub(super) fn state(local: SocketAddr, peer: SocketAddr, age: Age) -> io::Result<State> {
    let (local, peer) = (key(local), key(peer));
    let seen = state_between(local, peer, age)?;
    match seen {
        // Of before our FIN: a later copy tells more, and whose FIN was first.
        State::Established | State::CloseWait if age == Age::Recent => {
            state_between(local, peer, Age::Now)
        }
        seen => Ok(seen),
    }
}

fn state_between(local: End, peer: End, age: Age) -> io::Result<State> {
    with_rows(age, |rows| {
        let row = rows
            .iter()
            .find(|row| row.local == local && row.peer == peer);
        row.map_or(State::Closed, |row| of_mib(row.state))
    })
}

/// Whether a connect from this address is under way.
pub(super) fn connects(local: SocketAddr) -> io::Result<bool> {
    let (_, port) = key(local);
    with_rows(Age::Now, |rows| {
        rows.iter()
            .any(|row| row.local.1 == port && of_mib(row.state) == State::SynSent)
    })
}

fn with_rows<T>(age: Age, find: impl FnOnce(&[Row]) -> T) -> io::Result<T> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let will_do = |snapshot: &Snapshot| age == Age::Recent && snapshot.at.elapsed() < FRESH;
    let snapshot = match last.take().filter(will_do) {
        Some(snapshot) => snapshot,
        None => {
            // The time before the read: what changes meanwhile may be missed.
            let at = Instant::now();
            let rows = read()?;
            Snapshot { at, rows }
        }
    };
    let found = find(&snapshot.rows);
    *last = Some(snapshot);
    Ok(found)
}

/// An IPv6 socket may hold an IPv4 connection, whose row may be in either table.
fn key(address: SocketAddr) -> End {
    (address.ip().to_canonical(), address.port())
}

/// The values of MIB_TCP_STATE.
fn of_mib(state: u32) -> State {
    match state {
        2 => State::Listen,
        3 => State::SynSent,
        4 => State::SynReceived,
        5 => State::Established,
        6 => State::FinWait1,
        7 => State::FinWait2,
        8 => State::CloseWait,
        9 => State::Closing,
        10 => State::LastAck,
        11 => State::TimeWait,
        // CLOSED and DELETE_TCB.
        _ => State::Closed,
    }
}

fn read() -> io::Result<Vec<Row>> {
    // SAFETY: the function writes no more than the length that it is given.
    let v4 = fill(|buffer, len| unsafe { GetTcpTable(buffer.cast(), len, 0) })?;
    // SAFETY: as above.
    let v6 = fill(|buffer, len| unsafe { GetTcp6Table(buffer.cast(), len, 0) })?;
    let v4 = rows::<MIB_TCPROW_LH>(&v4).iter().map(|row| Row {
        local: (ipv4(row.dwLocalAddr), port(row.dwLocalPort)),
        peer: (ipv4(row.dwRemoteAddr), port(row.dwRemotePort)),
        // SAFETY: both fields of the union are the same integer.
        state: unsafe { row.Anonymous.dwState },
    });
    let v6 = rows::<MIB_TCP6ROW>(&v6).iter().map(|row| Row {
        // SAFETY: all fields of the union are the same 16 bytes.
        local: (ipv6(unsafe { row.LocalAddr.u.Byte }), port(row.dwLocalPort)),
        // SAFETY: as above.
        peer: (
            ipv6(unsafe { row.RemoteAddr.u.Byte }),
            port(row.dwRemotePort),
        ),
        state: row.State as u32,
    });
    Ok(v4.chain(v6).collect())
}

/// A table in words, so that its rows are aligned; longer than what `read` asks for, because the
/// table grows meanwhile.
fn fill(read: impl Fn(*mut u32, *mut u32) -> u32) -> io::Result<Vec<u32>> {
    let mut bytes = 16 * 1024;
    loop {
        let mut table = vec![0u32; bytes / mem::size_of::<u32>()];
        let mut len = bytes as u32;
        match read(table.as_mut_ptr(), &mut len) {
            NO_ERROR => return Ok(table),
            ERROR_INSUFFICIENT_BUFFER => bytes = (len as usize + 4096).max(bytes * 2),
            // No such table, as where IPv6 is not installed.
            50 | 232 => return Ok(vec![0]),
            error => return Err(io::Error::from_raw_os_error(error as i32)),
        }
    }
}

/// A row of a table: integers in words.
///
/// # Safety
/// Made of 32-bit words and bytes alone, with no more than a word's alignment.
unsafe trait Words {}
// SAFETY: five words.
unsafe impl Words for MIB_TCPROW_LH {}
// SAFETY: words, and addresses of 16 bytes.
unsafe impl Words for MIB_TCP6ROW {}

fn rows<R: Words>(table: &[u32]) -> &[R] {
    let Some((&count, words)) = table.split_first() else {
        return &[];
    };
    let room = mem::size_of_val(words) / mem::size_of::<R>();
    let count = (count as usize).min(room);
    // SAFETY: there is room for `count` rows, whose alignment a word has, and any bytes are one.
    unsafe { slice::from_raw_parts(words.as_ptr().cast(), count) }
}

fn ipv4(address: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(address.to_ne_bytes()))
}

fn ipv6(bytes: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
}

/// In the low 16 bits, in the network's order.
fn port(port: u32) -> u16 {
    u16::from_be(port as u16)
}

const _: () = assert!(mem::align_of::<MIB_TCPROW_LH>() <= 4 && mem::align_of::<MIB_TCP6ROW>() <= 4);
