//! Time and descriptors of the runtime that a task is in, where it has them.
//!
//! tokio does not say whether a runtime was built with time or with IO; what needs it
//! panics. Such a panic is caught here, and becomes an error.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use ::tokio::runtime::Handle;
use ::tokio::sync::oneshot;
use ::tokio::time::Sleep;

use crate::contain::contain;

/// The clock of the runtime that the caller is in, which tests can pause; the system's
/// elsewhere.
pub(super) fn now() -> Instant {
    ::tokio::time::Instant::now().into_std()
}

/// Sets an alarm by the runtime's time. Returns `None` where it has no time, and outside of
/// a runtime.
pub(super) fn alarm(at: Instant) -> Option<Pin<Box<Sleep>>> {
    let at = ::tokio::time::Instant::from_std(at);
    in_runtime(|| Box::pin(::tokio::time::sleep_until(at)))
}

/// An error where the caller is in a runtime without time.
pub(super) fn needs_time() -> io::Result<()> {
    if Handle::try_current().is_ok() && alarm(Instant::now()).is_none() {
        return Err(without("time", "enable_time"));
    }
    Ok(())
}

/// Registers something with the reactor of the runtime that the caller is in.
pub(super) fn register<T>(register: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    in_runtime(register).unwrap_or_else(|| Err(without("IO", "enable_io")))
}

fn in_runtime<T>(what: impl FnOnce() -> T) -> Option<T> {
    // Outside of a runtime there is no need to try.
    Handle::try_current().ok()?;
    match catch_unwind(AssertUnwindSafe(what)) {
        Ok(made) => Some(made),
        Err(payload) => {
            contain(|| drop(payload));
            None
        }
    }
}

fn without(what: &str, call: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("no tokio runtime with {what} here; its builder needs {call}()"),
    )
}

/// Waits for `time`, by a thread of its own where the runtime has no time.
pub(super) async fn pause(time: Duration) {
    match now().checked_add(time).map(alarm) {
        Some(Some(alarm)) => alarm.await,
        Some(None) => {
            let (over, wait) = oneshot::channel();
            let sleeper = std::thread::Builder::new().name("lastbyte-timer".into());
            let slept = sleeper.spawn(move || {
                std::thread::sleep(time);
                let _ = over.send(());
            });
            // Without a thread there is no way to wait, and the sender is gone.
            drop(slept);
            let _ = wait.await;
        }
        // Further away than the clock holds is never.
        None => std::future::pending().await,
    }
}

/// Waits up to `time` for `what`. Returns `false` on timeout.
pub(super) async fn within(time: Duration, what: impl Future<Output = ()>) -> bool {
    let mut what = std::pin::pin!(what);
    let mut over = std::pin::pin!(pause(time));
    std::future::poll_fn(|cx| {
        if what.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        over.as_mut().poll(cx).map(|()| false)
    })
    .await
}
