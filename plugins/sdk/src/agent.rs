//! Agent: what the author of a delivery agent writes.

use serde::de::DeserializeOwned;

use crate::{Item, Receipt, Refusal, Report};

/// A delivery agent: one value is one open connection to the far end.
///
/// The host calls [`describe`](Self::describe) when it loads the component, then for each connection
/// [`open`](Self::open), [`deliver`](Self::deliver) any number of times, and [`close`](Self::close). A panic ends the
/// connection only: it is logged, and what had no outcome yet is tried again.
pub trait Agent: Sized {
    /// The connector's `settings` table. Put `#[serde(deny_unknown_fields)]` on it, so that a misspelt name is told.
    type Settings: DeserializeOwned;

    /// What this agent is. Called without an open connection.
    fn describe() -> Description;

    /// Connects to the far end, or gets ready to.
    ///
    /// Settings that do not fit never come here: the SDK refuses the queue with a text that says what is wrong.
    ///
    /// # Errors
    /// With a [`Refusal`], when nothing can be delivered on this connection.
    fn open(hop: &NextHop, settings: Self::Settings) -> Result<Self, Refusal>;

    /// The name of the far end, for tracking.
    fn label(&self) -> String;

    /// Delivers one item to all its recipients. A recipient without an outcome is deferred.
    ///
    /// # Errors
    /// With a text, which defers every recipient that has no outcome yet.
    fn deliver(&mut self, item: &Item) -> Result<Report, String>;

    /// Says good-bye to the far end. By default there is nothing to say.
    ///
    /// # Errors
    /// With a text for the log; the items that were delivered stay delivered.
    fn close(self) -> Result<(), String> {
        Ok(())
    }
}

/// For agents whose far end tells later what became of a message: `export_agent!(MyAgent, receipts)`.
pub trait PollReceipts: Agent {
    /// Asks the far end about receipts that are still pending, with or without an open connection. What is not
    /// answered here stays pending and is asked for again.
    ///
    /// # Errors
    /// With a text for the log, when the far end could not be asked at all.
    fn poll(settings: Self::Settings, receipt_ids: &[String]) -> Result<Vec<Receipt>, String>;
}

/// What an agent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name: lower-case letters, digits and `-`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The protocol it speaks; matches the connector's `delivery_protocol` where that is set.
    pub protocol: String,
    /// Media types it can deliver; empty: anything.
    pub accepts: Vec<String>,
    /// The largest message it can deliver, in bytes; `None`: no limit of its own.
    pub max_size: Option<u32>,
}

impl Description {
    /// An agent that takes anything of any size.
    #[must_use]
    pub fn new(name: &str, version: &str, protocol: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            protocol: protocol.to_owned(),
            accepts: Vec::new(),
            max_size: None,
        }
    }

    /// The same with a limit on the size of a message, in bytes.
    #[must_use]
    pub fn max_size(mut self, bytes: u32) -> Self {
        self.max_size = Some(bytes);
        self
    }
}

/// Where the items of a connection go: the identity of their queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The name of the connector.
    pub connector: String,
    /// The connector's `delivery_protocol`; empty where none is set.
    pub protocol: String,
    /// Domain, address space or single address.
    pub destination: String,
}
