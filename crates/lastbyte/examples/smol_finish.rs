//! Answers a client on smol, and waits until the answer has arrived.
//!
//! `cargo run --example smol_finish`

use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use lastbyte::{Closer, Policy, Report};
use smol::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};

/// Answers without having read the request; plain close would reset the connection.
async fn answer(closer: &Closer, mut stream: Async<TcpStream>) -> io::Result<Report> {
    stream.write_all(b"413 too large\n").await?;
    // Out of the reactor, as what owns the descriptor.
    let stream = stream.into_inner()?;
    let policy = Policy::wait(Duration::from_secs(10)).with_drain_time(Duration::ZERO);
    Ok(closer.finish(stream, policy).await?)
}

async fn ask(address: std::net::SocketAddr) -> io::Result<String> {
    let mut stream = Async::<TcpStream>::connect(address).await?;
    stream.write_all(&[b'x'; 100_000]).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// What the server knows about the answer, and what the client got.
pub(crate) fn run() -> io::Result<(Report, String)> {
    let closer = Closer::new()?;
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
    let address = listener.get_ref().local_addr()?;
    smol::block_on(async {
        let client = async { ask(address).await };
        let server = async {
            let (stream, _) = listener.accept().await?;
            answer(&closer, stream).await
        };
        let (report, got) = smol::future::try_zip(server, client).await?;
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
