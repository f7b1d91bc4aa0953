//! `[receive_connectors.NAME]`: where messages come in by SMTP, and from whom.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::SignedDuration;

use super::outgoing::{LEAST_MESSAGE_SIZE, MOST_MESSAGE_SIZE, check_name, label};
use super::raw::{Section, Wrong};
use super::values::{boolean, count, network, number, parse_network, size, socket, timer};

/// `remote_networks`: this machine only.
pub const REMOTE_NETWORKS: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// `max_message_size` (Exchange: `MaxMessageSize` 35 to 36 MB).
pub const MAX_MESSAGE_SIZE: u64 = 35 << 20;
/// `max_header_size` (Exchange: `MaxHeaderSize` 256 KB).
pub const MAX_HEADER_SIZE: u64 = 256 << 10;
/// `max_recipients` (Exchange: `MaxRecipientsPerMessage` 200).
pub const MAX_RECIPIENTS: usize = 200;
/// `max_hops` (Exchange: `MaxHopCount` 30).
pub const MAX_HOPS: usize = 30;
/// `max_connections` (Exchange: `MaxInboundConnection` 5000).
pub const MAX_CONNECTIONS: usize = 5000;
/// `max_connections_per_source` (Exchange: `MaxInboundConnectionPerSource` 20).
pub const MAX_CONNECTIONS_PER_SOURCE: usize = 20;
/// `max_high_priority_size` in bytes (Exchange: `MaxHighPriorityMessageSize` 250 KB).
pub const MAX_HIGH_PRIORITY_SIZE: u64 = 250 << 10;
/// `inactivity_timeout` (Exchange: `ConnectionInactivityTimeout` 5 minutes; RFC 5321 4.5.3.2.7).
pub const INACTIVITY_TIMEOUT: Duration = Duration::from_secs(300);
/// `connection_timeout` (Exchange: `ConnectionTimeout` 10 minutes).
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);
/// `max_protocol_errors` (Exchange: `MaxProtocolErrors` 5).
pub const MAX_PROTOCOL_ERRORS: u32 = 5;
/// `max_command_length` in bytes: 512 for the command (RFC 5321 4.5.3.1.4) and room for the parameters of extensions.
pub const MAX_COMMAND_LENGTH: usize = 2048;

/// Which SMTP extensions are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030); needs chunking.
    pub binary_mime: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
}

impl Extensions {
    fn read(section: &Section<'_>) -> Self {
        let chunking = section.or("chunking", boolean, true);
        let binary_mime = section.optional("binary_mime", boolean);
        if binary_mime == Some(true) && !chunking {
            section.fault(Wrong::hinted(
                "binary_mime needs chunking (RFC 3030 3)",
                "switch both on or both off",
            ));
        }
        Self {
            pipelining: section.or("pipelining", boolean, true),
            chunking,
            binary_mime: binary_mime.unwrap_or(chunking),
            eight_bit_mime: section.or("eight_bit_mime", boolean, true),
            dsn: section.or("dsn", boolean, true),
        }
    }
}

/// One receive connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveConfig {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it listens.
    pub enabled: bool,
    /// A remark for people.
    pub comment: Option<String>,
    /// Where it listens; port 0 lets the system choose. Never empty.
    pub listen: Vec<SocketAddr>,
    /// Whose connections it takes.
    pub remote_networks: Vec<IpNet>,
    /// The largest message, in bytes.
    pub max_message_size: u64,
    /// The largest header block, in bytes.
    pub max_header_size: u64,
    /// How many recipients a message may have; the surplus is deferred.
    pub max_recipients: usize,
    /// How many `Received` fields a message may have.
    pub max_hops: usize,
    /// How many connections it serves at once.
    pub max_connections: usize,
    /// How many of them from one address.
    pub max_connections_per_source: usize,
    /// How long a client may say nothing.
    pub inactivity_timeout: Duration,
    /// How long a connection may last altogether.
    pub connection_timeout: Duration,
    /// After how many protocol errors a connection is closed.
    pub max_protocol_errors: u32,
    /// The longest command line, in bytes with its line end.
    pub max_command_length: usize,
    /// The text of the greeting after the host's name; `None`: the usual one.
    pub banner: Option<String>,
    /// Whether the sender says how urgent a message is.
    pub sender_priority: bool,
    /// The largest message that may be urgent, in bytes; a larger one is a normal one.
    pub max_high_priority_size: u64,
    /// Whether its messages never expire.
    pub must_deliver: bool,
    /// Which extensions are offered.
    pub extensions: Extensions,
}

impl ReceiveConfig {
    /// Whether a client at this address is served.
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.remote_networks.iter().any(|network| network.contains(&client))
    }

    pub(super) fn read(name: &str, section: &Section<'_>) -> Self {
        check_name(section, name);
        let timeout = || timer(SignedDuration::from_secs(1), SignedDuration::from_hours(24));
        let everyone = || REMOTE_NETWORKS.iter().filter_map(|network| parse_network(network)).collect();
        let config = Self {
            name: name.into(),
            enabled: section.or("enabled", boolean, true),
            comment: section.optional("comment", label),
            listen: section.required_list("listen", socket, "write listen = [\"127.0.0.1:2525\"]"),
            remote_networks: section.list("remote_networks", network).unwrap_or_else(everyone),
            max_message_size: section.or(
                "max_message_size",
                size(LEAST_MESSAGE_SIZE, MOST_MESSAGE_SIZE),
                MAX_MESSAGE_SIZE,
            ),
            max_header_size: section.or("max_header_size", size(1 << 10, 64 << 20), MAX_HEADER_SIZE),
            max_recipients: section.or("max_recipients", count(1, 512_000), MAX_RECIPIENTS),
            max_hops: section.or("max_hops", count(1, 500), MAX_HOPS),
            max_connections: section.or("max_connections", count(1, 100_000), MAX_CONNECTIONS),
            max_connections_per_source: section.or(
                "max_connections_per_source",
                count(1, 100_000),
                MAX_CONNECTIONS_PER_SOURCE,
            ),
            inactivity_timeout: section.or("inactivity_timeout", timeout(), INACTIVITY_TIMEOUT),
            connection_timeout: section.or("connection_timeout", timeout(), CONNECTION_TIMEOUT),
            max_protocol_errors: section.or("max_protocol_errors", number(1, 1000), MAX_PROTOCOL_ERRORS),
            max_command_length: section.or("max_command_length", count(512, 65_536), MAX_COMMAND_LENGTH),
            banner: section.optional("banner", label),
            sender_priority: section.or("sender_priority", boolean, false),
            max_high_priority_size: section.or(
                "max_high_priority_size",
                size(0, MOST_MESSAGE_SIZE),
                MAX_HIGH_PRIORITY_SIZE,
            ),
            must_deliver: section.or("must_deliver", boolean, false),
            extensions: Extensions::read(section),
        };
        section.finish();
        if config.connection_timeout <= config.inactivity_timeout {
            section.fault(Wrong::hinted(
                "connection_timeout must be longer than inactivity_timeout",
                "the defaults are \"10m\" and \"5m\"",
            ));
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_networks_are_well_formed() {
        for network in REMOTE_NETWORKS {
            assert_eq!(parse_network(network).unwrap().to_string(), network);
        }
    }
}
