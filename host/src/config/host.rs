//! `[host]`, `[admin]` and `[tracking]`: what is true of the host as a whole.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use postern_model::TypedAddress;
use toml::de::DeValue;

use super::raw::{Section, Wrong};
use super::report::nearest;
use super::secrets::{Secret, Secrets};
use super::values::{
    MAX_DURATION, boolean, choice, count, duration_or_never, host_name, line, number, quoted, size, socket,
    string, timer,
};
use crate::recordings::RecordingLimits;

/// `host.data_directory`, from the folder of the file.
pub const DATA_DIRECTORY: &str = "data";
/// `host.shutdown_grace`: how long deliveries under way may take to end.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(30);
/// `host.max_large_agent_instances`: live instances of all large agents together.
pub const MAX_LARGE_AGENT_INSTANCES: u32 = 32;
/// `host.max_agent_instances`: live instances of all other agents together.
pub const MAX_AGENT_INSTANCES: u32 = 512;
/// `host.agent_parse_budget`: memory for messages that are parsed for agents, all together, in bytes.
pub const AGENT_PARSE_BUDGET: u64 = 256 << 20;
/// `host.settle_window`: settlements in flight for each connection.
pub const SETTLE_WINDOW: usize = 64;
/// `host.content_cache`: memory for contents on their way to the first attempt, in bytes.
pub const CONTENT_CACHE: u64 = 64 << 20;
/// `host.store_reserve`: free disk space below which nothing is accepted, in bytes.
pub const STORE_RESERVE: u64 = 64 << 20;
/// `host.inline_body_limit`: contents up to this size lie in the database, in bytes.
pub const INLINE_BODY_LIMIT: u64 = 256 << 10;
/// `host.early_receipts`: receipts of each connector that are kept although nobody waits for them yet.
pub const EARLY_RECEIPTS: usize = 10_000;
/// `host.early_receipt_life`: how long each of them is kept.
pub const EARLY_RECEIPT_LIFE: Duration = Duration::from_secs(10 * 60);
/// `host.receipt_memory`: receipts that are remembered when nobody waits for them any longer.
pub const RECEIPT_MEMORY: u32 = 100_000;
/// `host.quarantine_records`: records of messages that broke their agents.
pub const QUARANTINE_RECORDS: usize = 1_000;
/// `host.recordings`: deliveries of agents that are kept in files.
pub const RECORDINGS: usize = 100;
/// `host.recordings_size`: all of them together, in bytes.
pub const RECORDINGS_SIZE: u64 = 1 << 30;
/// `tracking.retention` (Exchange: `MessageTrackingLogMaxAge` 30 days).
pub const TRACKING_RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the host does when its store has stopped, after a write or sync that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// It ends, so that whoever supervises it starts it again.
    End,
    /// It stays, takes nothing and says why.
    Stay,
}

/// `[host]`.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The host's name in greetings, trace headers and DSNs, in lower case.
    pub name: String,
    /// Where queues, tracking and caches lie.
    pub data_directory: PathBuf,
    /// Whom DSNs come from, and where mail for `Postmaster` without a domain goes.
    pub postmaster: TypedAddress,
    /// Threads of the host's runtime; `None`: one for each core.
    pub worker_threads: Option<usize>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// How long deliveries under way may take to end at a shutdown.
    pub shutdown_grace: Duration,
    /// What happens when the store has stopped.
    pub on_store_failure: OnStoreFailure,
    /// How many instances of all agents together may be alive.
    pub max_agent_instances: u32,
    /// Live instances of all large agents together.
    pub max_large_agent_instances: u32,
    /// Memory for messages that are parsed for agents, all together, in bytes.
    pub agent_parse_budget: u64,
    /// How many settlements a connection may have in flight.
    pub settle_window: usize,
    /// Memory for contents on their way to the first attempt, in bytes.
    pub content_cache: u64,
    /// Free disk space that is left to others, in bytes.
    pub store_reserve: u64,
    /// Contents up to this size lie in the database, larger ones in files, in bytes.
    pub inline_body_limit: u64,
    /// How many receipts are remembered when nobody waits for them any longer.
    pub receipt_memory: u32,
    /// How many receipts of each connector are kept although nobody waits for them yet.
    pub early_receipts: usize,
    /// How long each of them is kept.
    pub early_receipt_life: Duration,
    /// How many records of messages that broke their agents are kept.
    pub quarantine_records: usize,
    /// How many recordings of deliveries are kept.
    pub recordings: RecordingLimits,
    /// Domains whose IMCEA addresses are decoded, in lower case.
    pub encapsulation_domains: Vec<String>,
}

impl HostConfig {
    pub(super) fn read(root: &Section<'_>) -> Option<Self> {
        let section = root.table("host");
        let name = section.required("name", host_name, "write name = \"gw1.example\" under [host]");
        let known_name = name.as_deref().unwrap_or("localhost");
        let default_postmaster = TypedAddress::smtp(&format!("postmaster@{known_name}"));
        let directory = section.or("data_directory", line, DATA_DIRECTORY.to_owned());
        let postmaster = section.optional("postmaster", mail_address).or(default_postmaster.ok());
        let threads = |value: &DeValue<'_>| count(1, 1024)(value).map(Some);
        let formats = choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        let grace = timer(SignedDuration::ZERO, SignedDuration::from_mins(10));
        let worker_threads = section.or("worker_threads", threads, None);
        let log_format = section.or("log_format", formats, LogFormat::Text);
        let shutdown_grace = section.or("shutdown_grace", grace, SHUTDOWN_GRACE);
        let failures = choice(&[("end", OnStoreFailure::End), ("stay", OnStoreFailure::Stay)]);
        let on_store_failure = section.or("on_store_failure", failures, OnStoreFailure::End);
        let max_large_agent_instances =
            section.or("max_large_agent_instances", number(1, 1000), MAX_LARGE_AGENT_INSTANCES);
        let max_agent_instances = section.or("max_agent_instances", number(1, 10_000), MAX_AGENT_INSTANCES);
        let agent_parse_budget =
            section.or("agent_parse_budget", size(1 << 20, 64 << 30), AGENT_PARSE_BUDGET);
        let settle_window = section.or("settle_window", count(1, 4096), SETTLE_WINDOW);
        let content_cache = section.or("content_cache", size(0, 64 << 30), CONTENT_CACHE);
        let store_reserve = section.or("store_reserve", size(0, 1 << 40), STORE_RESERVE);
        let inline_body_limit = section.or("inline_body_limit", size(0, 16 << 20), INLINE_BODY_LIMIT);
        let early_receipts = section.or("early_receipts", count(1, 1_000_000), EARLY_RECEIPTS);
        let life = timer(SignedDuration::from_secs(1), SignedDuration::from_hours(24));
        let early_receipt_life = section.or("early_receipt_life", life, EARLY_RECEIPT_LIFE);
        let receipt_memory = section.or("receipt_memory", number(0, 10_000_000), RECEIPT_MEMORY);
        let quarantine_records = section.or("quarantine_records", count(0, 100_000), QUARANTINE_RECORDS);
        let recordings = RecordingLimits {
            files: section.or("recordings", count(0, 100_000), RECORDINGS),
            bytes: section.or("recordings_size", size(1 << 20, 1 << 40), RECORDINGS_SIZE),
        };
        let domains = section.list("encapsulation_domains", host_name);
        let encapsulation_domains = domains.unwrap_or_else(|| vec![known_name.to_owned()]);
        section.finish();
        Some(Self {
            data_directory: section.document().resolve(&directory),
            name: name?,
            postmaster: postmaster?,
            worker_threads,
            log_format,
            shutdown_grace,
            on_store_failure,
            max_agent_instances,
            max_large_agent_instances,
            agent_parse_budget,
            settle_window,
            content_cache,
            store_reserve,
            inline_body_limit,
            receipt_memory,
            early_receipts,
            early_receipt_life,
            quarantine_records,
            recordings,
            encapsulation_domains,
        })
    }
}

/// An ordinary mail address.
fn mail_address(value: &DeValue<'_>) -> Result<TypedAddress, Wrong> {
    let found = string(value)?;
    TypedAddress::smtp(&found)
        .map_err(|error| Wrong::hinted(error.to_string(), "write an address: \"postmaster@example.org\""))
}

/// `[admin]`: metrics and health checks over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where it listens; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether it may listen on more than loopback.
    pub allow_remote: bool,
    /// What clients must show as bearer token; `None`: nothing, which only loopback is trusted with.
    pub token: Option<Secret>,
}

impl AdminConfig {
    pub(super) fn read(root: &Section<'_>, secrets: &Secrets) -> Self {
        let section = root.table("admin");
        let listen = section.optional("listen", socket);
        let allow_remote = section.or("allow_remote", boolean, false);
        let token = section.entry("token");
        let known = token.as_ref().and_then(|entry| entry.parse(|value| secret(value, secrets)));
        section.finish();
        if let Some(address) = listen.filter(|address| !address.ip().is_loopback()) {
            if !allow_remote {
                section.fault(Wrong::hinted(
                    format!("{address} can be reached from other machines"),
                    "listen on 127.0.0.1, or add allow_remote = true and a token",
                ));
            } else if token.is_none() {
                section.fault(Wrong::hinted(
                    format!("{address} can be reached from other machines, and no token is asked for"),
                    "add token = \"NAME\", the name of an entry of [secrets]",
                ));
            }
        }
        Self { listen, allow_remote, token: known.map(|(_, secret)| secret) }
    }
}

/// The name of a secret that `[secrets]` knows.
pub(super) fn secret(value: &DeValue<'_>, secrets: &Secrets) -> Result<(String, Secret), Wrong> {
    named_secret(&string(value)?, secrets)
}

/// The same, for a name that stands within another text.
pub(super) fn named_secret(name: &str, secrets: &Secrets) -> Result<(String, Secret), Wrong> {
    let Some(secret) = secrets.get(name) else {
        let hint = match nearest(name, secrets.names()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "add NAME = { file = \"...\" } under [secrets] and write NAME here".to_owned(),
        };
        // Only a well-formed name is repeated: what is not one may be the secret itself.
        let shown =
            if name.len() <= 24 && hint.starts_with("did") { quoted(name) } else { "this".to_owned() };
        return Err(Wrong::hinted(format!("{shown} is not the name of a secret"), hint));
    };
    Ok((name.to_owned(), secret.clone()))
}

/// `[tracking]`: the history of messages.
#[derive(Clone, Debug)]
pub struct TrackingConfig {
    /// How long it is kept; `None`: for ever.
    pub retention: Option<SignedDuration>,
}

impl TrackingConfig {
    pub(super) fn read(root: &Section<'_>) -> Self {
        let section = root.table("tracking");
        let retention = duration_or_never(SignedDuration::from_hours(1), MAX_DURATION);
        let retention = section.or("retention", retention, Some(TRACKING_RETENTION));
        section.finish();
        Self { retention }
    }
}
