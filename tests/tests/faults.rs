//! Faults of the machine and of the far ends: a full disk, a sync that fails, kill -9 while reports and receipts are on
//! their way, dead destinations, a drop directory that goes away. Nothing that was accepted is lost by any of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/drop_directory.rs"]
mod drop_directory;
#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/many_destinations.rs"]
mod many_destinations;
#[path = "faults/reports_and_receipts.rs"]
mod reports_and_receipts;
#[path = "faults/special_host.rs"]
mod special_host;
#[path = "faults/withdrawal.rs"]
mod withdrawal;
