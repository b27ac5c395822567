//! What careful programs do today.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{DEADLINE, Run};

/// shutdown, read to EOF, time-out: as tokio's documentation advises. Here the
/// peer never closes, so what is waited for is that the send queue empties: the
/// nearest that tokio's API comes to it is asking the socket again and again.
pub(super) struct Tokio {
    runtime: tokio::runtime::Runtime,
}

impl Tokio {
    pub(super) fn start() -> io::Result<Self> {
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }
}

impl Run for Tokio {
    fn close_all(&mut self, streams: Vec<TcpStream>) -> io::Result<()> {
        let local = tokio::task::LocalSet::new();
        local.block_on(&self.runtime, async {
            let mut tasks = Vec::with_capacity(streams.len());
            for stream in streams {
                stream.set_nonblocking(true)?;
                let mut stream = tokio::net::TcpStream::from_std(stream)?;
                tasks.push(tokio::task::spawn_local(async move {
                    stream.shutdown().await?;
                    tokio::time::timeout(DEADLINE, async {
                        let mut sink = [0; 1024];
                        loop {
                            // The peer does not close; its EOF may never come.
                            let read = stream.read(&mut sink);
                            let pause = std::time::Duration::from_millis(5);
                            match tokio::time::timeout(pause, read).await {
                                Ok(Ok(0)) => break Ok(()),
                                Ok(Ok(_)) => {}
                                Ok(Err(error)) => break Err(error),
                                Err(_) if queued(&stream) == 0 => break Ok(()),
                                Err(_) => {}
                            }
                        }
                    })
                    .await
                    .unwrap_or(Ok(()))
                }));
            }
            for task in tasks {
                task.await.map_err(io::Error::other)??;
            }
            Ok(())
        })
    }
}

/// Edge-triggered epoll as one would write it for this purpose alone.
pub(super) struct Epoll;

impl Run for Epoll {
    fn close_all(&mut self, streams: Vec<TcpStream>) -> io::Result<()> {
        // SAFETY: no pointer is passed; the descriptor is new and owned here.
        let epoll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
        let mut left = HashMap::with_capacity(streams.len());
        for stream in streams {
            let mut event = libc::epoll_event {
                events: (libc::EPOLLET | libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP) as u32,
                u64: stream.as_raw_fd() as u64,
            };
            // SAFETY: `event` is read during the call only.
            unsafe {
                libc::epoll_ctl(
                    epoll.as_raw_fd(),
                    libc::EPOLL_CTL_ADD,
                    stream.as_raw_fd(),
                    &mut event,
                );
            }
            stream.shutdown(Shutdown::Write)?;
            left.insert(stream.as_raw_fd() as u64, stream);
        }
        let deadline = std::time::Instant::now() + DEADLINE;
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 256];
        while !left.is_empty() {
            let time = deadline.saturating_duration_since(std::time::Instant::now());
            if time.is_zero() {
                break;
            }
            // SAFETY: there is room for as many events as are asked for.
            let n = unsafe {
                libc::epoll_wait(
                    epoll.as_raw_fd(),
                    events.as_mut_ptr(),
                    events.len() as i32,
                    time.as_millis() as i32 + 1,
                )
            };
            for event in &events[..usize::try_from(n).unwrap_or(0)] {
                let key = event.u64;
                if left.get(&key).is_some_and(|stream| queued(stream) == 0) {
                    left.remove(&key);
                }
            }
        }
        Ok(())
    }
}

fn queued(stream: &impl AsRawFd) -> i32 {
    let mut queued = 0;
    // SAFETY: SIOCOUTQ writes one int.
    unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &mut queued) };
    queued
}
