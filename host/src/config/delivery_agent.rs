//! `[delivery_agent_connectors.NAME]`: a sandboxed delivery agent, its settings, and the doors that are opened for it.

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use postern_agent::{Clocks, Limit, Limits, Unit};
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::authenticity::{AgentsConfig, Authenticity};
use super::canary::CanaryConfig;
use super::directories;
use super::host::{named_secret, secret};
use super::outgoing::{ConnectorKind, Outgoing, label, long_wait};
use super::raw::{Section, Wrong};
use super::secrets::{Secret, Secrets};
use super::shadow::ShadowConfig;
use super::values::{
    boolean, choice, count, host_and_port, line, milliseconds, number, quoted, size, timer, whole_number,
};
use crate::breaker::BreakerLimits;

/// `receipt_poll_interval`: how often an agent is asked for receipts.
pub const RECEIPT_POLL_INTERVAL: Duration = Duration::from_secs(60);
/// `receipt_expires_after`: how long a receipt is waited for when the agent does not say.
pub const RECEIPT_EXPIRES_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// `batch_size`: items in one call of an agent with the `batch` interface.
pub const BATCH_SIZE: usize = 10;
/// `receipt_expires_after_max`: how long it is waited for at most when the agent does say. Fax and SMS providers give up
/// within three days; a week leaves room for a weekend.
pub const RECEIPT_EXPIRES_AFTER_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);
/// `breaker_after`: so many messages in a row that break the agent, and it is left alone for a while.
pub const BREAKER_AFTER: u32 = 5;
/// `breaker_backoff`: the first pause; each further one in a row is twice as long.
pub const BREAKER_BACKOFF: Duration = Duration::from_secs(10);
/// `breaker_backoff_max`: the longest.
pub const BREAKER_BACKOFF_MAX: Duration = Duration::from_secs(600);
/// The largest `grants.state`, in bytes.
pub const MOST_STATE: u64 = 1 << 30;

/// `on_receipt_expiry`: what senders are told when the far end accepted a message and never said what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReceiptExpiry {
    /// A report with the action `failed`.
    #[default]
    FailureDsn,
    /// A report with the action `delayed`.
    DelayDsn,
    /// It counts as handed on: a report with the action `relayed` and a note, where the sender asked for success.
    Success,
}

/// `record`: which deliveries are recorded, beside those that an operator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordMode {
    /// None.
    Never,
    /// Further attempts of a message that has broken its agent.
    #[default]
    Trapped,
    /// These, and those in which a recipient was deferred or failed.
    Failures,
    /// All.
    All,
}

/// The words for [`RecordMode`].
const RECORD: &[(&str, RecordMode)] = &[
    ("never", RecordMode::Never),
    ("trapped", RecordMode::Trapped),
    ("failures", RecordMode::Failures),
    ("all", RecordMode::All),
];

/// The words for [`OnReceiptExpiry`].
const ON_RECEIPT_EXPIRY: &[(&str, OnReceiptExpiry)] = &[
    ("failure-dsn", OnReceiptExpiry::FailureDsn),
    ("delay-dsn", OnReceiptExpiry::DelayDsn),
    ("success", OnReceiptExpiry::Success),
];

/// One delivery-agent connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAgentConfig {
    /// What every outgoing connector has.
    pub common: Outgoing,
    /// The component, a `.wasm` file.
    pub agent: PathBuf,
    /// The trial that a new version has to stand; `None`: it takes over at once.
    pub canary: Option<CanaryConfig>,
    /// Which component it must be, and who must have signed it.
    pub authenticity: Authenticity,
    /// The protocol that the agent must serve; `None`: whatever it says (Exchange: `DeliveryProtocol`).
    pub delivery_protocol: Option<String>,
    /// The agent's own settings, an object.
    pub settings: Value,
    /// The doors that are open for it.
    pub grants: Grants,
    /// What it may use up.
    pub limits: Limits,
    /// A PEM file of authorities that its far ends may have their certificates from, beside the system's.
    pub trusted_certificates: Option<PathBuf>,
    /// How often it is asked for receipts.
    pub receipt_poll_interval: Duration,
    /// How long a receipt is waited for when the agent does not say.
    pub receipt_expires_after: SignedDuration,
    /// What is done about a hand-over that nobody saw the end of; `None`: no intents are recorded (`idempotency`).
    pub on_unknown: Option<OnUnknown>,
    /// How many items an agent with the `batch` interface gets in one call.
    pub batch_size: usize,
    /// Whether a connection stays open while receipts of its queue are pending, beyond `connection_idle`.
    pub keep_open: bool,
    /// How long it is waited for at most when the agent does say.
    pub receipt_expires_after_max: SignedDuration,
    /// What senders are told when it never comes.
    pub on_receipt_expiry: OnReceiptExpiry,
    /// Whether its refusal may fail a whole queue; otherwise the queue is suspended and an alarm raised.
    pub allow_fail_queue: bool,
    /// Whether each message gets an instance of its own (`instance`).
    pub per_message: bool,
    /// When the agent is left alone for a while, since message after message breaks it.
    pub breaker: BreakerLimits,
    /// Which deliveries are recorded.
    pub record: RecordMode,
    /// Another version that is played the deliveries; `None`: none.
    pub shadow: Option<ShadowConfig>,
}

/// What is done about a hand-over that nobody saw the end of, where the agent cannot tell either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnknown {
    /// It is tried again: perhaps a second copy.
    #[default]
    Retry,
    /// It is not tried again, and the sender is told that nobody knows: perhaps none.
    Report,
}

/// Single doors to the outside; everything else is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// URL prefixes, `https://fax.example/v1/`.
    pub http: Vec<String>,
    /// `host:port`, or `tls://host:port` when the host is to speak TLS.
    pub tcp: Vec<TcpGrant>,
    /// Secrets by name, with their values.
    pub secrets: Vec<(String, Secret)>,
    /// Folders.
    pub directories: Vec<postern_agent::DirectoryGrant>,
    /// How many bytes of state are kept for it; 0: none.
    pub state: u64,
    /// Whether its provider may call back.
    pub callback: bool,
    /// Whether it may hand in mail.
    pub inbound: bool,
    /// What it may know of the time.
    pub clocks: Clocks,
    /// Whether it may have random numbers.
    pub random: bool,
}

/// A host and port that an agent may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpGrant {
    /// As it is written; the runtime of the agents reads it.
    pub text: String,
    /// The secret with the certificate that the host shows there, by name, with its value. The agent does not get it.
    pub client: Option<(String, Secret)>,
}

impl DeliveryAgentConfig {
    pub(super) fn read(
        name: &str,
        section: &Section<'_>,
        secrets: &Secrets,
        all: &AgentsConfig,
    ) -> Option<Self> {
        let common = Outgoing::read(ConnectorKind::DeliveryAgent, name, section);
        let agent = section.required("agent", line, "write agent = \"agents/NAME.wasm\"");
        let agent = agent.map(|path| section.document().resolve(&path));
        let authenticity = Authenticity::read(section, agent.as_deref(), all);
        let canary = CanaryConfig::read(section);
        let delivery_protocol = section.optional("delivery_protocol", label);
        let settings = section.or("settings", settings, Value::Object(Map::new()));
        let grants = Grants::read(&section.table("grants"), secrets);
        let limits = self::limits(&section.table("limits"));
        let trusted_certificates = section.optional("trusted_certificates", line);
        let trusted_certificates = trusted_certificates.map(|path| section.document().resolve(&path));
        let poll = timer(SignedDuration::from_secs(1), SignedDuration::from_hours(24));
        let receipt_poll_interval = section.or("receipt_poll_interval", poll, RECEIPT_POLL_INTERVAL);
        let receipt_expires_after = section.or("receipt_expires_after", long_wait, RECEIPT_EXPIRES_AFTER);
        let intent = section.or("idempotency", choice(&[("none", false), ("intent", true)]), false);
        let on_unknown = section
            .optional("on_unknown", choice(&[("retry", OnUnknown::Retry), ("report", OnUnknown::Report)]));
        if on_unknown.is_some() && !intent {
            section.fault(Wrong::hinted(
                "on_unknown is asked only where intents are recorded",
                "add idempotency = \"intent\"",
            ));
        }
        let on_unknown = intent.then(|| on_unknown.unwrap_or_default());
        let batch_size = section.or("batch_size", count(1, 1000), BATCH_SIZE);
        let keep_open = section.or("keep_open", boolean, false);
        let receipt_expires_after_max = receipt_expires_after_max(section, receipt_expires_after);
        let on_receipt_expiry =
            section.or("on_receipt_expiry", choice(ON_RECEIPT_EXPIRY), OnReceiptExpiry::default());
        let allow_fail_queue = section.or("allow_fail_queue", boolean, false);
        let breaker = breaker(section);
        let record = section.or("record", choice(RECORD), RecordMode::default());
        let shadow = ShadowConfig::read(section);
        let per_message = per_message(section, &common, batch_size, keep_open);
        section.finish();
        let agent = agent?;
        for (key, path) in [("agent", Some(&agent)), ("trusted_certificates", trusted_certificates.as_ref())]
        {
            let Some(path) = path.filter(|path| common.enabled && !path.is_file()) else { continue };
            let hint = "the connector is off until the file is there; messages for it wait";
            let wrong = Wrong::hinted(format!("{} is not a file", quoted(&path.to_string_lossy())), hint);
            section.entry(key).inspect(|entry| entry.warn(wrong));
        }
        Some(Self {
            common,
            agent,
            authenticity,
            canary,
            delivery_protocol,
            settings,
            grants,
            limits,
            trusted_certificates,
            receipt_poll_interval,
            receipt_expires_after,
            on_unknown,
            batch_size,
            keep_open,
            receipt_expires_after_max,
            on_receipt_expiry,
            allow_fail_queue,
            breaker,
            record,
            shadow,
            per_message,
        })
    }
}

impl DeliveryAgentConfig {
    /// Whether nothing differs but which version of the agent is wanted (its file, its digest), and what trial it has to
    /// stand. Who must have signed it is demanded of all versions.
    #[must_use]
    pub fn differs_only_in_version(&self, other: &Self) -> bool {
        let mut like_it = Self { agent: self.agent.clone(), canary: self.canary, ..other.clone() };
        like_it.authenticity.sha256.clone_from(&self.authenticity.sha256);
        if let (Some(mine), Some(like_mine)) = (&self.authenticity.signed, &mut like_it.authenticity.signed) {
            like_mine.file.clone_from(&mine.file);
        }
        like_it == *self
    }
}

/// `instance`. What only means something for several messages in one instance is a fault beside `"per-message"`.
fn per_message(section: &Section<'_>, common: &Outgoing, batch_size: usize, keep_open: bool) -> bool {
    let word = choice(&[("per-connection", false), ("per-message", true)]);
    let per_message = section.or("instance", word, false);
    let several = [
        ("max_messages_per_connection", common.max_messages_per_connection > 1),
        ("batch_size", batch_size > 1),
        ("keep_open", keep_open),
    ];
    for (key, _) in several.into_iter().filter(|(_, several)| per_message && *several) {
        // A default means nothing by it.
        section.entry(key).inspect(|entry| {
            entry.fault(Wrong::hinted(
                "with instance = \"per-message\" a connection delivers one message and is closed",
                "leave it out, or write instance = \"per-connection\"",
            ));
        });
    }
    per_message
}

/// `breaker_after`, `breaker_backoff` and `breaker_backoff_max`.
fn breaker(section: &Section<'_>) -> BreakerLimits {
    let after = section.or("breaker_after", number(0, 1000), BREAKER_AFTER);
    let pause = |most| timer(SignedDuration::from_millis(100), SignedDuration::from_hours(most));
    let backoff = section.or("breaker_backoff", pause(1), BREAKER_BACKOFF);
    let default = BREAKER_BACKOFF_MAX.max(backoff);
    let backoff_max = section.or("breaker_backoff_max", pause(24), default);
    if backoff_max < backoff {
        section.entry("breaker_backoff_max").inspect(|entry| {
            entry.fault(Wrong::hinted(
                "it is shorter than breaker_backoff, the first pause",
                "make one of them fit the other",
            ));
        });
    }
    BreakerLimits { after, backoff, backoff_max }
}

/// The longest wait that an agent may ask for; never below the ordinary one, which needs no asking.
fn receipt_expires_after_max(section: &Section<'_>, ordinary: SignedDuration) -> SignedDuration {
    let default = RECEIPT_EXPIRES_AFTER_MAX.max(ordinary);
    let most = section.or("receipt_expires_after_max", long_wait, default);
    if most < ordinary {
        section.entry("receipt_expires_after_max").inspect(|entry| {
            entry.fault(Wrong::hinted(
                "it is shorter than receipt_expires_after, the wait for agents that do not say how long",
                "make one of them fit the other",
            ));
        });
    }
    most
}

impl Grants {
    fn read(section: &Section<'_>, secrets: &Secrets) -> Self {
        let grants = Self {
            http: section.list("http", http_grant).unwrap_or_default(),
            tcp: section.list("tcp", |value| tcp_grant(value, secrets)).unwrap_or_default(),
            secrets: section.list("secrets", |value| secret(value, secrets)).unwrap_or_default(),
            directories: directories::read(section),
            state: section.or("state", size(0, MOST_STATE), 0),
            callback: section.or("callback", boolean, false),
            inbound: section.or("inbound", boolean, false),
            clocks: section.or("clocks", clocks, Clocks::Exact),
            random: section.or("random", boolean, true),
        };
        section.finish();
        let tcp: Vec<_> = grants.tcp.iter().map(|grant| grant.text.clone()).collect();
        if let Err(error) = postern_agent::Grants::parse(&[], &tcp, &[]) {
            section.entry("tcp").inspect(|entry| entry.fault(Wrong::new(error.to_string())));
        }
        grants
    }
}

/// `limits`: each that is an agent's own, under its name.
fn limits(section: &Section<'_>) -> Limits {
    let mut limits = Limits::default();
    for limit in Limit::ALL {
        let Some((range, default)) = limit.range().zip(limits.value(*limit)) else { continue };
        let (key, least, most) = (limit.key(), *range.start(), *range.end());
        let value = match limit.unit() {
            Unit::Bytes => section.or(key, size(least, most), default),
            Unit::Count => section.or(key, whole_number(least, most), default),
            Unit::Time => section.or(key, milliseconds(least, most), default),
        };
        limits.set(*limit, value);
    }
    section.finish();
    limits
}

/// `[METHOD,...] URL [private]`: the form of the text; what it opens is for the runtime of the agents to say.
fn http_grant(value: &DeValue<'_>) -> Result<String, Wrong> {
    let found = line(value)?;
    let words: Vec<&str> = found.split_whitespace().collect();
    let url = match words[..] {
        [url] | [url, "private"] => Some(url),
        [methods, url] | [methods, url, "private"] => {
            methods.bytes().all(|b| b.is_ascii_uppercase() || b == b',').then_some(url)
        }
        _ => None,
    };
    if url.is_some_and(is_url_prefix) {
        return Ok(found);
    }
    Err(Wrong::hinted(
        format!("{} is not a URL that can be granted", quoted(&found)),
        "write a URL prefix: \"https://fax.example/v1/\", \"GET,POST https://fax.example/v1/\", \"http://intranet.example/ private\"",
    ))
}

/// A scheme, a host and a path, and nothing that would make the prefix wider than it looks.
fn is_url_prefix(url: &str) -> bool {
    let (port, rest) = match url.split_once("://") {
        Some(("https", rest)) => (443, rest),
        Some(("http", rest)) => (80, rest),
        _ => return false,
    };
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    !url.contains(['*', '?', '#', '@', '\\']) && host_and_port(host, Some(port)).is_some()
}

/// `[tls://]HOST:PORT [private] [client=SECRET]`, as the runtime of the agents reads it.
fn tcp_grant(value: &DeValue<'_>, secrets: &Secrets) -> Result<TcpGrant, Wrong> {
    let text = line(value)?;
    let read: postern_agent::TcpGrant = text.parse().map_err(|error: postern_agent::GrantError| {
        Wrong::hinted(
            format!("{} cannot be granted: {}", quoted(&text), error.why),
            "write \"smsc.example:2775\", \"tls://smsc.example:3550 client=SECRET\" or \"pbx.example:5038 private\"",
        )
    })?;
    let client = read.client().map(|name| named_secret(name, secrets)).transpose()?;
    Ok(TcpGrant { text, client })
}

/// `true`, `false`, or `"coarse"`.
fn clocks(value: &DeValue<'_>) -> Result<Clocks, Wrong> {
    match value {
        DeValue::Boolean(true) => Ok(Clocks::Exact),
        DeValue::Boolean(false) => Ok(Clocks::None),
        DeValue::String(word) if word == "coarse" => Ok(Clocks::Coarse),
        _ => Err(Wrong::hinted("this says nothing about clocks", "write true, false or \"coarse\"")),
    }
}

/// A table as JSON, which is how the agent sees it.
fn settings(value: &DeValue<'_>) -> Result<Value, Wrong> {
    let table = value.as_table().ok_or_else(|| {
        Wrong::hinted("expected a table".to_owned(), "write settings = { key = \"value\" }")
    })?;
    object(table)
}

fn object(table: &DeTable<'_>) -> Result<Value, Wrong> {
    let members = table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), json(value.get_ref())?)));
    members.collect::<Result<Map<_, _>, Wrong>>().map(Value::Object)
}

fn json(value: &DeValue<'_>) -> Result<Value, Wrong> {
    match value {
        DeValue::String(text) => Ok(Value::from(text.as_ref())),
        DeValue::Boolean(on) => Ok(Value::from(*on)),
        DeValue::Datetime(date) => Ok(Value::from(date.to_string())),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map(Value::from)
            .map_err(|_| Wrong::new("a number in it is too large")),
        DeValue::Float(float) => float
            .as_str()
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(Value::Number)
            .ok_or_else(|| Wrong::new("a number in it is not finite")),
        DeValue::Array(items) => {
            items.iter().map(|item| json(item.get_ref())).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        DeValue::Table(table) => object(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(text: &str, parser: impl Fn(&DeValue<'_>) -> Result<T, Wrong>) -> Result<T, Wrong> {
        parser(DeValue::parse(text).unwrap().get_ref())
    }

    #[test]
    fn http_grants_say_scheme_and_host_and_perhaps_methods() {
        for good in [
            "https://fax.example/",
            "https://fax.example",
            "http://127.0.0.1:8080/v1/",
            "https://[::1]:8443/x",
            "GET,POST https://fax.example/v1/",
            "POST http://intranet.example/ private",
        ] {
            assert_eq!(with(&format!("\"{good}\""), http_grant), Ok(good.to_owned()));
        }
        for bad in [
            "fax.example/",
            "ftp://a/",
            "https://*.example/",
            "https://u@a/",
            "https:///",
            "https://a/?q",
            "post https://a/",
            "https://a/ public",
        ] {
            assert!(with(&format!("\"{bad}\""), http_grant).is_err(), "{bad}");
        }
    }

    #[test]
    fn tcp_grants_say_host_and_port_and_may_name_a_secret() {
        let grant = |text: &str| with(&format!("\"{text}\""), |value| tcp_grant(value, &Secrets::default()));
        for good in ["smsc.example:2775", "tls://smsc.example:3550 private"] {
            assert_eq!(grant(good), Ok(TcpGrant { text: good.to_owned(), client: None }));
        }
        for bad in ["smsc.example", "udp://smsc.example:1", "smsc.example:2775 client=key"] {
            assert!(grant(bad).unwrap_err().message.contains("cannot be granted"), "{bad}");
        }
        let unknown = grant("tls://smsc.example:3550 client=key").unwrap_err();
        assert!(unknown.message.contains("is not the name of a secret"), "{unknown:?}");
    }

    #[test]
    fn clocks_are_exact_coarse_or_taken_away() {
        assert_eq!(with("true", clocks), Ok(Clocks::Exact));
        assert_eq!(with("false", clocks), Ok(Clocks::None));
        assert_eq!(with("\"coarse\"", clocks), Ok(Clocks::Coarse));
        assert!(with("\"fine\"", clocks).is_err() && with("1", clocks).is_err());
    }

    #[test]
    fn settings_become_json_as_they_are() {
        let text = "{ url = 'u', pages = [1, -2, 0x10], ratio = 1.5, on = true, since = 2026-01-01, deep = { a = {} } }";
        let expected = serde_json::json!({
            "url": "u", "pages": [1, -2, 16], "ratio": 1.5, "on": true, "since": "2026-01-01", "deep": { "a": {} }
        });
        assert_eq!(with(text, settings), Ok(expected));
        assert!(with("{ a = inf }", settings).is_err());
        assert!(with("\"x\"", settings).is_err());
    }
}
