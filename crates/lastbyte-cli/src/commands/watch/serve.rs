//! `--prometheus`: answers GET /metrics.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use lastbyte_host::event::Ending;
use lastbyte_host::metrics::{self, Metrics};
use lastbyte_host::watcher::Watcher;

/// `127.0.0.1:9190`; `:9190` and `9190` are on loopback.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        format!("{text:?} is no address: give 9190 (loopback), 127.0.0.1:9190 or [::1]:9190")
    })
}

/// The metrics, shared with who serves them.
pub(super) struct Served(Arc<Mutex<Metrics>>);

impl Served {
    /// Binds, and serves on a thread of its own until the process ends.
    pub(super) fn start(address: SocketAddr) -> io::Result<Self> {
        let told = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot serve metrics on {address}: {error}"),
            )
        };
        let listener = TcpListener::bind(address).map_err(told)?;
        listener.set_nonblocking(true)?;
        eprintln!(
            "lastbyte: metrics on http://{}/metrics",
            listener.local_addr()?
        );
        let metrics = Arc::new(Mutex::new(Metrics::new()));
        let shared = Arc::clone(&metrics);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let scrape = move || async move {
                        // Nothing that can panic runs under the lock.
                        let text = shared
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .encode();
                        ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
                    };
                    let routes = Router::new().route("/metrics", get(scrape));
                    let served = match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => axum::serve(listener, routes).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = served {
                        eprintln!("lastbyte: metrics are served no more: {error}");
                    }
                });
            })?;
        Ok(Self(metrics))
    }

    pub(super) fn endings(&self, endings: &[Ending]) {
        let metrics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ending in endings {
            metrics.ending(ending);
        }
    }

    pub(super) fn update(&self, watcher: &Watcher) {
        let mut metrics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.update(watcher.joiner(), watcher.losses());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        for text in ["9190", ":9190", "127.0.0.1:9190"] {
            assert_eq!(
                address(text).map(|a| a.to_string()).as_deref(),
                Ok("127.0.0.1:9190")
            );
        }
        assert_eq!(address("[::1]:1").map(|a| a.port()), Ok(1));
        assert!(address("localhost").is_err());
    }
}
