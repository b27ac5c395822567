//! Answers a client on compio, and waits until the answer has arrived.
//!
//! `cargo run --example compio_finish`

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use compio::BufResult;
use compio::io::{AsyncReadExt, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use lastbyte::{Closer, Policy, Report};

/// Answers without having read the request; plain close would reset the connection.
async fn answer(closer: &Closer, mut stream: TcpStream) -> io::Result<Report> {
    let BufResult(written, _) = stream.write_all("413 too large\n").await;
    written?;
    // compio shares its descriptors with operations under way, so it gives none away; a
    // duplicate is as good, because the close ends the connection of both.
    let socket = stream.as_fd().try_clone_to_owned()?;
    drop(stream);
    let policy = Policy::wait(Duration::from_secs(10)).with_drain_time(Duration::ZERO);
    Ok(closer.finish(socket, policy).await?)
}

async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let BufResult(written, _) = stream.write_all(vec![b'x'; 100_000]).await;
    written?;
    let BufResult(read, answer) = stream.read_to_end(Vec::new()).await;
    read?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What the server knows about the answer, and what the client got.
pub(crate) fn run() -> io::Result<(Report, String)> {
    let closer = Closer::new()?;
    compio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = compio::runtime::spawn(ask(listener.local_addr()?));
        let (stream, _) = listener.accept().await?;
        let report = answer(&closer, stream).await?;
        let got = client
            .await
            .map_err(|_| io::Error::other("the client panicked"))??;
        Ok((report, got))
    })
}

#[allow(dead_code, reason = "a test runs what this does")]
fn main() -> io::Result<()> {
    let (report, got) = run()?;
    println!("the server: {report}");
    println!("the client got {got:?}");
    Ok(())
}
