//! Outgoing: what every connector on the way out has, whatever its kind: address spaces, submitters, retry, connections.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use postern_model::FailureClass;
use toml::de::DeValue;

use super::address_space::AddressSpace;
use super::raw::{Section, Wrong};
use super::report::nearest;
use super::retry_plan::{RetryPlan, Schedule};
use super::submitters::{SubmitterRule, Submitters};
use super::values::{
    MAX_DURATION, boolean, count, duration, duration_or_never, limit, line, number, string, timer,
};

/// `max_concurrent_connections` (Exchange: `MaxConcurrentConnections` 5).
pub const MAX_CONCURRENT_CONNECTIONS: usize = 5;
/// `max_connections_per_destination`: so that one slow destination does not take every connection.
pub const MAX_CONNECTIONS_PER_DESTINATION: usize = 2;
/// `max_messages_per_connection` (Exchange: `MaxMessagesPerConnection` 20).
pub const MAX_MESSAGES_PER_CONNECTION: usize = 20;
/// `connection_idle`: how long an open connection waits for another message.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(5);
/// `expire_after` (Exchange: `MessageExpirationTimeout` 2 days).
pub const EXPIRE_AFTER: SignedDuration = SignedDuration::from_hours(48);
/// `delay_dsn_after` (Exchange: `DelayNotificationTimeout` 4 hours).
pub const DELAY_DSN_AFTER: SignedDuration = SignedDuration::from_hours(4);
/// `poison_after`: how many attempts of one item may end in a trap.
pub const POISON_AFTER: u32 = 5;
/// The longest name of a connector or secret (Exchange: 64).
pub const MAX_NAME: usize = 64;
/// The smallest `max_message_size`, in bytes (Exchange: 64 KB).
pub const LEAST_MESSAGE_SIZE: u64 = 64 * 1024;
/// The largest `max_message_size`, in bytes (Exchange: 2 GB).
pub const MOST_MESSAGE_SIZE: u64 = 2 << 30;

/// The kinds of connectors on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectorKind {
    /// A sandboxed plugin.
    DeliveryAgent,
    /// A drop directory.
    Foreign,
    /// SMTP to a smart host.
    Send,
}

impl ConnectorKind {
    /// The word for it in views.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::DeliveryAgent => "delivery-agent",
            Self::Foreign => "foreign",
            Self::Send => "send",
        }
    }

    /// The table that holds connectors of this kind.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::DeliveryAgent => "delivery_agent_connectors",
            Self::Foreign => "foreign_connectors",
            Self::Send => "send_connectors",
        }
    }
}

/// What every outgoing connector has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its name, unique among all outgoing connectors: letters, digits, `-` and `_`.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: ConnectorKind,
    /// Whether it takes part in routing.
    pub enabled: bool,
    /// A remark for people.
    pub comment: Option<String>,
    /// What it is responsible for. Never empty.
    pub address_spaces: Vec<AddressSpace>,
    /// Who may hand in messages for it.
    pub submitters: Submitters,
    /// Larger messages, in bytes, are not routed to it; `None`: unlimited.
    pub max_message_size: Option<u64>,
    /// How many connections it may have open at once.
    pub max_concurrent_connections: usize,
    /// How many of them to one destination.
    pub max_connections_per_destination: usize,
    /// How many messages go over one connection before it is closed.
    pub max_messages_per_connection: usize,
    /// How long an open connection waits for another message.
    pub connection_idle: Duration,
    /// How long to wait between attempts.
    pub retry: RetryPlan,
    /// How long it is tried; `None`: for ever.
    pub expire_after: Option<SignedDuration>,
    /// After what time the sender is told that it is late; `None`: never.
    pub delay_dsn_after: Option<SignedDuration>,
    /// How many attempts may end in a trap before an item goes to the poison queue.
    pub poison_after: u32,
}

impl Outgoing {
    /// Reads the keys that all kinds share.
    pub(super) fn read(kind: ConnectorKind, name: &str, section: &Section<'_>) -> Self {
        check_name(section, name);
        let outgoing = Self {
            name: name.into(),
            kind,
            enabled: section.or("enabled", boolean, true),
            comment: section.optional("comment", label),
            address_spaces: section.required_list(
                "address_spaces",
                address_space,
                "write address_spaces = [\"FAX:*\", \"SMTP:fax.example\"]",
            ),
            submitters: section.list("submitters", submitter).map_or_else(Submitters::default, Submitters),
            max_message_size: section.or(
                "max_message_size",
                limit(LEAST_MESSAGE_SIZE, MOST_MESSAGE_SIZE),
                None,
            ),
            max_concurrent_connections: section.or(
                "max_concurrent_connections",
                count(1, 10_000),
                MAX_CONCURRENT_CONNECTIONS,
            ),
            max_connections_per_destination: section.or(
                "max_connections_per_destination",
                count(1, 10_000),
                MAX_CONNECTIONS_PER_DESTINATION,
            ),
            max_messages_per_connection: section.or(
                "max_messages_per_connection",
                count(1, 1_000_000),
                MAX_MESSAGES_PER_CONNECTION,
            ),
            connection_idle: section.or(
                "connection_idle",
                timer(SignedDuration::ZERO, SignedDuration::from_hours(24)),
                CONNECTION_IDLE,
            ),
            retry: retry_plan(section),
            expire_after: section.or(
                "expire_after",
                duration_or_never(SignedDuration::from_secs(5), MAX_DURATION),
                Some(EXPIRE_AFTER),
            ),
            delay_dsn_after: section.or(
                "delay_dsn_after",
                duration_or_never(SignedDuration::from_secs(1), MAX_DURATION),
                Some(DELAY_DSN_AFTER),
            ),
            poison_after: section.or("poison_after", number(1, 1000), POISON_AFTER),
        };
        if let (Some(delay), Some(expire)) = (outgoing.delay_dsn_after, outgoing.expire_after)
            && delay >= expire
            && section.entry("delay_dsn_after").is_some()
        {
            section.warn(Wrong::hinted(
                "messages expire before the sender would be told that they are late",
                "make delay_dsn_after shorter than expire_after, or write \"never\"",
            ));
        }
        if outgoing.expire_after.is_some_and(|expire| outgoing.retry.default.delay(1) > expire) {
            section.warn(Wrong::new("messages expire before the first retry"));
        }
        outgoing
    }
}

/// Faults a name that is not of letters, digits, `-` and `_`, at most [`MAX_NAME`] of them. Names stand in queue ids,
/// file names and metrics, where anything else would need escaping.
pub(super) fn check_name(section: &Section<'_>, name: &str) {
    let fits = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !fits {
        section.fault(Wrong::hinted(
            "this name is not accepted",
            "names are 1 to 64 letters, digits, '-' and '_'",
        ));
    }
}

fn address_space(value: &DeValue<'_>) -> Result<AddressSpace, Wrong> {
    AddressSpace::parse(&string(value)?).map_err(|error| Wrong::hinted(error.to_string(), error.hint()))
}

fn submitter(value: &DeValue<'_>) -> Result<SubmitterRule, Wrong> {
    string(value)?.parse().map_err(|message: String| {
        Wrong::hinted(
            message,
            "write \"loopback\", \"authenticated\", \"anyone\", \"receive:NAME\", \"network:10.0.0.0/8\", \"sender:*@a.example\" or \"user:NAME\"",
        )
    })
}

fn schedule(value: &DeValue<'_>) -> Result<Schedule, Wrong> {
    let hint = "write waiting times with commas between, the last of which repeats: \"1m*4, 5m*6, 10m\"";
    let text = string(value).map_err(|wrong| Wrong { hint: Some(hint.to_owned()), ..wrong })?;
    Schedule::parse(&text).map_err(|message| Wrong::hinted(message, hint))
}

/// `retry = "1m*4, 10m"`, or a table with `default` and one schedule for each class of failure.
fn retry_plan(section: &Section<'_>) -> RetryPlan {
    let Some(entry) = section.entry("retry") else { return RetryPlan::default() };
    if entry.value.as_table().is_none() {
        return RetryPlan { default: entry.parse(schedule).unwrap_or_default(), ..RetryPlan::default() };
    }
    let mut plan = RetryPlan::default();
    for (key, _, entry) in section.table("retry").entries() {
        let Some(schedule) = entry.parse(schedule) else { continue };
        if key == "default" {
            plan.default = schedule;
            continue;
        }
        let class = FailureClass::new(key);
        if class.as_str().is_empty() {
            entry.fault(Wrong::hinted(
                "this is not a class of failures",
                "a class is made of lower-case letters, digits and '-'",
            ));
        } else if !FailureClass::KNOWN.contains(&key)
            && let Some(near) = nearest(key, FailureClass::KNOWN)
        {
            // Agents may use words of their own, so an unknown one is not a fault; a slip of the finger is worth a word.
            entry.warn(Wrong::hinted(
                "this class of failures is not one of the known ones",
                format!("did you mean `{near}`?"),
            ));
        }
        plan.classes.insert(class, schedule);
    }
    plan
}

/// The range of receipt intervals and similar waits: from a second to [`MAX_DURATION`].
pub(super) fn long_wait(value: &DeValue<'_>) -> Result<SignedDuration, Wrong> {
    duration(SignedDuration::from_secs(1), MAX_DURATION)(value)
}

/// A remark or label: any single line.
pub(super) fn label(value: &DeValue<'_>) -> Result<String, Wrong> {
    line(value)
}
