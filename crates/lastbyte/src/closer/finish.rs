//! A close that any executor can await.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Closer;
use crate::error::CloseError;
use crate::policy::Policy;
use crate::report::Report;
use crate::sys::OwnedSocket;

type Outcome = Result<Report, CloseError>;

/// Waits for a close by a [`Closer`], on any executor: see [`Closer::finish`].
///
/// The close has begun when this is made, whether or not it is polled.
///
/// # Cancellation
/// It is cancel safe: dropped at any time, the close goes on to its deadline; nothing is
/// reset or leaked, only the report is lost.
#[must_use = "dropped, the close goes on and its report is lost"]
pub struct Finish(State);

enum State {
    /// Waits for the closer of the process `pid`.
    Waiting {
        slot: Arc<Mutex<Slot>>,
        pid: u32,
    },
    Known(Outcome),
    Taken,
}

#[derive(Default)]
struct Slot {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

/// The closer's end: whatever becomes of it, who waits is woken.
struct Promise(Option<Arc<Mutex<Slot>>>);

impl Closer {
    /// Ends a connection, and returns a future of what became of it. Does not block.
    ///
    /// The future needs no runtime: it is woken by the closer's thread. So one closer
    /// serves smol, compio, async-std, an executor of one's own; on tokio,
    /// `on_tokio::close` does without the thread. As with [`close`](Self::close) the
    /// report comes when data and FIN are acknowledged, also with
    /// [`Linger::Off`](crate::Linger::Off).
    ///
    /// It takes what owns the descriptor; [`manual::runtimes`](crate::manual::runtimes)
    /// says how to get that out of each runtime's stream.
    ///
    /// ```
    /// # use std::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    /// use lastbyte::{Closer, Fate, Policy};
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let stream = TcpStream::connect(listener.local_addr()?)?;
    /// # let (_peer, _) = listener.accept()?;
    /// let closer = Closer::new()?;
    /// smol::block_on(async {
    ///     let report = closer.finish(stream, Policy::wait(Duration::from_secs(5))).await?;
    ///     assert_eq!(report.fate, Fate::Delivered);
    ///     std::io::Result::Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The future gives those of [`lastbyte::close`](crate::close()), except the one of a
    /// non-blocking socket, and at once those of [`close`](Self::close), with the socket
    /// in the error. In a child process that was forked meanwhile it gives `ESRCH`.
    pub fn finish<S, P>(&self, socket: S, policy: P) -> Finish
    where
        S: Into<OwnedSocket>,
        P: Into<Policy>,
    {
        let slot = Arc::new(Mutex::new(Slot::default()));
        let mut promise = Promise(Some(Arc::clone(&slot)));
        let keep = move |outcome| promise.keep(outcome);
        Finish(match self.close(socket, policy, keep) {
            Ok(()) => State::Waiting {
                slot,
                pid: self.pid,
            },
            Err(error) => State::Known(Err(error)),
        })
    }
}

impl Promise {
    fn keep(&mut self, outcome: Outcome) {
        let Some(slot) = self.0.take() else { return };
        let waker = {
            let mut slot = lock(&slot);
            slot.outcome = Some(outcome);
            slot.waker.take()
        };
        // Other people's code, outside the lock.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let gone = io::Error::other("the closer ended first");
        self.keep(Err(CloseError::lost_sight(gone)));
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Future for Finish {
    type Output = Outcome;

    /// Returns what became of the connection, once that is known.
    ///
    /// # Panics
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let State::Waiting { slot, pid } = &self.0 {
            // Before the lock, which the parent's thread may hold for ever here.
            if std::process::id() != *pid {
                self.0 = State::Taken;
                let error = io::Error::from(super::WaitError::Forked);
                return Poll::Ready(Err(CloseError::lost_sight(error)));
            }
            let mut slot = lock(slot);
            let Some(outcome) = slot.outcome.take() else {
                match &mut slot.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            };
            drop(slot);
            self.0 = State::Taken;
            return Poll::Ready(outcome);
        }
        match std::mem::replace(&mut self.0, State::Taken) {
            State::Known(outcome) => Poll::Ready(outcome),
            State::Waiting { .. } | State::Taken => panic!("a close was awaited twice"),
        }
    }
}

impl fmt::Debug for Finish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Waiting { .. } => "Finish(waiting)",
            State::Known(_) => "Finish(known)",
            State::Taken => "Finish(taken)",
        })
    }
}
