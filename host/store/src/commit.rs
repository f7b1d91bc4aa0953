//! Commit and Read: what a store's calls return, futures that are ready when the disk is.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::StoreError;

/// A write on its way to the disk. Awaiting it returns after the group commit that holds it; dropping it
/// leaves the write to happen all the same.
#[must_use = "only awaiting it tells whether the write became durable"]
pub struct Commit<T>(oneshot::Receiver<Result<T, StoreError>>);

/// A read, done off the caller's thread.
pub type Read<T> = Commit<T>;

/// The other end of a [`Commit`].
pub(crate) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

impl<T> Commit<T> {
    /// A commit and the end that answers it.
    pub(crate) fn pair() -> (Answer<T>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// A commit that is answered already.
    pub(crate) fn ready(answer: Result<T, StoreError>) -> Self {
        let (sender, commit) = Self::pair();
        // The receiving end is in `commit`, so sending cannot fail.
        let _ = sender.send(answer);
        commit
    }

    /// Waits on a thread that is not part of an async runtime.
    ///
    /// # Errors
    /// As the write or read itself.
    pub fn wait(self) -> Result<T, StoreError> {
        self.0.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }
}

impl<T> Future for Commit<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.unwrap_or(Err(StoreError::Closed)))
    }
}
