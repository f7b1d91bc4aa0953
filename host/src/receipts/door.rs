//! ReceiptDoor: the one way in for receipts, whoever heard them.

use postern_model::Receipt;
use tokio::sync::{mpsc, oneshot};

use crate::dispatch::ReceiptSender;

/// How many callers of [`ReceiptDoor::settle`] may wait in line; more of them wait for a place.
const PLACES: usize = 256;

/// Takes in receipts from polls, reports, ticks, call-backs and drop directories, each with the connector that it came
/// from: a receipt completes what this connector was given, and nothing else.
#[derive(Clone)]
pub struct ReceiptDoor {
    sender: ReceiptSender,
    asked: mpsc::Sender<Asked>,
}

/// The other end of a [`ReceiptDoor`].
pub struct ReceiptQueue {
    pub(super) heard: mpsc::UnboundedReceiver<(String, Vec<Receipt>)>,
    pub(super) asked: mpsc::Receiver<Asked>,
}

/// Receipts whose caller wants to know when they are on the disk.
pub(super) struct Asked {
    pub(super) connector: String,
    pub(super) receipts: Vec<Receipt>,
    pub(super) kept: oneshot::Sender<bool>,
}

/// Some receipt is neither settled nor kept: whoever told it should tell it again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not every receipt could be kept; the far end must tell them again")]
pub struct NotKept;

impl ReceiptDoor {
    /// A door, and what it leads to.
    #[must_use]
    pub fn open() -> (Self, ReceiptQueue) {
        let (sender, heard) = mpsc::unbounded_channel();
        let (asker, asked) = mpsc::channel(PLACES);
        (Self { sender, asked: asker }, ReceiptQueue { heard, asked })
    }

    /// For those who need no answer, because the far end can be asked again.
    #[must_use]
    pub fn sender(&self) -> &ReceiptSender {
        &self.sender
    }

    /// Hands receipts in and waits until each is on the disk, settled or kept for later, or is known to change nothing.
    /// Only then may the far end be told that it need not tell them again.
    ///
    /// # Errors
    /// When that cannot be said of all of them, or the host stops.
    pub async fn settle(&self, connector: &str, receipts: Vec<Receipt>) -> Result<(), NotKept> {
        let (kept, answer) = oneshot::channel();
        let asked = Asked { connector: connector.to_owned(), receipts, kept };
        self.asked.send(asked).await.map_err(|_| NotKept)?;
        if answer.await.unwrap_or(false) { Ok(()) } else { Err(NotKept) }
    }
}
