//! Shutting a listener down.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::registry::{LAST_ACCEPTS_TIME, ONE_ACK, Registry, SETTLE_TIME, Stage};
use super::timer;
use crate::closer::DrainReport;
use crate::sums::Sums;

/// Shuts a [`Listener`](super::Listener) down, and says how many of its connections are
/// open and what became of the others.
#[derive(Clone)]
pub struct Handle {
    registry: Arc<Registry>,
}

impl Handle {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// Ends everything within `time`, and returns what became of it: the drain of a
    /// deploy.
    ///
    /// 1. The listener gives out the connections that are complete already, and none
    ///    that come later, closes, and from then on says `None`.
    ///    [`draining`](Self::draining) is ready: the server is to finish what it has in
    ///    hand.
    /// 2. Connections end as the server drops them, each as its policy says.
    /// 3. When all have ended, or `time` is over, it is done. What has not ended
    ///    by then ends now:
    ///
    /// | at the deadline | ends | fate |
    /// |---|---|---|
    /// | still in the server's hands | by RST; the server's reads and writes fail from then on | `aborted` |
    /// | closed by the server, not acknowledged | by RST | `timed_out` |
    /// | delivered, the peer still sending | in the [background](crate::background) | reported before |
    ///
    /// What comes back is about all connections that ended since the shutdown
    /// began. Its sums are exact: just before the deadline transmission is held
    /// back, so that what is on its way can be acknowledged, and what was
    /// acknowledged is what the peers got. (A path with a round trip of more than
    /// a tenth of a second, or one that loses packets just then, can leave some
    /// that a peer has and we do not know of; they count as lost.)
    ///
    /// Somebody must go on calling [`accept`](super::Listener::accept) until that
    /// says `None`, or drop the listener, as `axum::serve` does: an open listener
    /// is waited for like an open connection.
    /// From the deadline on it says `None` whoever is still coming.
    ///
    /// # Cancellation
    /// Dropped, the listener stays closed and the connections end in their own
    /// time, at their own pace. Called again, it reports those since the first call.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lastbyte::Policy;
    /// use lastbyte::on_tokio::Listener;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", Policy::wait(Duration::from_secs(5))).await?;
    /// let handle = listener.handle();
    /// # drop(listener);
    /// // … serve, until it is time to go
    /// let drained = handle.shutdown(Duration::from_secs(10)).await;
    /// if !drained.sums.all_delivered() {
    ///     eprintln!("{}", drained.sums);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// The times are those of the runtime it is called in, which tests can pause; where
    /// there is none, or it has no time, a thread waits for them.
    #[doc(alias("graceful", "drain"))]
    pub async fn shutdown(&self, time: Duration) -> DrainReport {
        self.registry.begin_shutdown();
        // Time for what is on its way to be acknowledged, and to end the rest one
        // by one.
        let each = Duration::from_micros(20) * u32::try_from(self.open()).unwrap_or(u32::MAX);
        let last = (ONE_ACK + SETTLE_TIME).saturating_add(each).min(time / 4);
        let letting_in = LAST_ACCEPTS_TIME.min(time - last);
        if !self.emptied_within(letting_in).await {
            self.registry.drain();
            if !self.emptied_within(time - last - letting_in).await {
                let _holding_back = self.registry.throttle(last).await;
                if !self.emptied_within(last.min(ONE_ACK)).await {
                    self.registry.abort_open().await;
                }
            }
        }
        self.registry.drained()
    }

    async fn emptied_within(&self, time: Duration) -> bool {
        timer::within(time, self.registry.emptied()).await
    }

    /// Returns a future that is ready once a shutdown has begun, so that the server stops:
    /// for axum's `with_graceful_shutdown`, or hyper's.
    ///
    /// A listener that is accepting lets in first who has connected already, which takes
    /// a moment, 50 ms at most; closing it would reset them. Where nobody waits to be
    /// let in, or the listener is closed, it is ready at once.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut stages = self.registry.stages();
        async move {
            // An error means that the listener and all handles are gone.
            let _ = stages.wait_for(|&stage| stage >= Stage::Draining).await;
        }
    }

    /// Returns how many connections have not ended yet: in the server's hands, or their
    /// ending under way.
    #[must_use]
    pub fn open(&self) -> usize {
        self.registry.open()
    }

    /// Returns the sums of all connections that have ended since the listener was made.
    #[must_use]
    pub fn sums(&self) -> Sums {
        self.registry.sums()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("draining", &self.registry.is_at(Stage::LastAccepts))
            .field("open", &self.open())
            .finish_non_exhaustive()
    }
}
