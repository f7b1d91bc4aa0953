//! `[send_connectors.NAME]`: SMTP to a smart host.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use toml::de::DeValue;

use super::outgoing::{ConnectorKind, Outgoing};
use super::raw::{Section, Wrong};
use super::values::{host_and_port, host_name, quoted, string, timer};

/// The port of a smart host when none is given (Exchange: `Port` 25).
pub const SMTP_PORT: u16 = 25;
/// `connect_timeout`: how long a connection may take to be made, for each address.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// `command_timeout`: how long a reply to a command may take (RFC 5321 4.5.3.2: 5 minutes).
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// `data_timeout`: how long the reply after the content may take (RFC 5321 4.5.3.2.6: 10 minutes).
pub const DATA_TIMEOUT: Duration = Duration::from_secs(600);

/// Where mail is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SmartHost {
    /// A host name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for SmartHost {
    /// `host:port`, with an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// One send connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendConfig {
    /// What every outgoing connector has.
    pub common: Outgoing,
    /// Where mail is sent; the next one is tried when one cannot be reached. Never empty.
    pub smart_hosts: Vec<SmartHost>,
    /// What the host calls itself (Exchange: `Fqdn`).
    pub helo: String,
    /// How long a connection may take to be made, for each address.
    pub connect_timeout: Duration,
    /// How long a reply to a command may take.
    pub command_timeout: Duration,
    /// How long the reply after the content may take.
    pub data_timeout: Duration,
}

impl SendConfig {
    pub(super) fn read(name: &str, section: &Section<'_>, host: Option<&str>) -> Self {
        let timeout = || timer(SignedDuration::from_secs(1), SignedDuration::from_hours(1));
        let config = Self {
            common: Outgoing::read(ConnectorKind::Send, name, section),
            smart_hosts: section.required_list(
                "smart_hosts",
                smart_host,
                "write smart_hosts = [\"mail.example:25\"]",
            ),
            helo: section.or("helo", host_name, host.unwrap_or("localhost").to_owned()),
            connect_timeout: section.or("connect_timeout", timeout(), CONNECT_TIMEOUT),
            command_timeout: section.or("command_timeout", timeout(), COMMAND_TIMEOUT),
            data_timeout: section.or("data_timeout", timeout(), DATA_TIMEOUT),
        };
        section.finish();
        config
    }
}

fn smart_host(value: &DeValue<'_>) -> Result<SmartHost, Wrong> {
    let found = string(value)?;
    let parsed = host_and_port(&found, Some(SMTP_PORT)).map(|(host, port)| SmartHost { host, port });
    parsed.ok_or_else(|| {
        Wrong::hinted(
            format!("{} is not a host and a port", quoted(&found)),
            "write \"mail.example:25\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"",
        )
    })
}
