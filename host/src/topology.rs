//! Topology: connectors, routes and rules as one immutable snapshot, built from the config and swapped whole.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::SignedDuration;
use postern_model::NextHop;

use crate::config::{Config, OnReceiptExpiry, Outgoing, SuccessOn};
use crate::dsn::DsnSettings;
use crate::retry::DelayPolicy;
use crate::route::{DestinationRule, RouteConnector, RouteTable};
use crate::settle::Policy;

/// How long an accepted recipient waits for its receipts when neither the far end nor the config says.
const RECEIPT_WAIT: SignedDuration = SignedDuration::from_hours(24);

/// A snapshot of everything that the config lays down.
#[derive(Debug)]
pub struct Topology {
    /// The config that it was built from.
    pub config: Config,
    /// Where mail goes.
    pub routes: RouteTable,
    /// How DSNs are made.
    pub dsn: DsnSettings,
    rules: HashMap<Arc<str>, Rules>,
}

/// What holds for one outgoing connector.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What every outgoing connector has.
    pub outgoing: Outgoing,
    /// How its items are settled.
    pub policy: Arc<Policy>,
}

impl Topology {
    /// Builds the snapshot. Pure.
    #[must_use]
    pub fn build(config: Config) -> Self {
        let mut rules = HashMap::new();
        let mut connectors = Vec::new();
        for agent in &config.delivery_agent_connectors {
            let mut policy = policy_of(&agent.common);
            policy.receipt_expires_after = agent.receipt_expires_after;
            policy.receipt_expires_after_max = agent.receipt_expires_after_max;
            policy.on_receipt_expiry = agent.on_receipt_expiry;
            policy.on_unknown = agent.on_unknown;
            policy.state_quota = agent.grants.state;
            policy.allow_fail_queue = agent.allow_fail_queue;
            connectors.push(route_of(&agent.common, DestinationRule::DomainOrSpace));
            rules.insert(
                agent.common.name.clone(),
                Rules { outgoing: agent.common.clone(), policy: Arc::new(policy) },
            );
        }
        for foreign in &config.foreign_connectors {
            let mut policy = policy_of(&foreign.common);
            policy.relay_dsn = foreign.relay_dsn;
            // A file that must be taken is waited for as long as the message would be tried.
            if foreign.success_on != SuccessOn::Published {
                policy.receipt_expires_after = foreign.common.expire_after.unwrap_or(SignedDuration::MAX);
            }
            let one_recipient = foreign.profile.is_per_recipient();
            let route = route_of(&foreign.common, DestinationRule::Space);
            connectors.push(RouteConnector { one_recipient, ..route });
            rules.insert(
                foreign.common.name.clone(),
                Rules { outgoing: foreign.common.clone(), policy: Arc::new(policy) },
            );
        }
        for send in &config.send_connectors {
            let first = send.smart_hosts.first().map(ToString::to_string).unwrap_or_default();
            connectors.push(route_of(&send.common, DestinationRule::Fixed(first.into())));
            let policy = Arc::new(policy_of(&send.common));
            rules.insert(send.common.name.clone(), Rules { outgoing: send.common.clone(), policy });
        }
        let routes = RouteTable {
            connectors,
            rewrites: config.rewrites.clone(),
            encapsulation_domains: config.host.encapsulation_domains.clone(),
        };
        let dsn = DsnSettings {
            host_name: config.host.name.clone(),
            postmaster: config.host.postmaster.address().to_owned(),
            max_returned: crate::dsn::DEFAULT_MAX_RETURNED,
        };
        Self { config, routes, dsn, rules }
    }

    /// The rules of a connector; `None` when the config has no such connector (any more).
    #[must_use]
    pub fn rules(&self, connector: &str) -> Option<&Rules> {
        self.rules.get(connector)
    }

    /// The rules for a queue whose connector is gone: the defaults, so that its mail still expires.
    #[must_use]
    pub fn policy_for(&self, hop: &NextHop) -> Arc<Policy> {
        self.rules(&hop.connector).map_or_else(|| Arc::new(default_policy()), |r| r.policy.clone())
    }
}

fn policy_of(outgoing: &Outgoing) -> Policy {
    Policy {
        retry: outgoing.retry.clone(),
        poison_after: outgoing.poison_after,
        expire_after: outgoing.expire_after,
        ..default_policy()
    }
}

fn default_policy() -> Policy {
    Policy {
        retry: crate::config::RetryPlan::default(),
        delays: DelayPolicy::default(),
        receipt_expires_after: RECEIPT_WAIT,
        // Only agents say how long; their connectors have a limit of their own.
        receipt_expires_after_max: SignedDuration::MAX,
        on_receipt_expiry: OnReceiptExpiry::default(),
        on_unknown: None,
        state_quota: 0,
        poison_after: 5,
        expire_after: Some(crate::config::EXPIRE_AFTER),
        allow_fail_queue: false,
        relay_dsn: false,
    }
}

fn route_of(outgoing: &Outgoing, destination: DestinationRule) -> RouteConnector {
    RouteConnector {
        name: outgoing.name.clone(),
        kind: outgoing.kind,
        spaces: outgoing.address_spaces.clone(),
        max_message_size: outgoing.max_message_size,
        enabled: outgoing.enabled,
        destination,
        one_recipient: false,
    }
}

/// The topology in force; a reload swaps it, and whoever holds the old one finishes with it.
#[derive(Debug)]
pub struct CurrentTopology(RwLock<Arc<Topology>>);

impl CurrentTopology {
    /// Puts the first one in force.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        Self(RwLock::new(Arc::new(topology)))
    }

    /// The one in force.
    #[must_use]
    pub fn get(&self) -> Arc<Topology> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another one in force.
    pub fn swap(&self, topology: Topology) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(topology);
    }
}
