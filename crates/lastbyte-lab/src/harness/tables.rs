//! The kernel's own table of TCP sockets, owners or no owners.

use std::io;

use procfs::net::{TcpNetEntry, TcpState};

use super::Conn;

/// One line of /proc/net/tcp or tcp6.
#[derive(Clone, Debug)]
pub struct TableRow {
    /// The state; TIME_WAIT sockets are in this table too.
    pub state: TcpState,
    /// Bytes in the send queue that the peer has not acknowledged.
    pub send_queue: u32,
    /// Whether a descriptor still holds it; TIME_WAIT and orphans have none.
    pub owned: bool,
}

/// Our side of `conn` in the kernel's table, `None` when it is not there.
///
/// # Errors
/// Those of reading /proc/net/tcp.
pub fn row_of(conn: &Conn) -> io::Result<Option<TableRow>> {
    let table = if conn.ours.is_ipv6() {
        procfs::net::tcp6()
    } else {
        procfs::net::tcp()
    }
    .map_err(io::Error::other)?;
    Ok(table
        .iter()
        .find(|row| row.local_address == conn.ours && row.remote_address == conn.peer)
        .map(read))
}

fn read(row: &TcpNetEntry) -> TableRow {
    TableRow {
        state: row.state.clone(),
        send_queue: row.tx_queue,
        owned: row.inode != 0,
    }
}
