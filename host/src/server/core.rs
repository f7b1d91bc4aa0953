//! Core: the parts that all of the host shares.

use std::sync::Arc;

use postern_store::Store;
use tokio::sync::Notify;

use crate::config::Config;
use crate::connector::CurrentConnectors;
use crate::dispatch::Settler;
use crate::metrics::Metrics;
use crate::receipts::{ReceiptDoor, ReceiptQueue};
use crate::topology::{CurrentTopology, Topology};

/// Shared by doors, ways out, followers and operators.
pub struct Core {
    pub store: Arc<dyn Store>,
    pub topology: Arc<CurrentTopology>,
    pub metrics: Arc<Metrics>,
    /// Rings when DSNs are owed.
    pub outbox: Arc<Notify>,
    /// The way in for receipts, whoever hears them.
    pub receipts: ReceiptDoor,
    pub settler: Arc<Settler>,
    pub connectors: Arc<CurrentConnectors>,
}

impl Core {
    /// The core of a host with this config; and where the receipts arrive that come through its door.
    pub fn new(store: Arc<dyn Store>, config: Config) -> (Self, ReceiptQueue) {
        let (receipts, arriving) = ReceiptDoor::open();
        let topology = Arc::new(CurrentTopology::new(Topology::build(config)));
        let metrics = Arc::new(Metrics::default());
        let outbox = Arc::new(Notify::new());
        let connectors: Arc<CurrentConnectors> = Arc::default();
        let settler = Arc::new(Settler::new(
            store.clone(),
            topology.clone(),
            metrics.clone(),
            outbox.clone(),
            receipts.clone(),
            connectors.clone(),
        ));
        (Self { store, topology, metrics, outbox, receipts, settler, connectors }, arriving)
    }
}
