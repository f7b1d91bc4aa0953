//! Route: where each recipient goes next. Pure: a table and an address in, a decision and its reasons out.
//!
//! [`RouteTable::resolve`] decides for one address and keeps everything that it looked at, so that the answer of
//! `postern explain` comes from the code that routes. [`RouteTable::plan`] groups the recipients of a message.

mod explain;
mod no_route;
mod rewriting;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use postern_model::{NextHop, Recipient, TypedAddress};

pub use crate::config::ConnectorKind;
use crate::config::{AddressSpace, Rewrite, Specificity};

pub use explain::{CandidateExplanation, Explanation};
pub use no_route::NoRoute;
pub use rewriting::{MAX_ROUNDS, Step};

/// What the destination of a next hop is: which recipients of a connector share a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DestinationRule {
    /// The domain of a mail address, for other types the address space that matched. For delivery agents.
    DomainOrSpace,
    /// The address space that matched, without its cost. For foreign connectors.
    Space,
    /// The address itself: one queue for each number.
    Address,
    /// Always this one. For send connectors: the first smart host.
    Fixed(Arc<str>),
}

/// What routing knows of an outgoing connector.
#[derive(Clone, Debug)]
pub struct RouteConnector {
    /// Its name in the config.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: ConnectorKind,
    /// The address spaces that it serves.
    pub spaces: Vec<AddressSpace>,
    /// The largest message that it takes, in bytes; `None`: any (Exchange: `MaxMessageSize`).
    pub max_message_size: Option<u64>,
    /// Whether it may be chosen (Exchange: `Enabled`).
    pub enabled: bool,
    /// What the destinations of its next hops are.
    pub destination: DestinationRule,
    /// Whether each recipient is an item of its own, since the far end takes one at a time.
    pub one_recipient: bool,
}

/// Everything that routing knows.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// All outgoing connectors, those that are off included, for they are named in explanations.
    pub connectors: Vec<RouteConnector>,
    /// The rewrites, in order: the first that matches wins.
    pub rewrites: Vec<Rewrite>,
    /// The domains, in lower case, whose mail addresses may carry addresses of other types
    /// (see [`crate::address_forms`]).
    pub encapsulation_domains: Vec<String>,
}

/// How one address was routed.
#[derive(Debug)]
pub struct Resolution<'t> {
    /// The address that was asked for.
    pub given: TypedAddress,
    /// The address after rewriting.
    pub address: TypedAddress,
    /// What rewriting captured, each name once.
    pub properties: Vec<(String, String)>,
    /// What rewriting did, in order.
    pub steps: Vec<Step>,
    /// Every address space that matches, the best first.
    pub candidates: Vec<Candidate<'t>>,
    /// The next hop, or why there is none.
    pub choice: Result<NextHop, NoRoute>,
}

/// An address space that matches.
#[derive(Clone, Debug)]
pub struct Candidate<'t> {
    /// The connector that it belongs to.
    pub connector: &'t RouteConnector,
    /// The address space.
    pub space: &'t AddressSpace,
    /// How closely it matches; more is better.
    pub specificity: Specificity,
    /// Its cost; less is better.
    pub cost: u8,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the one.
    Chosen,
    /// Another is better.
    Lost(Loss),
    /// It must not be used.
    Excluded(Exclusion),
}

/// Why another candidate is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Another address space of the same connector was chosen.
    SameConnector,
    /// The chosen address space is more specific.
    LessSpecific,
    /// The chosen one is as specific and costs less.
    Costlier {
        /// The cost of the chosen one.
        chosen: u8,
    },
    /// All else is equal, and the name of the chosen connector comes first.
    LaterName,
}

/// Why a candidate must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// The message is too large for the connector.
    TooLarge {
        /// The most that it takes, in bytes.
        limit: u64,
    },
    /// The connector is off (`enabled = false`).
    Off,
}

/// Where the recipients of a message go.
#[derive(Debug, Default)]
pub struct Plan {
    /// The recipients of each next hop in the order of the envelope; next hops in the order of their first recipients.
    /// Where a connector takes one recipient at a time, its next hop stands once for each.
    pub groups: Vec<(NextHop, Vec<Recipient>)>,
    /// The recipients that go nowhere, in the order of the envelope.
    pub unroutable: Vec<(Recipient, NoRoute)>,
}

impl RouteTable {
    /// Decides where `address` goes for a message of `size` bytes; `None` when the size is not known yet.
    ///
    /// The address is rewritten first. Of the address spaces that match it, those of connectors that are
    /// off or take less than `size` are out; among the rest the most specific one wins, then the lowest
    /// cost, then the first name (Exchange: connector selection).
    #[must_use]
    pub fn resolve(&self, address: &TypedAddress, size: Option<u64>) -> Resolution<'_> {
        let given = address.clone();
        let rewriting = rewriting::rewrite(address, &self.rewrites, &self.encapsulation_domains);
        let (mut candidates, mut choice) = (Vec::new(), Err(NoRoute::NoMatch(rewriting.address.clone())));
        if let Some(fault) = rewriting.fault {
            choice = Err(fault);
        } else {
            candidates = self.ranked(&rewriting.address, size);
            if let Some(best) = candidates.iter().find(|c| c.verdict == Verdict::Chosen) {
                choice = Ok(best.next_hop(&rewriting.address));
            } else if let Some(reason) = NoRoute::of_excluded(&rewriting.address, &candidates, size) {
                choice = Err(reason);
            }
        }
        let (address, properties, steps) = (rewriting.address, rewriting.properties, rewriting.steps);
        Resolution { given, address, properties, steps, candidates, choice }
    }

    /// Routes the recipients of a message of `size` bytes.
    ///
    /// Each recipient comes out with its rewritten address and the captured properties; its address in the
    /// envelope is kept beside when that changed it. No recipient is lost or merged with another.
    #[must_use]
    pub fn plan(&self, recipients: Vec<Recipient>, size: Option<u64>) -> Plan {
        let mut plan = Plan::default();
        let mut places: HashMap<NextHop, usize> = HashMap::new();
        for mut recipient in recipients {
            match self.resolve(&recipient.address, size).applied_to(&mut recipient) {
                Err(reason) => plan.unroutable.push((recipient, reason)),
                Ok(next_hop) if self.takes_one(&next_hop) => plan.groups.push((next_hop, vec![recipient])),
                Ok(next_hop) => {
                    let place = *places.entry(next_hop.clone()).or_insert_with(|| {
                        plan.groups.push((next_hop, Vec::new()));
                        plan.groups.len() - 1
                    });
                    plan.groups[place].1.push(recipient);
                }
            }
        }
        plan
    }

    fn takes_one(&self, hop: &NextHop) -> bool {
        self.connectors.iter().any(|connector| connector.one_recipient && connector.name == hop.connector)
    }

    /// The next hop that a rewritten address gets where it must go over this connector; `None` when that does not serve
    /// it. Whether it is off, or the message too large for it, is not looked at.
    #[must_use]
    pub fn hop_over(&self, connector: &str, address: &TypedAddress) -> Option<NextHop> {
        let ranked = self.ranked(address, None);
        ranked.iter().find(|c| *c.connector.name == *connector).map(|c| c.next_hop(address))
    }

    /// Every address space that matches, best first, each with its verdict.
    fn ranked(&self, address: &TypedAddress, size: Option<u64>) -> Vec<Candidate<'_>> {
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        for connector in &self.connectors {
            for space in &connector.spaces {
                if let Some(specificity) = space.matches(address) {
                    // Chosen until something speaks against it.
                    let verdict = connector.exclusion(size).map_or(Verdict::Chosen, Verdict::Excluded);
                    let cost = space.cost;
                    candidates.push(Candidate { connector, space, specificity, cost, verdict });
                }
            }
        }
        candidates.sort_by(|a, b| {
            let by_match = b.specificity.cmp(&a.specificity).then(a.cost.cmp(&b.cost));
            by_match.then_with(|| a.connector.name.cmp(&b.connector.name))
        });
        let mut usable = candidates.iter_mut().filter(|c| c.verdict == Verdict::Chosen);
        if let Some(chosen) = usable.next() {
            for candidate in usable {
                candidate.verdict = Verdict::Lost(candidate.loss_to(chosen));
            }
        }
        candidates
    }
}

impl RouteConnector {
    fn exclusion(&self, size: Option<u64>) -> Option<Exclusion> {
        if let (Some(limit), Some(size)) = (self.max_message_size, size)
            && size > limit
        {
            return Some(Exclusion::TooLarge { limit });
        }
        (!self.enabled).then_some(Exclusion::Off)
    }
}

impl Candidate<'_> {
    /// Whether messages may go this way, be it the first choice or not.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !matches!(self.verdict, Verdict::Excluded(_))
    }

    /// The next hop that `address` gets when it goes this way.
    #[must_use]
    pub fn next_hop(&self, address: &TypedAddress) -> NextHop {
        let space = || format!("{}:{}", self.space.kind, self.space.pattern).into();
        let destination = match (&self.connector.destination, address.smtp_parts()) {
            (DestinationRule::Fixed(destination), _) => destination.clone(),
            (DestinationRule::DomainOrSpace, Some((_, domain))) => domain.into(),
            (DestinationRule::DomainOrSpace, None) | (DestinationRule::Space, _) => space(),
            (DestinationRule::Address, _) => address.display().into(),
        };
        NextHop { connector: self.connector.name.clone(), destination }
    }

    fn loss_to(&self, chosen: &Self) -> Loss {
        if self.connector.name == chosen.connector.name {
            Loss::SameConnector
        } else if self.specificity < chosen.specificity {
            Loss::LessSpecific
        } else if self.cost > chosen.cost {
            Loss::Costlier { chosen: chosen.cost }
        } else {
            Loss::LaterName
        }
    }
}

impl Resolution<'_> {
    /// All next hops that could take it, the best first, one of each connector: the order of failover.
    #[must_use]
    pub fn alternatives(&self) -> Vec<NextHop> {
        let mut all: Vec<NextHop> = Vec::new();
        for candidate in self.candidates.iter().filter(|c| c.is_usable()) {
            if all.iter().all(|known| known.connector != candidate.connector.name) {
                all.push(candidate.next_hop(&self.address));
            }
        }
        all
    }

    /// Puts what rewriting found into the recipient and gives the choice. A recipient that had been rewritten
    /// before keeps the address of the envelope that it had.
    fn applied_to(self, recipient: &mut Recipient) -> Result<NextHop, NoRoute> {
        for (name, value) in self.properties {
            rewriting::set(&mut recipient.properties, name, value);
        }
        if self.address != self.given {
            recipient.envelope_address.get_or_insert(self.given);
            recipient.address = self.address;
        }
        self.choice
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen => f.write_str("chosen"),
            Self::Lost(Loss::SameConnector) => {
                f.write_str("a better address space of this connector is chosen")
            }
            Self::Lost(Loss::LessSpecific) => f.write_str("less specific than the chosen address space"),
            Self::Lost(Loss::Costlier { chosen }) => {
                write!(f, "as specific, but the chosen one costs only {chosen}")
            }
            Self::Lost(Loss::LaterName) => {
                f.write_str("as specific and as cheap, but its name comes after the chosen one")
            }
            Self::Excluded(Exclusion::TooLarge { limit }) => {
                write!(f, "the connector takes at most {limit} bytes")
            }
            Self::Excluded(Exclusion::Off) => f.write_str("the connector is off"),
        }
    }
}
