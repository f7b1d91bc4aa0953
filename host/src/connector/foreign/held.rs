//! HeldFiles: the drop files that this host has taken back and whose recipients it has not settled yet.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::lock;

/// Names of files that were taken back. Names are unique on a host, and all its foreign connectors share this: a reload
/// exchanges connectors, and the new one must know what the old one holds.
#[derive(Clone, Debug, Default)]
pub struct HeldFiles(Arc<Mutex<HashSet<String>>>);

impl HeldFiles {
    /// We are about to take it back, or have taken it back.
    pub(super) fn hold(&self, name: &str) {
        lock(&self.0).insert(name.to_owned());
    }

    /// It could not be taken back, lies there again, or is settled.
    pub(super) fn release(&self, name: &str) {
        lock(&self.0).remove(name);
    }

    /// Whether it is held.
    pub(super) fn contains(&self, name: &str) -> bool {
        lock(&self.0).contains(name)
    }
}
