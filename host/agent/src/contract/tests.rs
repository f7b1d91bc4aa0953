//! Two versions of the contract in one host.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../../tests/support/encode.rs"]
mod encode;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use postern_model::{
    Content, DeliveryReport, DeliveryRequest, Envelope, Item, ItemId, ItemRecipient, ItemState, MessageId,
    MessageInfo, NextHop, Origin, Priority, Recipient, TypedAddress,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::AbiVariant;
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, WasmImport, WorldItem};

use super::*;
use crate::{Agent, AgentSpec, Inbound, InboundMessage, Runtime, RuntimeConfig};

/// Each served version with the folder of its contract and the agent that asks for everything.
const VERSIONS: [(&str, &str, &str); 2] = [
    ("0.1.0", "../../wit/0.1.0", "asks.wat"),
    ("0.2.0-test", "tests/contract/0.2.0-test", "asks-second.wat"),
];

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[derive(Default)]
struct Door(Mutex<Vec<InboundMessage>>);

impl Inbound for Door {
    fn submit(&self, message: InboundMessage) -> BoxFuture<'_, std::result::Result<String, String>> {
        self.0.lock().unwrap().push(message);
        Box::pin(async { Ok("taken".to_owned()) })
    }
}

fn request() -> DeliveryRequest {
    let (id, now) = (MessageId::generate(), jiff::Timestamp::UNIX_EPOCH);
    let content = Content::from(bytes::Bytes::from_static(b"Subject: x\r\n\r\nbody\r\n"));
    let recipient = Recipient::new(0, TypedAddress::parse("FAX:+4930").unwrap());
    let item = Item {
        id: ItemId { message: id, ordinal: 0 },
        next_hop: NextHop::new("test", "far.example"),
        recipients: vec![ItemRecipient::queued(recipient)],
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

fn deliver(runtime: &Runtime, agent: &Agent) -> DeliveryReport {
    let agent = agent.clone();
    let call = async move {
        let mut connection = agent.open(&NextHop::new("test", "far.example")).await.unwrap();
        let report = connection.deliver(&request()).await;
        connection.close().await.unwrap();
        report
    };
    runtime.handle().block_on(async { tokio::spawn(call).await.unwrap() })
}

#[test]
fn agents_of_two_versions_deliver_side_by_side_under_the_same_grants() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new(RuntimeConfig::new(folder.path().join("cache"))).unwrap();
    let spec = |(version, contract, agent): (&str, &str, &str)| {
        let file = folder.path().join(format!("{version}.wasm"));
        let agent = here("tests/contract").join(agent);
        fs::write(&file, encode::encode_for(&agent, &here(contract), version)).unwrap();
        AgentSpec::new(file, version)
    };
    // Everything is shut: both are refused the same, by the same layer, and both deliver all the same.
    let closed = VERSIONS.map(|version| runtime.load(spec(version)).unwrap());
    for (agent, (version, ..)) in closed.iter().zip(VERSIONS) {
        assert_eq!(agent.contract(), version);
        let report = deliver(&runtime, agent);
        assert_eq!(report.outcomes.len(), 1, "{version}: {report:?}");
        let stats = agent.stats();
        assert_eq!((stats.http_refused, stats.inbound_refused), (1, 1), "{version}");
    }
    // One door is opened to both: the changed record arrives as the one that the host knows.
    let mut taken = Vec::new();
    for (version, text) in VERSIONS.into_iter().zip(["done", "0.2.0-test"]) {
        let door = Arc::new(Door::default());
        let mut spec = spec(version);
        spec.doors.inbound = Some(door.clone());
        let agent = runtime.load(spec).unwrap();
        let report = deliver(&runtime, &agent);
        assert_eq!(report.outcomes[0].outcome.response().text, text, "{report:?}");
        assert_eq!((agent.stats().http_refused, agent.stats().inbound_refused), (1, 0));
        taken.extend(door.0.lock().unwrap().drain(..));
    }
    assert_eq!((taken.len(), &taken[0].remote_id[..]), (2, "done"));
    assert_eq!(taken[0], taken[1]);
}

#[test]
fn every_function_of_every_served_version_is_linked() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new(RuntimeConfig::new(folder.path().join("cache"))).unwrap();
    for (version, contract, _) in VERSIONS {
        let component = imports_everything(&here(contract));
        let component = wasmtime::component::Component::new(runtime.engine(), component).unwrap();
        if let Err(error) = runtime.linker().instantiate_pre(&component) {
            panic!("{version}: {error:#}");
        }
    }
}

/// A component that imports every function of the contract, and exports nothing of it.
fn imports_everything(contract: &Path) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(contract).unwrap();
    let world = resolve.select_world(&[package], Some("delivery-agent")).unwrap();
    resolve.worlds[world].exports.clear();
    let mut imports = String::new();
    for (key, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else { continue };
        for func in resolve.interfaces[*id].functions.values() {
            let names = resolve.wasm_import_name(
                ManglingAndAbi::Legacy(LiftLowerAbi::Sync),
                WasmImport::Func { interface: Some(key), func },
            );
            let signature = resolve.wasm_signature(AbiVariant::GuestImport, func);
            let list = |kinds: &[wit_parser::abi::WasmType]| {
                // The contract has no numbers of 64 bits and no floating ones.
                kinds.iter().map(|_| "i32").collect::<Vec<_>>().join(" ")
            };
            let (params, results) = (list(&signature.params), list(&signature.results));
            let (module, name) = names;
            writeln!(imports, "(import {module:?} {name:?} (func (param {params}) (result {results})))")
                .unwrap();
        }
    }
    assert!(imports.contains("swap") && imports.contains("read-line"), "{imports}");
    let memory = "(memory (export \"memory\") 1)
        (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) unreachable)";
    let mut core = wat::parse_str(format!("(module {imports} {memory})")).unwrap();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&core).unwrap().encode().unwrap()
}

#[test]
fn a_version_serves_what_was_built_for_it_or_is_compatible_and_nothing_else() {
    let table = [
        ("0.1.0", "0.1.0", true),
        ("0.1.0", "0.1.9", true),
        ("0.1.9", "0.1.0", true),
        ("0.1.0", "0.2.0", false),
        ("1.2.0", "1.0.0", true),
        ("1.2.0", "2.0.0", false),
        ("0.0.1", "0.0.2", false),
        ("0.2.0-test", "0.2.0-test", true),
        ("0.2.0-test", "0.2.0", false),
        ("0.1.0", "0.1.1-rc", false),
        ("0.1.0", "nonsense", false),
        ("0.1.0", "", false),
    ];
    for (served, built_for, good) in table {
        assert_eq!(serves(served, built_for), good, "{served} for {built_for}");
    }
}

#[test]
fn the_newest_served_version_that_a_component_exports_is_taken() {
    let exports = |versions: &[&str]| -> Vec<String> {
        versions.iter().map(|version| format!("{PACKAGE}agent@{version}")).collect()
    };
    let chosen = |versions: &[&str]| {
        let exports = exports(versions);
        of(&exports).map(|(contract, version)| (contract.version(), version.to_owned())).ok()
    };
    assert_eq!(chosen(&["0.1.3"]), Some(("0.1.0", "0.1.3".to_owned())));
    assert_eq!(chosen(&["0.1.0", "0.2.0-test"]), Some(("0.2.0-test", "0.2.0-test".to_owned())));
    assert_eq!(chosen(&["0.3.0", "0.1.0"]), Some(("0.1.0", "0.1.0".to_owned())));
    assert_eq!(of(&exports(&["0.3.0", "7.0.0"])).err().unwrap(), ["0.3.0", "7.0.0"]);
    assert!(
        of(&[format!("{PACKAGE}batch@0.1.0"), "wasi:cli/run@0.2.0".to_owned()]).err().unwrap().is_empty()
    );
}
