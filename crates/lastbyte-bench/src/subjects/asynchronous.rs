//! Closes awaited on tokio: by hand as its documentation advises, by polling, by
//! lastbyte::on_tokio, and by a mere drop.

use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::{LocalSet, spawn_local, yield_now};

use nix::unistd::Pid;

use super::by_hand::queued;
use super::{Batch, Fates, Pace, Run, wait};
use crate::clock;
use crate::scenario::{REQUEST, RESPONSE};

pub(super) struct Tokio {
    runtime: Runtime,
    end: End,
}

#[derive(Clone, Copy)]
pub(super) enum End {
    Drop,
    /// Shutdown, read to EOF, time-out: tokio's advice where it deprecates
    /// `set_linger`.
    ByHand,
    /// Shutdown, then SIOCOUTQ every [`POLL`] until nothing is left, time-out: the
    /// usual way to be told of the last ACK where the peer does not close.
    Polls,
    Lastbyte,
}

enum Told {
    Delivered,
    Overdue,
}

const DEADLINE: Duration = Duration::from_secs(5);
/// A fine interval for a program: the mean delay it adds is half of it.
const POLL: Duration = Duration::from_millis(10);

impl End {
    async fn close(
        self,
        mut stream: TcpStream,
        deadline: Duration,
        begun: impl FnOnce(),
    ) -> io::Result<Told> {
        match self {
            End::Drop => {
                begun();
                Ok(Told::Delivered)
            }
            End::ByHand => {
                stream.shutdown().await?;
                begun();
                let to_eof = async {
                    let mut sink = [0; 1024];
                    while stream.read(&mut sink).await? > 0 {}
                    Ok(Told::Delivered)
                };
                match tokio::time::timeout(deadline, to_eof).await {
                    Ok(told) => told,
                    Err(_) => Ok(Told::Overdue),
                }
            }
            End::Polls => {
                stream.shutdown().await?;
                begun();
                let to_empty = async {
                    while queued(&stream) > 0 {
                        tokio::time::sleep(POLL).await;
                    }
                    Ok(Told::Delivered)
                };
                match tokio::time::timeout(deadline, to_empty).await {
                    Ok(told) => told,
                    Err(_) => Ok(Told::Overdue),
                }
            }
            End::Lastbyte => {
                let close = lastbyte::on_tokio::close(stream, wait(deadline));
                begun();
                match close.await {
                    Ok(_) => Ok(Told::Delivered),
                    Err(error) if error.fate() == Some(lastbyte::Fate::TimedOut) => {
                        Ok(Told::Overdue)
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }
}

impl Tokio {
    pub(super) fn start(end: End) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self { runtime, end })
    }
}

impl Run for Tokio {
    fn close_all(&mut self, batch: Batch<'_>) -> io::Result<Fates> {
        let end = self.end;
        let Batch {
            scenario,
            streams,
            in_flight,
        } = batch;
        LocalSet::new().block_on(&self.runtime, async {
            let n = streams.len();
            let begun = Rc::new(Cell::new(0));
            let mut tasks = Vec::with_capacity(n);
            for (i, stream) in streams.into_iter().enumerate() {
                let stream = from_std(stream)?;
                let begun = Rc::clone(&begun);
                tasks.push(spawn_local(async move {
                    let count = || begun.set(begun.get() + 1);
                    end.close(stream, scenario.deadline(i), count).await
                }));
            }
            while begun.get() < n {
                yield_now().await;
            }
            // Once more, so that the last of them have come to their waits.
            yield_now().await;
            in_flight();
            let mut fates = Fates::default();
            for task in tasks {
                match task.await.map_err(io::Error::other)?? {
                    Told::Delivered => fates.delivered += 1,
                    Told::Overdue => fates.overdue += 1,
                }
            }
            Ok(fates)
        })
    }

    fn close_paced(&mut self, streams: Vec<std::net::TcpStream>, pace: &Pace) -> io::Result<bool> {
        if matches!(self.end, End::Drop) {
            return Ok(false);
        }
        let end = self.end;
        let n = streams.len();
        // tokio's timer counts milliseconds, so another thread gives the times.
        let (send, mut due) = tokio::sync::mpsc::unbounded_channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for i in 0..n {
                    pace.wait_for(i);
                    if send.send(i).is_err() {
                        break;
                    }
                }
            });
            LocalSet::new().block_on(&self.runtime, async {
                let mut streams = streams
                    .into_iter()
                    .map(|stream| from_std(stream).map(Some))
                    .collect::<io::Result<Vec<_>>>()?;
                let mut tasks = Vec::with_capacity(n);
                while let Some(i) = due.recv().await {
                    let Some(stream) = streams[i].take() else {
                        continue;
                    };
                    let pace = pace.clone();
                    tasks.push(spawn_local(async move {
                        end.close(stream, DEADLINE, || {}).await?;
                        pace.told(i);
                        Ok::<_, io::Error>(())
                    }));
                }
                for task in tasks {
                    task.await.map_err(io::Error::other)??;
                }
                Ok(true)
            })
        })
    }

    fn serve(&mut self, listener: &TcpListener, n: usize) -> io::Result<usize> {
        let end = self.end;
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        LocalSet::new().block_on(&self.runtime, async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..n {
                let (mut stream, _) = listener.accept().await?;
                tasks.spawn_local(async move {
                    let mut request = REQUEST;
                    stream.read_exact(&mut request).await?;
                    stream.write_all(&RESPONSE).await?;
                    end.close(stream, DEADLINE, || {}).await
                });
                while let Some(done) = tasks.try_join_next() {
                    done.map_err(io::Error::other)??;
                }
            }
            while let Some(done) = tasks.join_next().await {
                done.map_err(io::Error::other)??;
            }
            clock::threads(Pid::this())
        })
    }
}

fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}
