//! What the tests of this crate share: a runtime with a cache of its own, agents from `.wat` files, and messages.

#![allow(dead_code, clippy::unwrap_used)]

pub mod encode;
pub mod logs;
pub mod network;
pub mod tls;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use postern_agent::{Agent, AgentConnection, AgentSpec, Limits, LoadError, Runtime, RuntimeConfig};
use postern_model::{
    Content, DeliveryReport, DeliveryRequest, Envelope, Item, ItemId, ItemRecipient, ItemState, MessageId,
    MessageInfo, NextHop, Origin, Priority, Recipient, TypedAddress,
};
use tempfile::TempDir;

/// A runtime, and the folder that its cache and components lie in.
pub struct Bench {
    pub runtime: Runtime,
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut RuntimeConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = RuntimeConfig::new(folder.path().join("cache"));
        config.max_instances = 16;
        config.worker_threads = 2;
        change(&mut config);
        Self { runtime: Runtime::new(config).unwrap(), folder }
    }

    /// A spec for `tests/<name>.wat`, under limits that a test can wait for.
    pub fn spec(&self, name: &str) -> AgentSpec {
        let component = encode::encode_into(&wat(name), self.folder.path());
        AgentSpec { limits: quick(), ..AgentSpec::new(component, "test") }
    }

    pub fn try_load(&self, name: &str) -> Result<Agent, LoadError> {
        self.runtime.load(self.spec(name))
    }

    pub fn load(&self, name: &str) -> Agent {
        self.try_load(name).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A bench whose agents see this network.
    pub fn on(network: &Arc<network::TestNetwork>) -> Self {
        let network = network.clone();
        Self::with(|config| config.network = network)
    }

    /// Runs a future where connections must run.
    pub fn run<R: Send + 'static>(&self, work: impl Future<Output = R> + Send + 'static) -> R {
        self.runtime.handle().block_on(async { tokio::spawn(work).await.unwrap() })
    }

    /// One delivery over a fresh connection, and whether the connection survived it.
    pub fn deliver(&self, agent: &Agent, recipients: usize) -> (DeliveryReport, bool) {
        let agent = agent.clone();
        self.run(async move {
            let mut connection = open(&agent).await;
            let report = connection.deliver(&request(recipients, b"Subject: x\r\n\r\nbody\r\n")).await;
            (report, connection.is_usable())
        })
    }

    /// The texts of so many deliveries over one connection, which is closed then. Each must end in one delivered outcome.
    pub fn texts(&self, agent: &Agent, deliveries: usize) -> Vec<String> {
        let agent = agent.clone();
        self.run(async move {
            let mut connection = open(&agent).await;
            let mut texts = Vec::new();
            for _ in 0..deliveries {
                let report = connection.deliver(&request(1, b"Subject: x\r\n\r\nbody\r\n")).await;
                let text = report.outcomes.first().map(|said| said.outcome.response().text.clone());
                texts.push(text.unwrap_or_else(|| panic!("{report:?}")));
            }
            connection.close().await.unwrap();
            texts
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

pub fn wat(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name).with_extension("wat")
}

/// Limits that bite within a second.
pub fn quick() -> Limits {
    Limits { cpu: Duration::from_millis(200), deadline: Duration::from_secs(20), ..Limits::default() }
}

pub async fn open(agent: &Agent) -> AgentConnection {
    agent.open(&hop()).await.unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

pub fn hop() -> NextHop {
    NextHop::new("test", "far.example")
}

pub fn request(recipients: usize, content: &[u8]) -> DeliveryRequest {
    let content = Content::from(Bytes::copy_from_slice(content));
    let id = MessageId::generate();
    let now = Timestamp::UNIX_EPOCH;
    let recipients = (0..u32::try_from(recipients).unwrap())
        .map(|i| Recipient::new(i, TypedAddress::parse(&format!("FAX:+4930{i}")).unwrap()));
    let item = Item {
        id: ItemId { message: id, ordinal: 0 },
        next_hop: hop(),
        recipients: recipients.map(ItemRecipient::queued).collect(),
        priority: Priority::Normal,
        state: ItemState::Active,
        attempts: 0,
        traps: 0,
        settlements: 0,
        enqueued_at: now,
        next_attempt: now,
        expires_at: None,
        delay_dsn_at: None,
        last_error: None,
    };
    let message = MessageInfo {
        id,
        origin: Origin::Accepted,
        envelope: Envelope::generated("a@b.example", now),
        size: content.size(),
        internet_message_id: None,
        subject: None,
    };
    DeliveryRequest { message: Arc::new(message), item: Arc::new(item), content, attempt: 1 }
}

/// The text of a report's fault.
pub fn fault(report: &DeliveryReport) -> String {
    report.fault.as_ref().map(|fault| fault.response.to_string()).unwrap_or_default()
}
