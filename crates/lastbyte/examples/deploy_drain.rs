//! A server of large responses that drains on SIGTERM and tells what became of
//! every byte.
//!
//!     cargo run --example deploy_drain --features axum,serde -- 127.0.0.1:8080
//!     curl --limit-rate 100K http://127.0.0.1:8080/50000000 -o /dev/null
//!
//! `GET /N` answers with N bytes (1 MiB for `/`). On SIGTERM, or ^C, no new
//! connections are let in; those that are open have `--seconds` (10) to take
//! what they were promised, and are reset then. The sums are printed as JSON.

use std::convert::Infallible;
use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::routing::get;
use http_body::{Frame, SizeHint};
use lastbyte::Policy;
use lastbyte::on_tokio::Listener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some((address, seconds)) = arguments() else {
        eprintln!("usage: deploy_drain ADDR [--seconds N]");
        std::process::exit(2);
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    // A connection that the server has closed may take a minute; the drain's
    // deadline goes before that.
    let policy = Policy::wait(Duration::from_secs(60)).with_stall(Duration::from_secs(30));
    let listener = Listener::bind(address, policy).await?;
    println!("listening on {}", listener.local_addr()?);

    let app = Router::new()
        .route("/", get(|| async { bytes(1 << 20) }))
        .route("/{n}", get(|Path(n): Path<usize>| async move { bytes(n) }));
    let handle = listener.handle();
    let server = axum::serve(listener, app).with_graceful_shutdown(handle.draining());
    tokio::spawn(server.into_future());

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    eprintln!("draining {} connections", handle.open());
    let drained = handle.shutdown(Duration::from_secs(seconds)).await;
    println!("{}", serde_json::to_string(&drained.sums)?);
    Ok(())
}

fn arguments() -> Option<(String, u64)> {
    let mut address = None;
    let mut seconds = 10;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            seconds = arguments.next()?.parse().ok()?;
        } else if address.is_none() && !argument.starts_with('-') {
            address = Some(argument);
        } else {
            return None;
        }
    }
    Some((address?, seconds))
}

/// A response of `n` bytes that costs the server no memory.
fn bytes(n: usize) -> Body {
    Body::new(Zeros { left: n })
}

struct Zeros {
    left: usize,
}

impl http_body::Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static CHUNK: [u8; 1 << 16] = [0; 1 << 16];
        let n = self.left.min(CHUNK.len());
        self.left -= n;
        Poll::Ready((n > 0).then(|| Ok(Frame::data(Bytes::from_static(&CHUNK[..n])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
