//! Doors: the ways in that are open: receive connectors with the sockets that they listen on, and directories whose files
//! come in.
//!
//! The sockets belong to the house, not to a door: a receive connector that changes, or gives its address to another,
//! does not stop listening for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::stage::Stage;
use super::{StartError, io_error};
use crate::config::{Config, ReceiveConfig};
use crate::receive::file::door::{FileDoor, Surroundings};
use crate::receive::smtp::SmtpListener;
use crate::submit::Submitter;

/// What tells a socket from the others: its address and, where the system chooses the port, whose it is.
type SocketKey = (SocketAddr, Option<Arc<str>>);

/// The open doors.
pub struct Doors {
    core: Arc<Core>,
    submitter: Arc<Submitter>,
    /// Where large contents are written while they come in.
    incoming: PathBuf,
    sockets: BTreeMap<SocketKey, Arc<TcpListener>>,
    /// Who accepts clients; cancelled, a door takes no new ones.
    accepting: BTreeMap<Arc<str>, CancellationToken>,
    stage: Stage,
}

/// Sockets that were bound for doors to come.
#[derive(Default)]
pub struct Bound(BTreeMap<SocketKey, Arc<TcpListener>>);

fn keys(receive: &ReceiveConfig) -> impl Iterator<Item = SocketKey> {
    receive.listen.iter().map(|address| (*address, (address.port() == 0).then(|| receive.name.clone())))
}

impl Doors {
    /// No doors yet.
    pub fn new(core: Arc<Core>, submitter: Arc<Submitter>, incoming: PathBuf) -> Self {
        Self {
            core,
            submitter,
            incoming,
            sockets: BTreeMap::new(),
            accepting: BTreeMap::new(),
            stage: Stage::new("doors"),
        }
    }

    /// Binds what a config needs beside the sockets that are there. Nothing is accepted on them yet.
    ///
    /// # Errors
    /// The first address that cannot be had; what was bound before it is closed again.
    pub async fn bind(&self, config: &Config) -> Result<Bound, StartError> {
        let mut bound = Bound::default();
        for receive in config.receive_connectors.iter().filter(|r| r.enabled) {
            for key in keys(receive).filter(|key| !self.sockets.contains_key(key)) {
                let listener = TcpListener::bind(key.0).await;
                let what = format!("{} on {}", receive.name, key.0);
                let listener = listener.map_err(io_error("listening for receive connector", &what))?;
                bound.0.insert(key, Arc::new(listener));
            }
        }
        Ok(bound)
    }

    /// Ends the doors of these names: they take no new clients; who is inside may finish.
    pub fn close(&mut self, names: &[Arc<str>]) {
        names.iter().filter_map(|name| self.accepting.remove(name)).for_each(|door| door.cancel());
    }

    /// Opens the doors of these names, and closes the sockets that no door of the config has.
    pub fn open(&mut self, config: &Config, names: &[Arc<str>], bound: Bound) {
        self.sockets.extend(bound.0);
        let doors = config.receive_connectors.iter().filter(|r| r.enabled);
        let needed: BTreeSet<SocketKey> = doors.clone().flat_map(keys).collect();
        self.sockets.retain(|key, _| needed.contains(key));
        for receive in doors.filter(|r| names.contains(&r.name)) {
            let sockets = keys(receive).filter_map(|key| self.sockets.get(&key).cloned()).collect();
            let listener = SmtpListener::new(
                receive,
                &config.host.name,
                self.submitter.clone(),
                self.core.metrics.clone(),
                self.incoming.clone(),
                sockets,
            );
            let accepting = self.stage.stop.child_token();
            self.accepting.insert(receive.name.clone(), accepting.clone());
            self.stage.spawn(listener.run(accepting, self.stage.stop.clone()));
        }
        for door in config.file_doors.iter().filter(|door| door.enabled && names.contains(&door.name)) {
            let surroundings = Surroundings {
                submitter: self.submitter.clone(),
                topology: self.core.topology.clone(),
                metrics: self.core.metrics.clone(),
                incoming: self.incoming.clone(),
                host_name: config.host.name.clone(),
                data_directory: config.host.data_directory.clone(),
            };
            let accepting = self.stage.stop.child_token();
            self.accepting.insert(door.name.clone(), accepting.clone());
            self.stage.spawn(FileDoor::new(door, surroundings).run(accepting));
        }
    }

    /// Where each door listens.
    pub fn addresses(&self, config: &Config) -> BTreeMap<String, Vec<SocketAddr>> {
        let doors = config.receive_connectors.iter().filter(|r| self.accepting.contains_key(&r.name));
        let address = |key| self.sockets.get(&key).and_then(|socket| socket.local_addr().ok());
        doors.map(|door| (door.name.to_string(), keys(door).filter_map(address).collect())).collect()
    }

    /// Ends all doors; clients inside a transaction are told to come again.
    pub async fn end(&mut self, deadline: Instant) {
        self.accepting.clear();
        self.sockets.clear();
        std::mem::replace(&mut self.stage, Stage::new("doors")).end(deadline).await;
    }
}
