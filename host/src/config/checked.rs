//! Config: the file as meant, with everything resolved: paths, sizes, durations, networks, address spaces, secrets.

use std::path::PathBuf;

use postern_model::TypedAddress;

use super::authenticity::AgentsConfig;
use super::callback::CallbackConfig;
use super::delivery_agent::DeliveryAgentConfig;
use super::file_door::FileDoorConfig;
use super::foreign::ForeignConfig;
use super::host::{AdminConfig, HostConfig, TrackingConfig};
use super::outgoing::Outgoing;
use super::raw::Document;
use super::receive::ReceiveConfig;
use super::rewrite::{Rewrite, Rewritten};
use super::secrets::{Environment, Secrets};
use super::send::SendConfig;

/// Everything the host needs to know. Connectors stand in the order of their names, those that are off included.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// `[host]`.
    pub host: HostConfig,
    /// `[admin]`.
    pub admin: AdminConfig,
    /// `[callback]`.
    pub callback: CallbackConfig,
    /// `[tracking]`.
    pub tracking: TrackingConfig,
    /// `[secrets]`, with their values.
    pub secrets: Secrets,
    /// `[receive_connectors.NAME]`.
    pub receive_connectors: Vec<ReceiveConfig>,
    /// `[pickup_directories.NAME]`, then `[replay_directories.NAME]`.
    pub file_doors: Vec<FileDoorConfig>,
    /// `[delivery_agent_connectors.NAME]`.
    pub delivery_agent_connectors: Vec<DeliveryAgentConfig>,
    /// `[foreign_connectors.NAME]`.
    pub foreign_connectors: Vec<ForeignConfig>,
    /// `[send_connectors.NAME]`.
    pub send_connectors: Vec<SendConfig>,
    /// `[[rewrites]]`, in the order of the file: the first that fits is the one.
    pub rewrites: Vec<Rewrite>,
}

impl Config {
    /// What all outgoing connectors share, enabled or not: delivery agents, then foreign, then send.
    pub fn outgoing(&self) -> impl Iterator<Item = &Outgoing> {
        let agents = self.delivery_agent_connectors.iter().map(|connector| &connector.common);
        let foreign = self.foreign_connectors.iter().map(|connector| &connector.common);
        let send = self.send_connectors.iter().map(|connector| &connector.common);
        agents.chain(foreign).chain(send)
    }

    /// The address after the first rewrite that fits; `None` when none does.
    #[must_use]
    pub fn rewrite(&self, address: &TypedAddress) -> Option<Rewritten> {
        self.rewrites.iter().find_map(|rewrite| rewrite.apply(address))
    }

    /// Reads every table, noting what is wrong; `None` when something that has no default is missing.
    pub(super) fn read(
        document: &Document<'_>,
        path: PathBuf,
        environment: Option<Environment<'_>>,
    ) -> Option<Self> {
        let root = document.root();
        let secrets = Secrets::read(&root, environment);
        let host = HostConfig::read(&root);
        let name = host.as_ref().map(|host| host.name.as_str());
        let all_agents = AgentsConfig::read(&root);
        let receive = root.named("receive_connectors");
        let pickup = root.named("pickup_directories");
        let replay = root.named("replay_directories");
        let agents = root.named("delivery_agent_connectors");
        let foreign = root.named("foreign_connectors");
        let send = root.named("send_connectors");
        let config = (
            AdminConfig::read(&root, &secrets),
            CallbackConfig::read(&root),
            TrackingConfig::read(&root),
            receive.iter().map(|(name, section)| ReceiveConfig::read(name, section)).collect(),
            pickup
                .iter()
                .filter_map(|(name, section)| FileDoorConfig::read_pickup(name, section))
                .chain(replay.iter().filter_map(|(name, section)| FileDoorConfig::read_replay(name, section)))
                .collect(),
            agents
                .iter()
                .filter_map(|(name, section)| DeliveryAgentConfig::read(name, section, &secrets, &all_agents))
                .collect(),
            foreign.iter().filter_map(|(name, section)| ForeignConfig::read(name, section)).collect(),
            send.iter().map(|(connector, section)| SendConfig::read(connector, section, name)).collect(),
            root.tables("rewrites").iter().filter_map(Rewrite::read).collect(),
        );
        root.finish();
        let (
            admin,
            callback,
            tracking,
            receive_connectors,
            file_doors,
            delivery_agent_connectors,
            foreign_connectors,
            send_connectors,
            rewrites,
        ) = config;
        Some(Self {
            path,
            host: host?,
            admin,
            callback,
            tracking,
            secrets,
            receive_connectors,
            file_doors,
            delivery_agent_connectors,
            foreign_connectors,
            send_connectors,
            rewrites,
        })
    }
}
