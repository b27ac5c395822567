//! Clients of a server: one request per connection, the answer read to EOF.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::scenario::{REQUEST, RESPONSE};

const SILENCE: Duration = Duration::from_secs(10);

/// Sends `n` requests, `at_once` of them in flight, and reads each answer to EOF.
pub(super) fn load(to: SocketAddr, n: usize, at_once: usize) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let timeout = EpollTimeout::try_from(SILENCE).map_err(io::Error::other)?;
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    for place in 0..at_once.min(n) {
        clients.push(Some(ask(to, &epoll, place)?));
    }
    let (mut asked, mut answered) = (clients.len(), 0);
    let mut events = [EpollEvent::empty(); 256];
    let mut answer = Vec::with_capacity(RESPONSE.len());
    while answered < n {
        let fired = epoll.wait(&mut events, timeout)?;
        if fired == 0 {
            let left = n - answered;
            return Err(io::Error::other(format!("{left} answers did not come")));
        }
        for event in &events[..fired] {
            let place = event.data() as usize;
            let Some(mut client) = clients[place].take() else {
                continue;
            };
            answer.clear();
            // The FIN is there, so this does not block.
            client.read_to_end(&mut answer)?;
            if answer.len() != RESPONSE.len() {
                let got = answer.len();
                return Err(io::Error::other(format!("an answer of {got} bytes")));
            }
            drop(client);
            answered += 1;
            if asked < n {
                clients[place] = Some(ask(to, &epoll, place)?);
                asked += 1;
            }
        }
    }
    Ok(())
}

fn ask(to: SocketAddr, epoll: &Epoll, place: usize) -> io::Result<TcpStream> {
    let mut client = TcpStream::connect(to)?;
    client.write_all(&REQUEST)?;
    let flags = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    epoll.add(&client, EpollEvent::new(flags, place as u64))?;
    Ok(client)
}
