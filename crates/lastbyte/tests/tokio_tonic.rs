//! tonic's server over a listener's connections; the client is h2.
#![allow(clippy::unwrap_used, reason = "a failing test fails")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use lastbyte::Policy;
use lastbyte::on_tokio::Listener;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::TcpConnectInfo;

type Request = tonic::codegen::http::Request<Body>;
type Response = tonic::codegen::http::Response<Body>;

/// Notes whose each request is.
#[derive(Clone, Default)]
struct Noting(Arc<Mutex<Vec<Option<SocketAddr>>>>);

impl NamedService for Noting {
    const NAME: &'static str = "test.Noting";
}

impl tower_service::Service<Request> for Noting {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let info: &TcpConnectInfo = request.extensions().get().unwrap();
        self.0.lock().unwrap().push(info.remote_addr);
        Box::pin(async { Ok(Response::new(Body::empty())) })
    }
}

#[tokio::test]
async fn a_request_says_whose_it_is_and_the_shutdown_says_what_arrived() {
    let listener = Listener::bind("127.0.0.1:0", Policy::off()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let handle = listener.handle();
    let noting = Noting::default();
    let server = tonic::transport::Server::builder()
        .add_service(noting.clone())
        .serve_with_incoming_shutdown(listener.incoming(), handle.draining());
    let server = tokio::spawn(server);

    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let ours = tcp.local_addr().unwrap();
    let (mut send, connection) = h2::client::handshake(tcp).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = tonic::codegen::http::Request::post(format!("http://{address}/test.Noting/Call"))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(*noting.0.lock().unwrap(), [Some(ours)]);
    drop(send);
    driver.await.unwrap().unwrap();

    let drained = handle.shutdown(Duration::from_secs(20)).await;
    server.await.unwrap().unwrap();
    let mut sums = drained.before;
    sums += drained.sums;
    assert_eq!((sums.connections, sums.lost.exact()), (1, Some(0)));
}
