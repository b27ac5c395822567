//! Shutting a listener down.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::roll::{Roll, Stage};
use crate::report::Report;
use crate::sums::Sums;

/// Shuts a [`Listener`](super::Listener) down, and tells how many of its
/// connections are open and what became of the others.
#[derive(Clone)]
pub struct Handle {
    roll: Arc<Roll>,
}

impl Handle {
    pub(super) fn new(roll: Arc<Roll>) -> Self {
        Self { roll }
    }

    /// Ends everything within `time`, and tells what became of it: the drain of a
    /// deploy.
    ///
    /// 1. The listener gives out the connections that are complete already,
    ///    closes, and from then on says `None`. [`draining`](Self::draining) is
    ///    ready: the server is to finish what it has in hand.
    /// 2. Connections end as the server drops them, each as its policy says.
    /// 3. When all have ended, or `time` is over, it is done. What has not ended
    ///    by then ends now:
    ///
    /// | at the deadline | ends | fate |
    /// |---|---|---|
    /// | still in the server's hands | by RST, reads and writes of the server failing from then on | `aborted` |
    /// | closed by the server, not acknowledged | by RST; with [`Linger::Off`](crate::Linger::Off), which has no deadline, in the background | `timed_out`; `detached` |
    /// | delivered, the peer still sending | in the background | told before |
    ///
    /// The sums are those of all connections that ended since the shutdown
    /// began, exact to the byte. For each one's report see
    /// [`shutdown_with_reports`](Self::shutdown_with_reports) or
    /// [`Listener::on_report`](super::Listener::on_report).
    ///
    /// Somebody must go on calling [`accept`](super::Listener::accept) until that
    /// says `None`, or drop the listener, as `axum::serve` does: an open listener
    /// is waited for like an open connection.
    ///
    /// # Cancellation
    /// Dropped, the listener stays closed and the connections end in their own
    /// time. Called again, the sums are those since the first call.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lastbyte::Policy;
    /// use lastbyte::tokio::Listener;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", Policy::wait(Duration::from_secs(5))).await?;
    /// let handle = listener.handle();
    /// # drop(listener);
    /// // … serve, until it is time to go
    /// let sums = handle.shutdown(Duration::from_secs(10)).await;
    /// if !sums.all_delivered() {
    ///     eprintln!("{sums}");
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    /// Outside a runtime with time enabled.
    pub async fn shutdown(&self, time: Duration) -> Sums {
        self.roll.last_call();
        if ::tokio::time::timeout(time, self.roll.emptied())
            .await
            .is_err()
        {
            self.roll.cut().await;
            // What was under way has been told to finish, without waiting for
            // anybody.
            self.roll.emptied().await;
        }
        self.roll.drained()
    }

    /// As [`shutdown`](Self::shutdown), with each connection's report in the order
    /// in which they ended. A connection without one counts as
    /// [`unseen`](Sums::unseen).
    ///
    /// # Panics
    /// Outside a runtime with time enabled.
    pub async fn shutdown_with_reports(&self, time: Duration) -> (Sums, Vec<(SocketAddr, Report)>) {
        self.roll.keep_reports();
        let sums = self.shutdown(time).await;
        (sums, self.roll.take_reports())
    }

    /// Ready once a shutdown has begun and the listener is closed: the server is
    /// to stop. For axum's `with_graceful_shutdown`, or hyper's.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut stages = self.roll.stages();
        async move {
            // An error means that the listener and all handles are gone.
            let _ = stages.wait_for(|&stage| stage >= Stage::Closed).await;
        }
    }

    /// Connections that have not ended yet: in the server's hands, or their
    /// ending under way.
    #[must_use]
    pub fn open(&self) -> usize {
        self.roll.open()
    }

    /// The sums of all connections that have ended since the listener was made.
    #[must_use]
    pub fn sums(&self) -> Sums {
        self.roll.sums()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("stage", &self.roll.stage())
            .field("open", &self.open())
            .finish_non_exhaustive()
    }
}
