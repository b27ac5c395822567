//! An independent witness: the kernel's table of TCP sockets, read by foreign crates and
//! not by lastbyte-tcp, so that what lastbyte reads can be checked against it.

use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use procfs::net::TcpState;

use super::Conn;

/// One socket of the table.
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
/// Asks for this one connection (sock_diag(7)); the whole of /proc/net/tcp would
/// cost milliseconds with thousands of sockets in it. Where the kernel knows of
/// none by that way, /proc/net/tcp is read to be sure.
///
/// # Errors
/// Those of netlink sockets and of reading /proc/net/tcp.
pub fn row_of(conn: &Conn) -> io::Result<Option<TableRow>> {
    match ask(conn) {
        Ok(Some(row)) => Ok(Some(row)),
        Ok(None) | Err(_) => from_proc(conn),
    }
}

fn ask(conn: &Conn) -> io::Result<Option<TableRow>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut request = NetlinkMessage::new(
        header,
        NetlinkPayload::from(SockDiagMessage::InetRequest(InetRequest {
            family: if conn.ours.is_ipv6() {
                AF_INET6
            } else {
                AF_INET
            },
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all(),
            socket_id: SocketId {
                source_port: conn.ours.port(),
                destination_port: conn.peer.port(),
                source_address: conn.ours.ip(),
                destination_address: conn.peer.ip(),
                interface_id: 0,
                cookie: [0xff; 8], // any (INET_DIAG_NOCOOKIE)
            },
        })),
    );
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);

    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.send_to(&bytes, &netlink_sys::SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer =
        NetlinkMessage::<SockDiagMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) => {
            let found = found.header;
            // A listener on the same port is what the kernel finds next.
            Ok(TcpState::from_u8(found.state)
                .filter(|state| *state != TcpState::Listen)
                .map(|state| TableRow {
                    state,
                    send_queue: found.send_queue,
                    owned: found.inode != 0,
                }))
        }
        NetlinkPayload::Error(error) if error.raw_code() == -libc::ENOENT => Ok(None),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn from_proc(conn: &Conn) -> io::Result<Option<TableRow>> {
    let table = if conn.ours.is_ipv6() {
        procfs::net::tcp6()
    } else {
        procfs::net::tcp()
    }
    .map_err(io::Error::other)?;
    Ok(table
        .iter()
        .find(|row| row.local_address == conn.ours && row.remote_address == conn.peer)
        .map(|row| TableRow {
            state: row.state.clone(),
            send_queue: row.tx_queue,
            owned: row.inode != 0,
        }))
}
