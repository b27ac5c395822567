//! A hundred runs each of delivered, timed out and reset: always right.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lastbyte_lab::harness::{Conn, End, Peer, TcpState, has_ipv6};
use lastbyte_lab::{Stage, await_state};
use libtest_mimic::Failed;
use socket2::{Domain, Socket, Type};

use crate::sender::{Sender, evidence};

const RUNS: usize = 100;
const SIDE_BY_SIDE: usize = 20;
const PATIENCE: Duration = Duration::from_secs(5);
/// More than a small window takes, less than a send queue.
pub(crate) const BYTES: usize = 60_000;

pub(crate) fn delivered(stage: &Stage) -> Result<(), Failed> {
    hundred(stage, |index| {
        let bytes = index * index * 30;
        let confirm = index % 2 == 0;
        let options: &[&str] = if confirm {
            &["--linger", "20s", "--confirm"]
        } else {
            &["--linger", "20s"]
        };
        let (listener, at) = listen(index, None)?;
        let sender = Sender::start(at, options, bytes)?;
        let (mut peer, conn) = accept(&listener)?;
        let got = peer.read_all(PATIENCE);
        peer.close();
        if (got.bytes, got.intact, got.end) != (bytes as u64, true, End::Eof) {
            return Err(format!("the peer got {got:?} of {bytes}").into());
        }
        let fate = if confirm { "confirmed" } else { "delivered" };
        sender.end()?.check(stage, &conn, 0, fate)
    })
}

pub(crate) fn timed_out(stage: &Stage) -> Result<(), Failed> {
    hundred(stage, |index| {
        let (listener, at) = listen(index, Some(4096))?;
        let sender = Sender::start(at, &["--linger", "200ms"], BYTES)?;
        let (mut peer, conn) = accept(&listener)?;
        let said = sender.end()?;
        said.check(stage, &conn, 1, "timed_out")?;
        // What was acknowledged is what the peer can read, and not a byte more.
        let got = peer.read_all(PATIENCE);
        if got.bytes != said.number("acked")? || !got.intact {
            return Err(format!("the peer got {got:?}, the report is {}", said.report).into());
        }
        Ok(())
    })
}

pub(crate) fn reset(stage: &Stage) -> Result<(), Failed> {
    hundred(stage, |index| {
        let (listener, at) = listen(index, Some(4096))?;
        let sender = Sender::start(at, &["--linger", "20s"], BYTES)?;
        let (mut peer, conn) = accept(&listener)?;
        match index % 3 {
            // While it is still writing, or just after.
            0 => {}
            1 => drop(peer.read_some(500, PATIENCE)),
            // While it waits for the close.
            _ => await_state(&conn, &TcpState::FinWait1).map_err(|e| format!("{e:?}"))?,
        }
        peer.reset();
        sender.end()?.check(stage, &conn, 1, "reset")
    })
}

/// Runs `once` a hundred times, twenty side by side, and tells every failure.
fn hundred(stage: &Stage, once: impl Fn(usize) -> Result<(), Failed> + Sync) -> Result<(), Failed> {
    // On this thread: from another the test could not be ended as ignored.
    evidence(stage.capture())?;
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= RUNS {
                        return;
                    }
                    if let Err(failed) = once(index) {
                        let text = failed.message().unwrap_or("no reason given").to_owned();
                        failures
                            .lock()
                            .expect("nobody panics with it")
                            .push(format!("run {index}: {text}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panics with it");
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("{} of {RUNS}:\n  {}", failures.len(), failures.join("\n  ")).into())
    }
}

/// A listener on loopback, IPv4 and IPv6 in turn.
pub(crate) fn listen(index: usize, buffer: Option<usize>) -> Result<(Socket, SocketAddr), Failed> {
    let at: SocketAddr = if index % 4 == 3 && has_ipv6() {
        (Ipv6Addr::LOCALHOST, 0).into()
    } else {
        (Ipv4Addr::LOCALHOST, 0).into()
    };
    let listener = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    if let Some(bytes) = buffer {
        listener.set_recv_buffer_size(bytes)?;
    }
    listener.bind(&at.into())?;
    listener.listen(1)?;
    // A sender that never connects must not hang the test.
    listener.set_read_timeout(Some(PATIENCE))?;
    let at = listener.local_addr()?.as_socket().ok_or("no IP address")?;
    Ok((listener, at))
}

pub(crate) fn accept(listener: &Socket) -> Result<(Peer, Conn), Failed> {
    let (socket, from) = listener.accept()?;
    let conn = Conn {
        ours: from.as_socket().ok_or("no IP address")?,
        peer: socket.local_addr()?.as_socket().ok_or("no IP address")?,
    };
    Ok((Peer::new(socket), conn))
}
