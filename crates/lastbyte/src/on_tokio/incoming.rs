//! A listener's connections as a stream (feature `stream`).

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::listener::{Listener, is_want_of_descriptors};
use super::stream::Stream;
use super::timer;

/// Without descriptors, until trying again makes sense.
const NO_DESCRIPTORS: Duration = Duration::from_secs(1);

/// Yields a [`Listener`]'s connections, as `futures_core::Stream`: see
/// [`Listener::incoming`].
///
/// It ends once a [shutdown](super::Handle::shutdown) has begun and those that had
/// connected before it have been given out. An error is one of
/// [`accept`](Listener::accept)'s, and the stream goes on after it: at once where one
/// connection was gone already, after a second where there are no descriptors.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Incoming {
    listener: Listener,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl Listener {
    /// Turns into a stream of connections, for what takes one: tonic's
    /// `serve_with_incoming`, the combinators of `futures`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use lastbyte::Policy;
    /// use lastbyte::on_tokio::Listener;
    /// use smol::stream::StreamExt; // or that of `futures`
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// let listener = Listener::bind("127.0.0.1:0", Policy::off()).await?;
    /// let handle = listener.handle();
    /// # let _client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let mut incoming = listener.incoming();
    /// # let mut served = 0;
    /// # tokio::spawn(async move { let _ = handle.shutdown(Duration::from_secs(5)).await; });
    /// while let Some(stream) = incoming.next().await {
    ///     let stream = stream?;
    ///     println!("from {}", stream.peer_addr()?);
    /// #   served += 1;
    /// }
    /// # assert_eq!(served, 1);
    /// # Ok(()) }
    /// ```
    pub fn incoming(self) -> Incoming {
        Incoming {
            listener: self,
            pause: None,
        }
    }
}

impl Incoming {
    /// Returns the listener, for its address, its handle or its policy.
    #[must_use]
    pub const fn get_ref(&self) -> &Listener {
        &self.listener
    }

    /// Gives the listener back.
    #[must_use]
    pub fn into_inner(self) -> Listener {
        self.listener
    }
}

impl futures_core::Stream for Incoming {
    type Item = io::Result<Stream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let accepted = ready!(self.listener.poll_accept(cx));
        if accepted.as_ref().is_err_and(is_want_of_descriptors) {
            self.pause = Some(Box::pin(timer::pause(NO_DESCRIPTORS)));
        }
        Poll::Ready(
            accepted
                .map(|next| next.map(|(stream, _)| stream))
                .transpose(),
        )
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Incoming").field(&self.listener).finish()
    }
}
