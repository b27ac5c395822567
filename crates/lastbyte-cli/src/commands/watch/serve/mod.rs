//! `--prometheus`: answers GET /metrics.

mod http;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use lastbyte_host::metrics::{Format, Metrics};
use lastbyte_host::watch::Ending;
use lastbyte_host::watch::Watcher;

use crate::output::note;
use socket2::{Domain, Socket, Type};

/// Scrapes this close together get the same text: however many there are, the watch is
/// not kept from counting.
const SAME: Duration = Duration::from_millis(200);
/// Between two looks at TIME_WAIT at least; a large table is looked at less often, a
/// twentieth of the time.
const LOOK: Duration = Duration::from_secs(1);
const SHARE: u32 = 20;

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

/// A place for scrapers to come to; they are answered once the watch has begun.
pub(super) struct Bound(TcpListener);

impl Bound {
    /// Binds, and says where; a warning where others than this host's can come.
    pub(super) fn to(address: SocketAddr) -> io::Result<Self> {
        let told = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot serve metrics on {address}: {error}"),
            )
        };
        let listener = bind(address).map_err(told)?;
        let address = listener.local_addr()?;
        note!("metrics on http://{address}/metrics");
        if !address.ip().to_canonical().is_loopback() {
            note!(
                "warning: the metrics are served beyond loopback, to anybody who can \
                 reach {address}, without a password and unencrypted"
            );
        }
        Ok(Self(listener))
    }

    /// Serves on a thread of its own until the process ends.
    pub(super) fn serve(self, watcher: &mut Watcher) -> io::Result<Served> {
        let served = Served {
            metrics: Arc::new(Mutex::new(Metrics::new())),
            next_look: Mutex::new(Instant::now()),
        };
        served.update(watcher)?;
        let shared = Arc::clone(&served.metrics);
        thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || {
                let texts = Texts::default();
                let scrape = move |format| texts.current(&shared, format);
                if let Err(error) = http::serve(self.0, scrape) {
                    note!("metrics are served no more: {error}");
                }
            })?;
        Ok(served)
    }
}

/// With room for a crowd: std's backlog is 128.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    const BACKLOG: i32 = 1024;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The metrics, shared with who serves them.
pub(super) struct Served {
    metrics: Arc<Mutex<Metrics>>,
    next_look: Mutex<Instant>,
}

impl Served {
    pub(super) fn endings(&self, endings: &[Ending]) {
        let metrics = lock(&self.metrics);
        for ending in endings {
            metrics.ending(ending);
        }
    }

    /// Takes over what else the watch knows; looks at TIME_WAIT when it is time.
    pub(super) fn update(&self, watcher: &mut Watcher) -> io::Result<()> {
        let mut next_look = lock(&self.next_look);
        let began = Instant::now();
        let seen = match began >= *next_look {
            true => Some(watcher.time_wait()?),
            false => None,
        };
        let mut metrics = lock(&self.metrics);
        metrics.update(watcher);
        if seen.is_some() {
            metrics.time_wait(seen.as_ref());
            *next_look = Instant::now() + LOOK.max(began.elapsed() * SHARE);
        }
        Ok(())
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under the lock.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text made last, of each format.
#[derive(Clone, Default)]
struct Texts {
    open: Arc<Mutex<Option<(Instant, Bytes)>>>,
    text: Arc<Mutex<Option<(Instant, Bytes)>>>,
}

impl Texts {
    fn current(&self, metrics: &Mutex<Metrics>, format: Format) -> Bytes {
        let mut last = lock(match format {
            Format::OpenMetrics => &self.open,
            Format::Text => &self.text,
        });
        match &*last {
            Some((made, text)) if made.elapsed() < SAME => text.clone(),
            _ => {
                let text = Bytes::from(lock(metrics).encode(format));
                *last = Some((Instant::now(), text.clone()));
                text
            }
        }
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
