//! Agent: one loaded delivery agent, as one connector uses it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_model::text::one_line;
use postern_model::{AgentIdentity, Arrival, Deferral, NextHop, NotOpened, Receipt, Refusal};
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::bindings::{exported, imported};
use crate::callback::{CallbackReply, CallbackRequest};
use crate::connection::AgentConnection;
use crate::contract::{self, PACKAGE};
use crate::directory::Directories;
use crate::egress::{Authorities, Dialler, Trust};
use crate::fault::{self, Fault, Phase};
use crate::http::{HttpClient, HttpPolicy};
use crate::inbound::Inbound;
use crate::instance::{Instance, Prepared};
use crate::kept::{KeptState, StateDoor};
use crate::limits::{Limit, LimitCounts};
use crate::outcome;
use crate::recording::Tape;
use crate::runtime::Runtime;
use crate::secret::Masks;
use crate::size::Size;
use crate::state::Shared;
use crate::stats::{AgentStats, Stats};
use crate::tcp::TcpDoor;
use crate::witness::{Violation, Witness};
use crate::{Grants, HttpGrant, Limits, Secret, TcpGrant};

/// The longest name, version, protocol or media type in a description, in bytes.
const MAX_DESCRIPTION: usize = 128;
/// The longest name of an import or export that is shown, in bytes.
const MAX_NAME: usize = 200;
/// Media types in a description.
const MAX_ACCEPTS: usize = 100;

/// What to load, and what it may do.
#[derive(Clone, Debug)]
pub struct AgentSpec {
    /// The component file.
    pub component: PathBuf,
    /// The SHA-256 that it must have, in lower-case hex; `None`: any.
    pub sha256: Option<String>,
    /// The connector's name, for logs and for the agent.
    pub connector: String,
    /// The connector's settings, which the agent reads as JSON.
    pub settings: serde_json::Value,
    /// What it may do beside handling its message.
    pub grants: Grants,
    /// What it may use.
    pub limits: Limits,
    /// The host's secrets; the agent gets those that are granted. Client certificates of [`Grants::tcp`] come from here
    /// too, and the agent does not get them for that.
    pub secrets: BTreeMap<String, Secret>,
    /// A PEM file of authorities that the agent's far ends may have their certificates from, beside those that the
    /// system trusts.
    pub trusted_certificates: Option<PathBuf>,
    /// The protocol that the connector demands (Exchange: `DeliveryProtocol`); the agent's must match. `None`: any.
    pub delivery_protocol: Option<String>,
    /// Doors to the host itself.
    pub doors: Doors,
}

/// The doors to the host itself that are granted to an agent. All are closed by default.
#[derive(Clone, Default)]
pub struct Doors {
    /// Where its state is kept.
    pub state: Option<Arc<dyn KeptState>>,
    /// How many bytes of keys and values that may be.
    pub state_quota: u64,
    /// Takes the mail that it hands in.
    pub inbound: Option<Arc<dyn Inbound>>,
    /// Where its provider can call it back.
    pub callback_url: Option<String>,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors")
            .field("state", &self.state.is_some())
            .field("state_quota", &self.state_quota)
            .field("inbound", &self.inbound.is_some())
            .field("callback_url", &self.callback_url.is_some())
            .finish()
    }
}

impl AgentSpec {
    /// An agent without settings, grants or secrets, under the default limits.
    #[must_use]
    pub fn new(component: impl Into<PathBuf>, connector: &str) -> Self {
        Self {
            component: component.into(),
            sha256: None,
            connector: connector.to_owned(),
            settings: serde_json::Value::Object(serde_json::Map::new()),
            grants: Grants::default(),
            limits: Limits::default(),
            secrets: BTreeMap::new(),
            trusted_certificates: None,
            delivery_protocol: None,
            doors: Doors::default(),
        }
    }
}

/// What an agent says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The protocol that it speaks to the far end.
    pub protocol: String,
    /// Media types that it can deliver; empty: anything.
    pub accepts: Vec<String>,
    /// The largest message that it can deliver, in bytes.
    pub max_size: Option<u32>,
}

/// The optional interfaces of the contract that a component exports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Interfaces {
    /// Several items at once.
    pub batch: bool,
    /// Ticks on an idle connection.
    pub session: bool,
    /// Asked about receipts.
    pub receipts: bool,
    /// Call-backs of a provider.
    pub callback: bool,
    /// Asked after a crash.
    pub probe: bool,
}

/// Why an agent cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file is larger than [`Limits::component_bytes`].
    #[error("{}: {size} bytes are too many (limit {})", path.display(), Limit::ComponentBytes.with(*max))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// It is not the component that was expected.
    #[error("{}: its sha256 is {found}, expected is {expected}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// The digest that it must have.
        expected: String,
        /// The digest that it has.
        found: String,
    },
    /// It is no component, or needs what the engine does not offer.
    #[error("{} is no component that this host can run: {error}", path.display())]
    Compile {
        /// The file.
        path: PathBuf,
        /// What the compiler said.
        error: String,
    },
    /// It imports what this host does not offer.
    #[error("{} imports what this host does not offer: {}{}{error}", path.display(), unknown.join(", "), if unknown.is_empty() { "" } else { ": " })]
    Imports {
        /// The file.
        path: PathBuf,
        /// Interfaces of packages that are unknown; empty when the types of a known one differ.
        unknown: Vec<String>,
        /// What the linker said.
        error: String,
    },
    /// It does not export the `agent` interface, or not as the contract says.
    #[error("{} is no delivery agent: {error}; it exports: {}", path.display(), list(exports))]
    NotAnAgent {
        /// The file.
        path: PathBuf,
        /// What it exports.
        exports: Vec<String>,
        /// What is wrong.
        error: String,
    },
    /// It was built for a version of the contract that this host does not serve.
    #[error("{} was built for version {} of the delivery agent contract; this host serves {}: build the agent for one of those, or take a Postern that serves it", path.display(), built_for.join(", "), contract::served())]
    Contract {
        /// The file.
        path: PathBuf,
        /// The versions whose `agent` interface it exports.
        built_for: Vec<String>,
    },
    /// A limit is above what the runtime was made for.
    #[error("the limit {name} = {value} is above this host's ceiling of {ceiling}")]
    Limit {
        /// The limit.
        name: &'static str,
        /// What was asked for.
        value: usize,
        /// The most that there is.
        ceiling: usize,
    },
    /// A granted secret does not exist.
    #[error("the secret {0:?} is granted but not defined")]
    Secret(String),
    /// The system's certificates cannot be read.
    #[error("the system's trusted certificates cannot be read: {0}")]
    Certificates(std::io::Error),
    /// The file of [`AgentSpec::trusted_certificates`] is of no use.
    #[error("the trusted certificates in {}: {why}", path.display())]
    TrustedCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A client certificate of a TCP grant is of no use.
    #[error("the client certificate in the secret {secret:?} cannot be used: {why}")]
    ClientCertificate {
        /// The secret.
        secret: String,
        /// What is wrong with it.
        why: String,
    },
    /// A granted folder cannot be opened.
    #[error("the granted directory {}: {why}", path.display())]
    Directory {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It could not describe itself.
    #[error("{0}")]
    Describe(String),
    /// It speaks another protocol than the connector demands.
    #[error("the agent speaks {speaks:?}, the connector demands delivery_protocol = {wanted:?}")]
    Protocol {
        /// What the agent says.
        speaks: String,
        /// What the connector says.
        wanted: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// A loaded agent. Cheap to clone.
#[derive(Clone)]
pub struct Agent(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    prepared: Prepared,
    shared: Arc<Shared>,
    description: Description,
    digest: String,
    /// What is told of it where it breaks.
    identity: Arc<AgentIdentity>,
    authorities: Option<Authorities>,
    imports: Vec<String>,
    exports: Vec<String>,
    /// The version of the contract that it was built for.
    contract: String,
    protocol: String,
}

impl Agent {
    /// Loads an agent; in a conformance run somebody looks on.
    pub(crate) fn load(
        runtime: &Runtime,
        spec: AgentSpec,
        witness: Option<Arc<Witness>>,
    ) -> Result<Self, LoadError> {
        check_ceilings(runtime, &spec.limits)?;
        let path = spec.component.clone();
        let connector = spec.connector.clone();
        let wasm = read(&path, spec.limits.component_bytes).inspect_err(|error| {
            if matches!(error, LoadError::TooLarge { .. }) {
                let one = LimitCounts::from_fn(|limit| u64::from(limit == Limit::ComponentBytes));
                runtime.hit_at_load(&connector, &one);
            }
        })?;
        let digest = digest(&wasm);
        if let Some(expected) = spec.sha256.clone().filter(|expected| *expected != digest) {
            return Err(LoadError::Digest { path, expected, found: digest });
        }
        let component = runtime.cache().component(runtime.engine(), &wasm, &digest).map_err(|error| {
            LoadError::Compile { path: path.clone(), error: one_line(&format!("{error:#}"), 500) }
        })?;
        let size = Size::of(&wasm, &component);
        drop(wasm);
        let (imports, exports) = names(runtime, &component);
        let (prepared, contract) = prepare(runtime, &component, size, &path, &imports, &exports)?;
        let wanted = spec.delivery_protocol.clone();
        let authorities = authorities(&spec)?;
        let shared = share(runtime, spec, authorities.as_ref(), witness)?;
        let described = runtime.handle().block_on(describe(runtime, &prepared, &shared));
        let description =
            described.inspect_err(|_| runtime.hit_at_load(&connector, &shared.stats.snapshot().limits))?;
        if let Some(wanted) = &wanted
            && !wanted.eq_ignore_ascii_case(&description.protocol)
        {
            return Err(LoadError::Protocol { speaks: description.protocol, wanted: wanted.clone() });
        }
        let protocol = wanted.unwrap_or_else(|| description.protocol.clone());
        let runtime = runtime.clone();
        let (name, version) = (description.name.clone(), description.version.clone());
        let identity = Arc::new(AgentIdentity { name, version, sha256: digest.clone() });
        Ok(Self(Arc::new(Inner {
            runtime,
            prepared,
            shared,
            description,
            digest,
            identity,
            authorities,
            imports,
            exports,
            contract,
            protocol,
        })))
    }

    /// What the agent says about itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// Its name, version and digest, as they are told where it breaks.
    #[must_use]
    pub fn identity(&self) -> &AgentIdentity {
        &self.0.identity
    }

    /// SHA-256 of the component, in lower-case hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The version of the contract that it is built for.
    #[must_use]
    pub fn contract(&self) -> &str {
        &self.0.contract
    }

    /// Whether this file is there and holds another component. Blocking: the file is read.
    #[must_use]
    pub fn differs_from(&self, file: &Path) -> bool {
        read(file, self.limits().component_bytes).is_ok_and(|wasm| digest(&wasm) != self.0.digest)
    }

    /// The component that it was made from, read again from this file. Blocking.
    ///
    /// # Errors
    /// When the file cannot be read, or holds another component by now.
    pub fn component_in(&self, file: &Path) -> io::Result<Vec<u8>> {
        let wasm = read(file, self.limits().component_bytes).map_err(io::Error::other)?;
        // The very bytes that are given back are compared, so that nothing can be exchanged in between.
        if digest(&wasm) != self.0.digest {
            return Err(io::Error::other("it holds another component by now"));
        }
        Ok(wasm)
    }

    /// Whether its file of trusted certificates is there and has changed since. Blocking: the file is read.
    #[must_use]
    pub fn trusts_others_by_now(&self) -> bool {
        self.0.authorities.as_ref().is_some_and(Authorities::have_changed)
    }

    /// Whether other folders lie by now where its granted ones did. Blocking.
    #[must_use]
    pub fn has_other_folders_by_now(&self) -> bool {
        self.0.shared.directories.have_changed()
    }

    /// Which of the host's pools its instances come from.
    #[must_use]
    pub fn size(&self) -> Size {
        self.0.prepared.size
    }

    /// The interfaces that the component imports.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// What the component exports.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.0.exports
    }

    /// The optional interfaces that it implements.
    #[must_use]
    pub fn interfaces(&self) -> Interfaces {
        self.0.prepared.interfaces
    }

    /// Whether it can be asked about receipts.
    #[must_use]
    pub fn has_receipts(&self) -> bool {
        self.0.prepared.interfaces.receipts
    }

    /// What it has done since it was loaded.
    #[must_use]
    pub fn stats(&self) -> AgentStats {
        self.0.shared.stats.snapshot()
    }

    /// Makes an instance and opens a connection to a destination. Must run on [`Runtime::handle`].
    ///
    /// # Errors
    /// The agent's own answer about the queue; or, when it trapped, overran a limit or no instance came free in time, a
    /// deferral of the queue that says so.
    pub async fn open(&self, hop: &NextHop) -> Result<AgentConnection, NotOpened> {
        self.open_over(hop, &self.0.protocol, Tape::Off).await
    }

    /// What its instances share, and the protocol they are told.
    pub(crate) fn shared(&self) -> (&Arc<Shared>, &str) {
        (&self.0.shared, &self.0.protocol)
    }

    /// Opens a connection with a tape below its calls of the host.
    pub(crate) async fn open_over(
        &self,
        hop: &NextHop,
        protocol: &str,
        tape: Tape,
    ) -> Result<AgentConnection, NotOpened> {
        let mut instance =
            self.taped_instance(Phase::Open, tape).await.map_err(|fault| not_opened(&fault))?;
        let hop = imported::types::NextHop {
            connector: hop.connector.to_string(),
            protocol: protocol.to_owned(),
            destination: hop.destination.to_string(),
        };
        let deadline = instance.begin(Phase::Open);
        let called =
            tokio::time::timeout_at(deadline, instance.guest.open_connection(&mut instance.store, &hop))
                .await;
        match instance.end(Phase::Open, called) {
            Ok(Ok(label)) => {
                let kept = instance.store.data_mut().commit_kept(Phase::Open).await;
                kept.map_err(Refusal::DeferQueue)?;
                if let Some(witness) = self.0.shared.stats.witness() {
                    look_at_label(witness, &label, self.limits().label);
                }
                let max = self.limits().label;
                if label.len() > max {
                    instance.store.data().log.hit(Limit::Label);
                }
                let label = one_line(&label, max);
                let identity = self.0.identity.clone();
                Ok(AgentConnection::new(self.0.shared.clone(), instance, label, identity))
            }
            Ok(Err(refusal)) => Err(outcome::refusal(refusal, &instance.store.data().log).into()),
            Err(fault) => Err(not_opened(&fault)),
        }
    }

    /// Asks about receipts that are still pending, in a fresh instance without an open connection. Must run on
    /// [`Runtime::handle`]. An agent without the `receipts` interface has none.
    ///
    /// # Errors
    /// The agent's own error, a trap or an overrun, as a deferral: nothing is known, ask again later.
    pub async fn poll_receipts(&self, ids: &[String]) -> Result<Vec<Receipt>, Deferral> {
        if !self.has_receipts() {
            return Ok(Vec::new());
        }
        let mut instance = self.instance(Phase::PollReceipts).await.map_err(|fault| fault.deferral())?;
        let deadline = instance.begin(Phase::PollReceipts);
        let called = tokio::time::timeout_at(deadline, instance.guest.poll(&mut instance.store, ids)).await;
        match instance.end(Phase::PollReceipts, called) {
            Ok(Ok(said)) => {
                instance.store.data_mut().commit_kept(Phase::PollReceipts).await?;
                Ok(outcome::receipts(said, &instance.store.data().log))
            }
            Ok(Err(text)) => Err(fault::told(Phase::PollReceipts, &text, &instance.store.data().log)),
            Err(fault) => Err(fault.deferral()),
        }
    }

    /// Asks what became of a hand-over that nobody saw the end of, by the recipient's idempotency key, in a fresh instance
    /// without an open connection. Must run on [`Runtime::handle`]. An agent without the `probe` interface cannot tell.
    ///
    /// # Errors
    /// The agent's own error, a trap or an overrun, as a deferral: ask again later.
    pub async fn did_it_arrive(&self, idempotency_key: &str) -> Result<Arrival, Deferral> {
        if !self.0.prepared.interfaces.probe {
            return Ok(Arrival::CannotTell);
        }
        let mut instance = self.instance(Phase::Probe).await.map_err(|fault| fault.deferral())?;
        let deadline = instance.begin(Phase::Probe);
        let called = tokio::time::timeout_at(
            deadline,
            instance.guest.did_it_arrive(&mut instance.store, idempotency_key),
        )
        .await;
        match instance.end(Phase::Probe, called) {
            Ok(Ok(exported::probe::Answer::NeverSeen)) => Ok(Arrival::NeverSeen),
            Ok(Ok(exported::probe::Answer::CannotTell)) => Ok(Arrival::CannotTell),
            Ok(Ok(exported::probe::Answer::Known(said))) => {
                let log = &instance.store.data().log;
                let known = outcome::outcome(said, log);
                known.map(Arrival::Known).map_err(|(violation, why)| {
                    log.violation(violation, &why);
                    fault::told(Phase::Probe, &why, log)
                })
            }
            Ok(Err(text)) => Err(fault::told(Phase::Probe, &text, &instance.store.data().log)),
            Err(fault) => Err(fault.deferral()),
        }
    }

    /// Hands a call-back of the provider to the agent, in a fresh instance without an open connection. Must run on
    /// [`Runtime::handle`].
    ///
    /// # Errors
    /// The agent's own error, a trap, an overrun, or that it takes no call-backs, as a deferral: the provider is to call
    /// again.
    pub async fn handle_callback(&self, request: CallbackRequest) -> Result<CallbackReply, Deferral> {
        if !self.0.prepared.interfaces.callback {
            return Err(fault::failed(Phase::Callback, "the agent takes no call-backs"));
        }
        let mut instance = self.instance(Phase::Callback).await.map_err(|fault| fault.deferral())?;
        let deadline = instance.begin(Phase::Callback);
        let request = request.into();
        let called =
            tokio::time::timeout_at(deadline, instance.guest.handle(&mut instance.store, &request)).await;
        match instance.end(Phase::Callback, called) {
            Ok(Ok(said)) => {
                instance.store.data_mut().commit_kept(Phase::Callback).await?;
                let receipts = outcome::receipts(said.receipts, &instance.store.data().log);
                Ok(CallbackReply { status: said.status, headers: said.headers, body: said.body, receipts })
            }
            Ok(Err(text)) => Err(fault::told(Phase::Callback, &text, &instance.store.data().log)),
            Err(fault) => Err(fault.deferral()),
        }
    }

    fn limits(&self) -> &Limits {
        &self.0.shared.limits
    }

    /// An instance for a call of this phase.
    async fn instance(&self, phase: Phase) -> Result<Instance, Fault> {
        self.taped_instance(phase, Tape::Off).await
    }

    async fn taped_instance(&self, phase: Phase, tape: Tape) -> Result<Instance, Fault> {
        start(&self.0.runtime, &self.0.prepared, &self.0.shared, phase, Limit::Deadline, tape).await
    }
}

fn not_opened(fault: &Fault) -> NotOpened {
    NotOpened { refusal: Refusal::DeferQueue(fault.deferral()), trapped: fault.is_the_agents() }
}

async fn start(
    runtime: &Runtime,
    prepared: &Prepared,
    shared: &Arc<Shared>,
    phase: Phase,
    limit: Limit,
    tape: Tape,
) -> Result<Instance, Fault> {
    let size = prepared.size;
    let slot = match runtime.free_slot(size) {
        Some(slot) => Some(slot),
        None => {
            shared.stats.limit(runtime.instances(size).0);
            runtime.slot(size, shared.limits.slot_wait).await
        }
    };
    let Some(slot) = slot else {
        let fault = Fault::no_slot(phase, &shared.limits, runtime.instances(size));
        shared.stats.limit(Limit::SlotWait);
        shared.stats.fault(&fault);
        return Err(fault);
    };
    Instance::start(runtime.engine(), prepared, shared, slot, limit, tape).await
}

async fn describe(
    runtime: &Runtime,
    prepared: &Prepared,
    shared: &Arc<Shared>,
) -> Result<Description, LoadError> {
    let failed = |fault: Fault| LoadError::Describe(fault.to_string());
    let (phase, limit) = (Phase::Describe, Limit::DescribeDeadline);
    let mut instance = start(runtime, prepared, shared, phase, limit, Tape::Off).await.map_err(failed)?;
    let deadline = instance.begin(phase);
    let called = tokio::time::timeout_at(deadline, instance.guest.describe(&mut instance.store)).await;
    let said = instance.end(Phase::Describe, called).map_err(failed)?;
    if let Some(witness) = shared.stats.witness() {
        look_at_description(witness, &said);
    }
    let clean = |text: &str| one_line(text, MAX_DESCRIPTION);
    Ok(Description {
        name: clean(&said.name),
        version: clean(&said.version),
        protocol: clean(&said.protocol),
        accepts: said.accepts.iter().take(MAX_ACCEPTS).map(|kind| clean(kind)).collect(),
        max_size: said.max_size,
    })
}

/// SHA-256 in lower-case hex.
fn digest(wasm: &[u8]) -> String {
    Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn look_at_label(witness: &Witness, label: &str, max: usize) {
    if label.trim().is_empty() {
        witness.violation(Violation::Label, "the label is empty");
    }
    witness.text(Violation::Label, "the label", label, max);
}

fn look_at_description(witness: &Witness, said: &exported::agent::Description) {
    let of = Violation::Description;
    for (name, text) in [("name", &said.name), ("version", &said.version), ("protocol", &said.protocol)] {
        if text.trim().is_empty() {
            witness.violation(of, &format!("the {name} is empty"));
        }
        witness.text(of, &format!("the {name}"), text, MAX_DESCRIPTION);
    }
    if said.accepts.len() > MAX_ACCEPTS {
        witness.violation(of, &format!("{} media types, more than {MAX_ACCEPTS}", said.accepts.len()));
    }
    for kind in &said.accepts {
        let parts = kind.split_once('/');
        if parts.is_none_or(|(main, sub)| main.is_empty() || sub.is_empty() || sub.contains('/')) {
            witness.violation(of, &format!("{kind:?} is no media type"));
        }
        witness.text(of, "a media type", kind, MAX_DESCRIPTION);
    }
    if said.max_size == Some(0) {
        witness.violation(of, "max-size = 0: nothing could ever be delivered");
    }
}

fn read(path: &std::path::Path, max: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |error| LoadError::Read { path: path.to_owned(), error };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > max {
        return Err(LoadError::TooLarge { path: path.to_owned(), size, max });
    }
    std::fs::read(path).map_err(failed)
}

fn check_ceilings(runtime: &Runtime, limits: &Limits) -> Result<(), LoadError> {
    let config = runtime.config();
    let table = [
        ("memory", limits.memory, config.memory_ceiling),
        ("table_elements", limits.table_elements, config.table_ceiling),
    ];
    for (name, value, ceiling) in table {
        if value > ceiling {
            return Err(LoadError::Limit { name, value, ceiling });
        }
    }
    Ok(())
}

fn names(runtime: &Runtime, component: &Component) -> (Vec<String>, Vec<String>) {
    let about = component.component_type();
    // A name may be a URL, which the validator does not look into.
    let shown = |name: &str| one_line(name, MAX_NAME);
    let imports = about.imports(runtime.engine()).map(|(name, _)| shown(name)).collect();
    let exports = about.exports(runtime.engine()).map(|(name, _)| shown(name)).collect();
    (imports, exports)
}

/// Links a component in the version of the contract that it was built for, and gives that version.
fn prepare(
    runtime: &Runtime,
    component: &Component,
    size: Size,
    path: &Path,
    imports: &[String],
    exports: &[String],
) -> Result<(Prepared, String), LoadError> {
    let text = |error: &wasmtime::Error| one_line(&format!("{error:#}"), 500);
    let not_an_agent =
        |error| LoadError::NotAnAgent { path: path.to_owned(), exports: exports.to_vec(), error };
    let chosen = contract::of(exports);
    if let Err(built_for) = &chosen
        && !built_for.is_empty()
    {
        let built_for = built_for.iter().map(|&version| version.to_owned()).collect();
        return Err(LoadError::Contract { path: path.to_owned(), built_for });
    }
    let pre = runtime.linker().instantiate_pre(component).map_err(|error| {
        let known = |name: &&String| !name.starts_with(PACKAGE) && !name.starts_with("wasi:");
        LoadError::Imports {
            path: path.to_owned(),
            unknown: imports.iter().filter(known).cloned().collect(),
            error: text(&error),
        }
    })?;
    let (contract, version) = chosen.map_err(|_| {
        not_an_agent(format!("it does not export {PACKAGE}agent of version {}", contract::served()))
    })?;
    let has = |name: &str| exports.iter().any(|export| *export == format!("{PACKAGE}{name}@{version}"));
    let interfaces = Interfaces {
        batch: has("batch"),
        session: has("session"),
        receipts: has("receipts"),
        callback: has("callback"),
        probe: has("probe"),
    };
    let load = contract.find(&pre, interfaces).map_err(|error| not_an_agent(text(&error)))?;
    Ok((Prepared { pre, load, interfaces, size }, version.to_owned()))
}

fn share(
    runtime: &Runtime,
    spec: AgentSpec,
    authorities: Option<&Authorities>,
    witness: Option<Arc<Witness>>,
) -> Result<Arc<Shared>, LoadError> {
    let trust = trust(runtime, &spec.grants, authorities)?;
    let dialler = Dialler::new(runtime.config().network.clone());
    let tcp = (!spec.grants.tcp.is_empty())
        .then(|| TcpDoor::new(&spec.grants.tcp, &trust, &spec.secrets, dialler.clone()))
        .transpose()?;
    let directories = Directories::open(&spec.grants.directories)?;
    let mut secrets = BTreeMap::new();
    for name in spec.grants.secrets {
        let secret = spec.secrets.get(&name).ok_or_else(|| LoadError::Secret(name.clone()))?;
        secrets.insert(name, secret.clone());
    }
    let masks = Arc::new(Masks::of(&secrets));
    let secrets = Arc::new(secrets);
    let grants: Arc<[_]> = spec.grants.http.into();
    let limits = spec.limits;
    let policy = HttpPolicy::new(grants.clone(), secrets.clone(), &limits);
    let http = (!grants.is_empty()).then(|| HttpClient::new(grants, policy, &limits, &trust, dialler));
    Ok(Arc::new(Shared {
        connector: spec.connector.into(),
        settings: spec.settings.to_string(),
        secrets,
        masks,
        limits,
        http,
        tcp,
        directories,
        clocks: spec.grants.clocks,
        random: spec.grants.random,
        state: spec.doors.state.map(|store| StateDoor { store, quota: spec.doors.state_quota }),
        inbound: spec.doors.inbound,
        callback_url: spec.doors.callback_url,
        stats: Arc::new(Stats::watched_by(witness)),
        parse_budget: runtime.parse_budget(),
        clock: runtime.clock().clone(),
    }))
}

/// The authorities that the operator has named for an agent.
fn authorities(spec: &AgentSpec) -> Result<Option<Authorities>, LoadError> {
    let Some(path) = &spec.trusted_certificates else { return Ok(None) };
    let failed = |why| LoadError::TrustedCertificates { path: path.clone(), why };
    Authorities::read(path).map(Some).map_err(failed)
}

/// Whom an agent trusts. A machine without certificates still serves agents that speak no TLS.
fn trust(runtime: &Runtime, grants: &Grants, more: Option<&Authorities>) -> Result<Trust, LoadError> {
    if !grants.http.iter().any(HttpGrant::is_tls) && !grants.tcp.iter().any(TcpGrant::is_tls) {
        return Ok(Trust::nobody());
    }
    Trust::new(runtime.roots(), more).map_err(LoadError::Certificates)
}
