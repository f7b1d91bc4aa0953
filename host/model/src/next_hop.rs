//! NextHop: a connector and a destination behind it. It is the identity of a queue.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Where an item goes next. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NextHop {
    /// The connector's name in the config.
    pub connector: Arc<str>,
    /// A domain, an address space, a smart host or a single address.
    pub destination: Arc<str>,
}

impl NextHop {
    /// Joins the two.
    #[must_use]
    pub fn new(connector: &str, destination: &str) -> Self {
        Self { connector: connector.into(), destination: destination.into() }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connector, self.destination)
    }
}
