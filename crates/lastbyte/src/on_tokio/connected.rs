//! What hyper-util and tonic ask of a connection.

use super::stream::Stream;
use crate::connection::Connection;

#[cfg(feature = "hyper-util")]
impl hyper_util::client::legacy::connect::Connection for Stream {
    /// Puts the [`Connection`] into the extensions of each response.
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        hyper_util::client::legacy::connect::Connected::new().extra(Connection::of(self))
    }
}

#[cfg(feature = "tonic")]
impl tonic::transport::server::Connected for Stream {
    type ConnectInfo = tonic::transport::server::TcpConnectInfo;

    /// Says both addresses, for a request's `remote_addr()` and `local_addr()`.
    fn connect_info(&self) -> Self::ConnectInfo {
        let Connection { local, peer, .. } = Connection::of(self);
        Self::ConnectInfo {
            local_addr: local,
            remote_addr: peer,
        }
    }
}
