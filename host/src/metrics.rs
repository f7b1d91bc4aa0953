//! Metrics: counters and gauges of the host in Prometheus' text form. `docs/metrics.md` describes each.

mod latency;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use postern_agent::AgentStats;
use postern_model::{Fate, MessageInfo, Origin};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::breaker::BreakerView;
use crate::settle::Settlement;
use latency::CallTimes;

/// A connector.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ByConnector {
    /// Its name.
    pub connector: String,
}

/// A connector and a word about what happened there.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ByConnectorAndWord {
    /// Its name.
    pub connector: String,
    /// What happened.
    pub what: String,
}

/// Everything that the host counts.
pub struct Metrics {
    registry: Registry,
    accepted_messages: Family<ByConnector, Counter>,
    accepted_recipients: Family<ByConnector, Counter>,
    generated_messages: Counter,
    /// Attempts that ended, by connector and outcome word.
    attempts: Family<ByConnectorAndWord, Counter>,
    recipients: Family<ByConnectorAndWord, Counter>,
    /// Connections of clients that are open.
    pub client_connections: Family<ByConnector, Gauge>,
    refusals: Family<ByConnectorAndWord, Counter>,
    receipts: Family<ByConnectorAndWord, Counter>,
    callbacks: Family<ByConnectorAndWord, Counter>,
    pickups: Family<ByConnectorAndWord, Counter>,
    withdrawals: Family<ByConnectorAndWord, Counter>,
    drop_results: Family<ByConnectorAndWord, Counter>,
    files: Family<ByConnectorAndWord, Counter>,
    waiting_files: Family<ByConnector, Gauge>,
    drop_quota: Family<ByConnector, Gauge>,
    drop_quota_crossings: Family<ByConnectorAndWord, Counter>,
    bad_mail: Counter,
    waiting_dsns: Gauge<i64>,
    queued: Family<ByConnector, Gauge<i64>>,
    store_ready: Gauge<i64>,
    open_connections: Family<ByConnector, Gauge<i64, std::sync::atomic::AtomicI64>>,
    bytes_accepted: Counter<u64, AtomicU64>,
    agent_http_requests: Family<ByConnector, Counter>,
    agent_tcp_connections: Family<ByConnector, Counter>,
    agent_tcp_open: Family<ByConnector, Gauge>,
    agent_tcp_bytes: Family<ByConnectorAndWord, Counter>,
    agent_directory_made: Family<ByConnector, Counter>,
    agent_directory_bytes: Family<ByConnectorAndWord, Counter>,
    agent_refusals: Family<ByConnectorAndWord, Counter>,
    agent_rollouts: Family<ByConnectorAndWord, Counter>,
    agent_deliver_seconds: Family<ByConnector, CallTimes>,
    agent_memory_bytes: Family<ByConnector, Gauge>,
    agent_recordings: Family<ByConnectorAndWord, Counter>,
    agent_shadow: Family<ByConnectorAndWord, Counter>,
    quarantine_records: Gauge<i64>,
    agent_breaker: Family<ByConnector, Gauge>,
    agent_breaker_opened: Family<ByConnector, Counter>,
    agent_limits: Family<ByConnectorAndWord, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut m = Self {
            registry: Registry::default(),
            accepted_messages: Family::default(),
            accepted_recipients: Family::default(),
            generated_messages: Counter::default(),
            attempts: Family::default(),
            recipients: Family::default(),
            client_connections: Family::default(),
            refusals: Family::default(),
            receipts: Family::default(),
            callbacks: Family::default(),
            pickups: Family::default(),
            withdrawals: Family::default(),
            drop_results: Family::default(),
            files: Family::default(),
            waiting_files: Family::default(),
            drop_quota: Family::default(),
            drop_quota_crossings: Family::default(),
            bad_mail: Counter::default(),
            waiting_dsns: Gauge::default(),
            queued: Family::default(),
            store_ready: Gauge::default(),
            open_connections: Family::default(),
            bytes_accepted: Counter::default(),
            agent_http_requests: Family::default(),
            agent_tcp_connections: Family::default(),
            agent_tcp_open: Family::default(),
            agent_tcp_bytes: Family::default(),
            agent_directory_made: Family::default(),
            agent_directory_bytes: Family::default(),
            agent_refusals: Family::default(),
            agent_rollouts: Family::default(),
            agent_deliver_seconds: Family::default(),
            agent_memory_bytes: Family::default(),
            agent_recordings: Family::default(),
            agent_shadow: Family::default(),
            quarantine_records: Gauge::default(),
            agent_breaker: Family::default(),
            agent_breaker_opened: Family::default(),
            agent_limits: Family::default(),
        };
        m.register();
        m
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        let accepted = self.accepted_messages.clone();
        r.register("postern_accepted_messages", "Messages accepted at a door", accepted);
        let recipients = self.accepted_recipients.clone();
        r.register("postern_accepted_recipients", "Recipients accepted at a door", recipients);
        r.register("postern_accepted_bytes", "Content bytes accepted at a door", self.bytes_accepted.clone());
        let generated = self.generated_messages.clone();
        r.register("postern_generated_messages", "Messages (DSNs) made by the host", generated);
        r.register("postern_attempts", "Delivery attempts that ended, by result", self.attempts.clone());
        r.register(
            "postern_recipients",
            "Recipients whose fate was decided, by fate",
            self.recipients.clone(),
        );
        let clients = self.client_connections.clone();
        r.register("postern_client_connections", "Open connections of clients", clients);
        r.register(
            "postern_client_refusals",
            "Answers that refused a client something",
            self.refusals.clone(),
        );
        r.register("postern_callbacks", "Calls of providers, by how they ended", self.callbacks.clone());
        r.register("postern_receipts", "Receipts that came in, by what they did", self.receipts.clone());
        let pickups = self.pickups.clone();
        r.register("postern_drop_pickups", "Drop files taken by gateways, by how it was seen", pickups);
        let withdrawals = self.withdrawals.clone();
        r.register(
            "postern_drop_withdrawals",
            "Drop files that were to be taken back, by what became of that",
            withdrawals,
        );
        let results = self.drop_results.clone();
        r.register("postern_drop_results", "What gateways said about drop files", results);
        let files = self.files.clone();
        r.register("postern_pickup_files", "Files of pickup and replay directories, by their end", files);
        let waiting = self.waiting_files.clone();
        r.register("postern_pickup_waiting", "Files that lie in pickup and replay directories", waiting);
        let quota = self.drop_quota.clone();
        r.register("postern_drop_quota", "How full a drop directory is: 0 calm, 1 warning, 2 full", quota);
        let crossings = self.drop_quota_crossings.clone();
        r.register(
            "postern_drop_quota_crossings",
            "Marks of drop directories' quotas that were crossed",
            crossings,
        );
        r.register(
            "postern_bad_mail",
            "DSNs that could not be queued, failed or expired",
            self.bad_mail.clone(),
        );
        let waiting = self.waiting_dsns.clone();
        r.register("postern_waiting_dsns", "DSNs that wait in the outbox", waiting);
        r.register("postern_queued_items", "Items that wait in queues", self.queued.clone());
        r.register("postern_store_ready", "1 while the store takes mail", self.store_ready.clone());
        let open = self.open_connections.clone();
        r.register("postern_connections", "Open connections of outgoing connectors", open);
        self.register_agents();
    }

    fn register_agents(&mut self) {
        let r = &mut self.registry;
        let requests = self.agent_http_requests.clone();
        r.register("postern_agent_http_requests", "HTTP requests of agents, refused ones included", requests);
        let connections = self.agent_tcp_connections.clone();
        r.register("postern_agent_tcp_connections", "TCP connections made for agents", connections);
        let open = self.agent_tcp_open.clone();
        r.register("postern_agent_tcp_open", "Open TCP connections of agents", open);
        let bytes = self.agent_tcp_bytes.clone();
        r.register("postern_agent_tcp_bytes", "Bytes on TCP connections of agents, by direction", bytes);
        let made = self.agent_directory_made.clone();
        r.register("postern_agent_directory_made", "Files and folders that agents made", made);
        let bytes = self.agent_directory_bytes.clone();
        r.register("postern_agent_directory_bytes", "Bytes in files of agents, by direction", bytes);
        let refusals = self.agent_refusals.clone();
        r.register("postern_agent_refusals", "What agents were refused, by capability", refusals);
        let rollouts = self.agent_rollouts.clone();
        r.register("postern_agent_rollouts", "Changes of agents' versions, by what became of them", rollouts);
        let times = self.agent_deliver_seconds.clone();
        r.register("postern_agent_deliver_seconds", "How long agents' deliver calls took", times);
        let memory = self.agent_memory_bytes.clone();
        r.register("postern_agent_memory_bytes", "Linear memory of agents' live instances", memory);
        let recordings = self.agent_recordings.clone();
        r.register(
            "postern_agent_recordings",
            "Recordings of deliveries, by what became of them",
            recordings,
        );
        let shadow = self.agent_shadow.clone();
        r.register(
            "postern_agent_shadow",
            "Deliveries that were shown to a shadow, by what came of it",
            shadow,
        );
        let records = self.quarantine_records.clone();
        r.register("postern_quarantine_records", "Records of messages that broke their agents", records);
        let breaker = self.agent_breaker.clone();
        r.register("postern_agent_breaker", "0: mail flows, 1: one message tries, 2: mail waits", breaker);
        let opened = self.agent_breaker_opened.clone();
        r.register("postern_agent_breaker_opened", "Pauses because agents broke again and again", opened);
        let limits = self.agent_limits.clone();
        r.register("postern_agent_limits", "Limits that agents have hit, by their names", limits);
    }

    /// A message is durable.
    pub fn accepted(&self, message: &MessageInfo, recipients: u64) {
        if message.origin == Origin::Generated {
            self.generated_messages.inc();
            return;
        }
        let label = ByConnector { connector: message.envelope.receive_connector.clone() };
        self.accepted_messages.get_or_create(&label).inc();
        self.accepted_recipients.get_or_create(&label).inc_by(recipients);
        self.bytes_accepted.inc_by(message.size);
    }

    /// An attempt, a receipt or an operator decided something.
    pub fn settled(&self, connector: &str, settlement: &Settlement) {
        for (fate, count) in &settlement.write.fates.0 {
            self.decided(connector, *fate, u64::from(*count));
        }
    }

    /// An attempt ended; `what` is `done`, `partial`, `deferred` or `trapped`.
    pub fn attempted(&self, connector: &str, what: &str) {
        self.attempts.get_or_create(&by(connector, what)).inc();
    }

    fn decided(&self, connector: &str, fate: Fate, count: u64) {
        self.recipients.get_or_create(&by(connector, fate.word())).inc_by(count);
    }

    /// A client was refused something, with this reply code.
    pub fn refused(&self, connector: &str, code: u16) {
        self.refusals.get_or_create(&by(connector, &code.to_string())).inc();
    }

    /// A provider called: `answered`, `refused`, `too-many`, `too-large`, `slow`, `failed`, `not-stored`. The connector is empty
    /// where the call named none that takes calls, and for connections that were ended or not taken: `silent`, `late`,
    /// `displaced`, `full`.
    pub fn callback(&self, connector: &str, end: &str) {
        self.callbacks.get_or_create(&by(connector, end)).inc();
    }

    /// A receipt came in: `settled`, `watched`, `pending`, `unknown`, `ambiguous`, `repeated`, `late`, `contradicts`,
    /// `dropped`.
    pub fn receipt(&self, connector: &str, what: &str) {
        self.receipts.get_or_create(&by(connector, what)).inc();
    }

    /// A drop file was taken, seen by `event` or `scan`.
    pub fn taken(&self, connector: &str, seen_by: &str) {
        self.pickups.get_or_create(&by(connector, seen_by)).inc();
    }

    /// A drop file was to be taken back: `withdrawn`, `put-back`, `taken`, `claimed`, `vanished`, `unreachable`.
    pub fn withdrawal(&self, connector: &str, what: &str) {
        self.withdrawals.get_or_create(&by(connector, what)).inc();
    }

    /// A gateway said something about a drop file, or something that nobody understands.
    pub fn drop_result(&self, connector: &str, what: &str) {
        self.drop_results.get_or_create(&by(connector, what)).inc();
    }

    /// A file of a pickup or replay directory came to an end: `accepted`, `repeated`, `reported`, `bad`; or has to wait:
    /// `put-back`.
    pub fn file(&self, connector: &str, what: &str) {
        self.files.get_or_create(&by(connector, what)).inc();
    }

    /// So many files lay in a pickup or replay directory at the last look, after it.
    pub fn waiting_files(&self, connector: &str, count: usize) {
        let label = ByConnector { connector: connector.to_owned() };
        self.waiting_files.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A mark of a drop directory's quota was crossed: what holds now, as a word and as a number.
    pub fn drop_quota(&self, connector: &str, what: &str, level: i64) {
        self.drop_quota.get_or_create(&ByConnector { connector: connector.to_owned() }).set(level);
        self.drop_quota_crossings.get_or_create(&by(connector, what)).inc();
    }

    /// A DSN went to BadMail.
    pub fn bad_mail(&self) {
        self.bad_mail.inc();
    }

    /// So many DSNs wait in the outbox.
    pub fn waiting_dsns(&self, count: usize) {
        self.waiting_dsns.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A connection of an outgoing connector was opened (+1) or closed (-1).
    pub fn connection(&self, connector: &str, change: i64) {
        self.open_connections.get_or_create(&ByConnector { connector: connector.to_owned() }).inc_by(change);
    }

    /// What the agent of a connector has done so far. Its own counters are the ones that count; these show them.
    pub fn agent(&self, connector: &str, stats: &AgentStats) {
        let label = ByConnector { connector: connector.to_owned() };
        let show = |family: &Family<ByConnector, Counter>, count| {
            family.get_or_create(&label).inner().store(count, Relaxed);
        };
        show(&self.agent_http_requests, stats.http_requests);
        show(&self.agent_tcp_connections, stats.tcp_connections);
        self.agent_deliver_seconds.get_or_create(&label).show(stats.latency);
        self.agent_memory_bytes.get_or_create(&label).set(i64::try_from(stats.memory).unwrap_or(i64::MAX));
        show(&self.agent_directory_made, stats.directory_made);
        self.agent_tcp_open.get_or_create(&label).set(i64::try_from(stats.tcp_open).unwrap_or(i64::MAX));
        let show = |family: &Family<ByConnectorAndWord, Counter>, what, count| {
            family.get_or_create(&by(connector, what)).inner().store(count, Relaxed);
        };
        show(&self.agent_tcp_bytes, "read", stats.tcp_read);
        show(&self.agent_tcp_bytes, "written", stats.tcp_written);
        show(&self.agent_directory_bytes, "read", stats.directory_read);
        show(&self.agent_directory_bytes, "written", stats.directory_written);
        show(&self.agent_refusals, "http", stats.http_refused);
        show(&self.agent_refusals, "tcp", stats.tcp_refused);
        show(&self.agent_refusals, "secret", stats.secrets_refused);
        show(&self.agent_refusals, "sockets", stats.sockets_refused);
        show(&self.agent_refusals, "state", stats.state_refused);
        show(&self.agent_refusals, "inbound", stats.inbound_refused);
        show(&self.agent_refusals, "directory", stats.directory_refused);
        show(&self.agent_refusals, "clocks", stats.clocks_refused);
        show(&self.agent_refusals, "random", stats.random_refused);
        for (limit, count) in stats.limits.hit() {
            show(&self.agent_limits, limit.key(), count);
        }
    }

    /// A delivery was recorded: `whole`, `cut`, `failed`.
    pub fn recording(&self, connector: &str, what: &str) {
        self.agent_recordings.get_or_create(&by(connector, what)).inc();
    }

    /// A delivery was shown to a shadow, or should have been: `same`, `different`, `not-replayable`, `left-out`, `failed`.
    pub fn shadow(&self, connector: &str, what: &str) {
        self.agent_shadow.get_or_create(&by(connector, what)).inc();
    }

    /// The versions of a connector's agent changed: `swapped`, `trial`, `took-over`, `rolled-back`.
    pub fn rollout(&self, connector: &str, what: &str) {
        self.agent_rollouts.get_or_create(&by(connector, what)).inc();
    }

    /// There are so many records of messages that broke their agents.
    pub fn quarantine_records(&self, count: usize) {
        self.quarantine_records.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How the breaker of a connector stands, and how often it has opened since its agent was loaded.
    pub fn breaker(&self, connector: &str, breaker: &BreakerView) {
        let label = ByConnector { connector: connector.to_owned() };
        let state = match breaker.state {
            "closed" => 0,
            "half-open" => 1,
            _ => 2,
        };
        self.agent_breaker.get_or_create(&label).set(state);
        self.agent_breaker_opened.get_or_create(&label).inner().store(breaker.opened, Relaxed);
    }

    /// The text for `/metrics`. `queued` is counted by the caller, connector by connector.
    #[must_use]
    pub fn render(&self, queued: &[(String, i64)], store_ready: bool) -> String {
        self.store_ready.set(i64::from(store_ready));
        for (connector, count) in queued {
            self.queued.get_or_create(&ByConnector { connector: connector.clone() }).set(*count);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a String does not fail");
        text
    }
}

fn by(connector: &str, what: &str) -> ByConnectorAndWord {
    ByConnectorAndWord { connector: connector.to_owned(), what: what.to_owned() }
}
