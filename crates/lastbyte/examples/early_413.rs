//! A server that answers 413 to every POST without reading its body.
//!
//!     cargo run --example early_413 --features axum -- 127.0.0.1:8080
//!     curl -H Expect: --data-binary @big http://127.0.0.1:8080/
//!
//! Closing a connection with unread input makes TCP send an RST (RFC 2525
//! §2.17), and the client sees "connection reset" where the answer should be.
//! With `--bare` that is what happens; without, every client gets its 413.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use lastbyte::Policy;
use lastbyte::on_tokio::Listener;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut address = None;
    let mut bare = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bare" => bare = true,
            _ if !argument.starts_with('-') && address.is_none() => address = Some(argument),
            _ => {
                eprintln!("usage: early_413 ADDR [--bare]");
                std::process::exit(2);
            }
        }
    }
    let tcp = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    println!("listening on {}", tcp.local_addr()?);

    let too_large = || async { StatusCode::PAYLOAD_TOO_LARGE };
    let app = Router::new().route("/", get(|| async { "POST here\n" }).post(too_large));
    if bare {
        axum::serve(tcp, app).await
    } else {
        axum::serve(Listener::new(tcp, Policy::off()), app).await
    }
}
