//! `axum::serve` takes a listener of ours.

use std::future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::listener::Listener;
use super::stream::Stream;
use super::timer;

/// Without descriptors, until trying again makes sense; what axum waits itself.
const NO_DESCRIPTORS: Duration = Duration::from_secs(1);

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            match Listener::accept(self).await {
                Ok(Some(accepted)) => return accepted,
                // A graceful shutdown drops this; without one, this is how to
                // accept nothing any more.
                Ok(None) => future::pending().await,
                Err(error) if was_the_connections(&error) => {}
                Err(error) => {
                    complain(&error);
                    timer::pause(NO_DESCRIPTORS).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Listener::local_addr(self)
    }
}

/// Returns whether one connection was gone before it was accepted, which is no reason to
/// wait (accept(2)).
fn was_the_connections(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(feature = "tracing")]
fn complain(error: &io::Error) {
    tracing::error!(target: "lastbyte", %error, "cannot accept connections, trying again soon");
}

#[cfg(not(feature = "tracing"))]
fn complain(_: &io::Error) {}
