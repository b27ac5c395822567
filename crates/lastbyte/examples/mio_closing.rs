//! A server on mio, one thread, whose event loop closes connections too.
//!
//!     cargo run --example mio_closing -- 127.0.0.1:8080
//!     nc -d 127.0.0.1 8080 | wc -c
//!
//! It sends a megabyte to whoever connects. A [`Closing`] is one more descriptor
//! to poll: readable when there is something to do, the deadline included.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use lastbyte::{Closing, Policy};
use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

const LISTENER: Token = Token(0);
const ANSWER: &[u8] = &[b'x'; 1 << 20];

enum Connection {
    Writing { stream: TcpStream, written: usize },
    Closing(Closing),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let mut listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);

    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections = HashMap::new();
    let mut next = LISTENER.0 + 1;
    let mut events = Events::with_capacity(128);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() != LISTENER {
                go_on(&registry, &mut connections, event.token());
                continue;
            }
            loop {
                let mut stream = match listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => {
                        eprintln!("accept: {error}");
                        break;
                    }
                };
                let token = Token(next);
                next += 1;
                registry.register(&mut stream, token, Interest::WRITABLE)?;
                connections.insert(token, Connection::Writing { stream, written: 0 });
            }
        }
    }
}

fn go_on(registry: &Registry, connections: &mut HashMap<Token, Connection>, token: Token) {
    let Some(connection) = connections.remove(&token) else {
        return;
    };
    match step(registry, token, connection) {
        Ok(Some(connection)) => {
            connections.insert(token, connection);
        }
        Ok(None) => {}
        Err(error) => println!("{}: {error}", token.0),
    }
}

fn step(
    registry: &Registry,
    token: Token,
    connection: Connection,
) -> io::Result<Option<Connection>> {
    match connection {
        Connection::Writing {
            mut stream,
            mut written,
        } => {
            while written < ANSWER.len() {
                match stream.write(&ANSWER[written..]) {
                    Ok(n) => written += n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return Ok(Some(Connection::Writing { stream, written }));
                    }
                    Err(error) => return Err(error),
                }
            }
            registry.deregister(&mut stream)?;
            let policy = Policy::wait(Duration::from_secs(30)).with_stall(Duration::from_secs(5));
            let closing = Closing::begin(OwnedFd::from(stream), policy)?;
            registry.register(
                &mut SourceFd(&closing.as_raw_fd()),
                token,
                Interest::READABLE,
            )?;
            // It may be done already.
            step(registry, token, Connection::Closing(closing))
        }
        Connection::Closing(mut closing) => match closing.try_finish() {
            Err(error) if error.would_block() => Ok(Some(Connection::Closing(closing))),
            done => {
                registry.deregister(&mut SourceFd(&closing.as_raw_fd()))?;
                println!("{}: {}", token.0, done?);
                Ok(None)
            }
        },
    }
}
