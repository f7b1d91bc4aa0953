//! Which component may run at all: the one whose digest the config names, and one that a trusted key has signed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use postern_tests::{Host, Site, WebhookServer, cli, eventually, messages};
use serde_json::json;

const JO: &str = "jo@home.example";
const ANN: &str = "ann@hook.example";

/// A site whose webhook agent is a copy, so that it can be replaced, and these lines in its table.
fn site(server: &WebhookServer, lines: &str) -> (Site, PathBuf) {
    let site = Site::new();
    let agent = site.folder().join("agents/hook.wasm");
    fs::create_dir(site.folder().join("agents")).unwrap();
    fs::write(&agent, version(0)).unwrap();
    let lines = format!("agent = {:?}\n{lines}", agent.display().to_string());
    (site.webhook("hook", "SMTP:hook.example", &server.url(), "", &lines), agent)
}

/// A version of the agent: the same code, other bytes (a custom section).
fn version(mark: u8) -> Vec<u8> {
    let mut bytes = fs::read(cli::root().join("plugins/prebuilt/webhook.wasm")).unwrap();
    bytes.extend([0, 2, 1, mark]);
    bytes
}

fn sha256(site: &Site, bytes: &[u8]) -> String {
    let file = site.folder().join("measured.wasm");
    fs::write(&file, bytes).unwrap();
    let inspected = site.ask(&["agent", "inspect", file.to_str().unwrap()]);
    inspected["sha256"].as_str().unwrap().to_owned()
}

fn deliver(site: &Site, host: &Host, server: &WebhookServer) {
    let before = server.posted().len();
    host.client().submit(JO, &[ANN], &messages::simple("hello"));
    let _ = server.wait_for(before + 1);
    let count = u64::try_from(before + 1).unwrap();
    eventually("the settlement", || (site.audit()["delivered"] == count).then_some(()));
}

/// What a reload says that changes nothing.
fn refused(site: &Site) -> String {
    let answer = site.cli(&["reload"]);
    assert_ne!(answer.code, 0, "{answer:?}");
    answer.text()
}

/// Somebody who signs files as minisign did before it hashed them first.
struct Signer {
    keys: Ed25519KeyPair,
    id: [u8; 8],
}

impl Signer {
    fn new(seed: u8) -> Self {
        Self { keys: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), id: [seed; 8] }
    }

    /// The second line of its `minisign.pub`.
    fn public_key(&self) -> String {
        base64(&[b"Ed", &self.id[..], self.keys.public_key().as_ref()].concat())
    }

    fn sign(&self, file: &Path) {
        let signature = self.keys.sign(&fs::read(file).unwrap()).as_ref().to_vec();
        let comment = "timestamp:1790000000\tfile:hook.wasm";
        let whole = self.keys.sign(&[&signature, comment.as_bytes()].concat());
        let text = format!(
            "untrusted comment: a test\n{}\ntrusted comment: {comment}\n{}\n",
            base64(&[b"Ed", &self.id[..], &signature].concat()),
            base64(whole.as_ref())
        );
        fs::write(signature_of(file), text).unwrap();
    }
}

fn signature_of(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.minisig", file.display()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[test]
fn another_component_than_the_pinned_one_is_not_loaded_and_the_one_before_runs_on() {
    let server = WebhookServer::start();
    let first = sha256(&Site::new(), &version(0));
    let (mut site, agent) = site(&server, &format!("sha256 = \"{first}\""));
    let second = sha256(&site, &version(1));
    let host = site.start();
    assert_eq!(site.connector("hook")["state"], "ready");
    deliver(&site, &host, &server);

    // Replaced in place: the running one goes on, and whoever asks is told why.
    fs::write(&agent, version(1)).unwrap();
    let said = refused(&site);
    for part in ["hook.wasm", first.as_str(), second.as_str()] {
        assert!(said.contains(part), "{part}: {said}");
    }
    deliver(&site, &host, &server);
    host.stop();

    // After a start there is nothing that could go on: the mail waits.
    let check = site.cli(&["check"]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.json().to_string().contains(&second), "{check:?}");
    let host = site.start();
    let row = site.connector("hook");
    assert_eq!(row["state"], "disabled", "{row}");
    assert!(row["reason"].as_str().unwrap_or_default().contains(&second), "{row}");
    host.client().submit(JO, &[ANN], &messages::simple("waits"));
    eventually("a queue in retry", || site.queue("hook").filter(|queue| queue["state"] == "retry"));

    // The operator names the new one.
    site.change(&first, &second);
    site.order(&["reload"]);
    assert_eq!(site.connector("hook")["state"], "ready");
    site.order(&["queue", "retry", "hook/hook.example"]);
    let _ = server.wait_for(3);
    host.stop();
    site.audit();
}

#[test]
fn a_pin_is_an_agreement_to_what_the_component_wants() {
    let server = WebhookServer::start();
    let (mut site, agent) = site(&server, "comment = \"not pinned\"");
    let host = site.start();
    fs::write(&agent, version(1)).unwrap();
    fs::write(agent.with_extension("toml"), "v = 1\n[asks]\ninbound = true\n").unwrap();
    site.order(&["reload"]);
    assert!(site.connector("hook")["reason"].as_str().unwrap_or_default().contains("inbound mail"));
    let pin = format!("sha256 = \"{}\"", sha256(&site, &version(1)));
    site.change("comment = \"not pinned\"", &pin);
    site.order(&["reload"]);
    assert_eq!(site.connector("hook")["reason"], json!(null));
    deliver(&site, &host, &server);
    host.stop();
}

#[test]
fn an_unsigned_agent_is_refused_and_a_signed_one_runs() {
    let server = WebhookServer::start();
    let (ours, theirs) = (Signer::new(1), Signer::new(2));
    let (site, agent) = site(&server, "");
    let site = site
        .section(&format!("[agents]\nrequire_signature = true\ntrusted_keys = [\"{}\"]", ours.public_key()));
    let host = site.start();
    let row = site.connector("hook");
    assert_eq!(row["state"], "disabled", "{row}");
    let reason = row["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("must be signed") && reason.contains("hook.wasm.minisig"), "{row}");
    assert!(site.cli(&["check"]).json().to_string().contains("must be signed"));

    ours.sign(&agent);
    site.order(&["reload"]);
    assert_eq!(site.connector("hook")["state"], "ready");
    deliver(&site, &host, &server);

    // Replaced in place: with the signature of the one before, then with one of somebody else's.
    fs::write(&agent, version(1)).unwrap();
    assert!(refused(&site).contains("not the signature of this file"));
    theirs.sign(&agent);
    assert!(refused(&site).contains("not among trusted_keys"));
    deliver(&site, &host, &server);
    ours.sign(&agent);
    site.order(&["reload"]);
    deliver(&site, &host, &server);

    // A version that wants more is held back, and the one before goes on over a restart with the signature kept for it.
    fs::write(&agent, version(2)).unwrap();
    fs::write(agent.with_extension("toml"), "v = 1\n[asks]\ninbound = true\n").unwrap();
    ours.sign(&agent);
    host.stop();
    let host = site.start();
    let row = site.connector("hook");
    assert_eq!(row["state"], "ready", "{row}");
    assert!(row["reason"].as_str().unwrap_or_default().contains("inbound mail"), "{row}");
    deliver(&site, &host, &server);
    host.stop();
    fs::remove_dir_all(site.data().join("agents/signatures")).unwrap();
    let host = site.start();
    assert_eq!(site.connector("hook")["state"], "disabled", "a copy that shows no signature does not run");
    host.stop();
}

#[test]
fn only_what_is_signed_is_installed() {
    let server = WebhookServer::start();
    let (ours, theirs) = (Signer::new(1), Signer::new(2));
    let (site, agent) = site(
        &server,
        &format!("trusted_keys = [\"{}\"]\nsignature = \"agents/hook.sig\"", ours.public_key()),
    );
    let offered = site.folder().join("new.wasm");
    fs::write(&offered, version(1)).unwrap();
    let install = ["agent", "install", offered.to_str().unwrap(), "--connector", "hook"];
    let refused = site.cli(&install);
    assert!(refused.code != 0 && refused.text().contains("new.wasm.minisig"), "{refused:?}");
    theirs.sign(&offered);
    let refused = site.cli(&install);
    assert!(refused.code != 0 && refused.text().contains("trusted_keys"), "{refused:?}");
    assert_eq!(fs::read(&agent).unwrap(), version(0), "nothing was put in its place");

    ours.sign(&offered);
    assert_eq!(site.cli(&install).code, 0);
    assert_eq!(fs::read(&agent).unwrap(), version(1));
    let signature = fs::read(site.folder().join("agents/hook.sig")).unwrap();
    assert_eq!(signature, fs::read(signature_of(&offered)).unwrap(), "the signature comes along");
    let host = site.start();
    assert_eq!(site.connector("hook")["state"], "ready");
    deliver(&site, &host, &server);
    host.stop();

    // A pin holds for installations, too.
    let mut site = site;
    site.change("signature = \"agents/hook.sig\"", &format!("sha256 = \"{}\"", "ab".repeat(32)));
    let refused = site.cli(&install);
    assert!(refused.code != 0 && refused.text().contains(&"ab".repeat(32)), "{refused:?}");
}
