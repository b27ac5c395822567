//! The server of `/metrics`. Whoever can connect is answered, and nobody can end it or
//! keep others from it: connections are bounded in number and in time, and where all
//! places are taken the oldest connection makes room. A scraper's lives for a moment.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, VARY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lastbyte_host::metrics::Format;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, LocalSet, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

/// Connections at once.
const PLACES: usize = 64;
/// How long a request may take to come.
const REQUEST: Duration = Duration::from_secs(2);
/// How long a connection may take in all.
const WHOLE: Duration = Duration::from_secs(10);
/// What the kernel's shortage of descriptors or memory is given to pass.
const SHORTAGE: Duration = Duration::from_millis(100);
/// The largest head of a request: the least that hyper takes.
const HEAD: usize = 8 << 10;
/// Tasks run between two looks at the sockets: few, so that a request which has come is
/// read before its connection has to make room.
const TASKS: u32 = 8;

/// Serves for ever what `scrape` gives; on a thread of its own.
pub(super) fn serve(
    listener: TcpListener,
    scrape: impl Fn(Format) -> Bytes + Clone + 'static,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .event_interval(TASKS)
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, accept(listener, scrape))
}

async fn accept(
    listener: TcpListener,
    scrape: impl Fn(Format) -> Bytes + Clone + 'static,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut places = VecDeque::with_capacity(PLACES);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                make_room(&mut places, PLACES - 1);
                let serving = spawn_local(connection(stream, scrape.clone()));
                places.push_back(serving.abort_handle());
                // Its request may be there already.
                yield_now().await;
            }
            // The connection was reset before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => {
                make_room(&mut places, PLACES / 2);
                sleep(SHORTAGE).await;
            }
        }
    }
}

/// Ends the oldest until no more than `left` are left.
fn make_room(places: &mut VecDeque<AbortHandle>, left: usize) {
    if places.len() <= left {
        return;
    }
    places.retain(|serving| !serving.is_finished());
    for oldest in places.drain(..places.len().saturating_sub(left)) {
        oldest.abort();
    }
}

/// One request and its answer.
async fn connection(stream: TcpStream, scrape: impl Fn(Format) -> Bytes + Clone) {
    let service = service_fn(move |request| {
        let answer = answer(&request, &scrape);
        async { answer }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever went away, or was too slow, has nobody to be told.
    let _ = timeout(WHOLE, serving).await;
}

fn answer(
    request: &Request<Incoming>,
    scrape: &impl Fn(Format) -> Bytes,
) -> hyper::http::Result<Response<Full<Bytes>>> {
    let response = Response::builder();
    let refused = |response: hyper::http::response::Builder, status| {
        response.status(status).body(Full::default())
    };
    if request.uri().path() != "/metrics" {
        return refused(response, StatusCode::NOT_FOUND);
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let response = response.header(ALLOW, "GET, HEAD");
        return refused(response, StatusCode::METHOD_NOT_ALLOWED);
    }
    let accepted: Vec<_> = request
        .headers()
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let format = Format::preferred(&accepted.join(","));
    response
        .header(CONTENT_TYPE, format.content_type())
        .header(VARY, "Accept")
        .body(Full::new(scrape(format)))
}
