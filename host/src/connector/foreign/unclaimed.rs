//! Unclaimed: what is done about files that lie in the drop directory for too long.

use std::sync::Arc;

use jiff::Timestamp;
use postern_drop::{FileName, Withdrawn};

use super::lock;
use super::shared::Shared;

/// How many files one look deals with: each costs two directory syncs.
const MOST: usize = 500;

impl Shared {
    /// Removes files that a gateway has read by now and leaves: they count as taken.
    pub(super) fn remove_what_is_left(self: &Arc<Self>) {
        let Some(after) = self.remove_after else { return };
        let now = Timestamp::now();
        let old = lock(&self.files).older_than(now, after, MOST);
        for name in old.iter().filter_map(|name| FileName::new(name.clone()).ok()) {
            self.remove_left(&name);
        }
    }

    /// Out of the gateway's reach, on record as taken, deleted, in this order: after a crash it lies there again, or is
    /// gone and was taken.
    fn remove_left(self: &Arc<Self>, name: &FileName) {
        let mut open = lock(&self.open);
        let Ok(directory) = self.to_withdraw_from(&mut open) else { return };
        self.held.hold(name.as_str());
        let withdrawn = directory.withdraw(name);
        if let Ok(Withdrawn::Yes) = withdrawn {
            let at = Timestamp::now();
            let receipt = self.tell_taken(name.as_str(), at, "removal");
            // Durable first: a file that is deleted must not be waited for after a crash.
            if (self.settle)(&self.name, vec![receipt]) {
                directory.discard(name);
            } else {
                lock(&self.files).recorded(name.as_str(), at);
                if let Err(error) = directory.put_back(name) {
                    tracing::warn!(connector = %self.name, file = %name, %error, "a drop file is not put back yet");
                    open.take();
                }
            }
        }
        // Otherwise the gateway was faster, which its watcher tells; or the directory is away.
        self.held.release(name.as_str());
    }
}
