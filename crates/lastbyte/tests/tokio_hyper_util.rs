//! hyper-util's legacy client over `on_tokio::Stream`.
#![allow(clippy::unwrap_used, reason = "a failing test fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use http_body_util::Empty;
use hyper::Uri;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use lastbyte::on_tokio::Stream;
use lastbyte::{Connection, Policy};

#[derive(Clone)]
struct Connector(SocketAddr);

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.0;
        Box::pin(async move {
            let policy = Policy::wait(Duration::from_secs(5));
            Ok(TokioIo::new(Stream::connect(address, policy).await?))
        })
    }
}

#[tokio::test]
async fn a_response_says_which_connection_it_came_by() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, client) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        client
    });
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(Connector(address));
    let uri: Uri = format!("http://{address}/").parse().unwrap();
    let response = client.get(uri).await.unwrap();
    let connection: &Connection = response.extensions().get().unwrap();
    assert_eq!(connection.peer, Some(address));
    assert_eq!(connection.local, Some(server.join().unwrap()));
    assert!(connection.id > Some(0));
}
