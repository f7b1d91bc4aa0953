//! What is rebuilt, what is refused, and what is said about it. No compiler is needed here.

use std::sync::atomic::{AtomicU32, Ordering};

use super::route::Versions;
use super::*;

/// A folder that looks like a checkout with one agent, and goes when the test ends.
struct Checkout(PathBuf);

impl Checkout {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("postern-agents-{}-{number}", std::process::id()));
        let checkout = Self(root);
        checkout.write("plugins/Cargo.toml", "[workspace]\nmembers = [\"sdk\", \"pager\"]\n");
        checkout.write("plugins/Cargo.lock", "version = 4\n");
        checkout.write("plugins/sdk/Cargo.toml", "[package]\nname = \"sdk\"\n");
        checkout.write("plugins/sdk/src/lib.rs", "");
        checkout.write(
            "plugins/pager/Cargo.toml",
            "[package]\nname = \"pager\"\n[lib]\ncrate-type = [\"cdylib\"]\n",
        );
        checkout.write("plugins/pager/src/lib.rs", "fn main() {}");
        checkout.write("wit/0.1.0/agent.wit", "package a:b;");
        checkout
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.0.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// As if the agents had just been built.
    fn built(&self) {
        self.write("plugins/prebuilt/pager.wasm", "component");
        let built = [("pager".to_owned(), b"component".to_vec())];
        Record::new(versions("rustc 1"), sources::hash(&self.0).unwrap(), &built).write(&self.0).unwrap();
    }

    fn check(&self) -> String {
        match run(&self.0, AgentsArguments { check: true, force: false }) {
            Err(Fault::Failed(text)) => text,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn versions(rustc: &str) -> Versions {
    Versions {
        route: "build-std".to_owned(),
        rustc: format!("{rustc}\nbinary: rustc\n"),
        cargo: "cargo 1".to_owned(),
        linker: "LLD 1".to_owned(),
        wit_component: "0.1".to_owned(),
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_command_line_is_build_and_its_options() {
    let parsed = |line| AgentsArguments::parse(&words(line));
    assert_eq!(parsed("build"), Ok(AgentsArguments::default()));
    assert_eq!(parsed("build --check"), Ok(AgentsArguments { check: true, force: false }));
    assert_eq!(parsed("build --force"), Ok(AgentsArguments { check: false, force: true }));
    for line in ["", "check", "build --chek"] {
        assert_eq!(parsed(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn agents_are_built_again_only_when_their_sources_change() {
    let checkout = Checkout::new();
    checkout.built();
    let build = || run(&checkout.0, AgentsArguments::default());
    assert_eq!(build(), Ok(Done::UpToDate));
    checkout.write("plugins/pager/src/tests.rs", "a test");
    checkout.write("plugins/pager/README.md", "words");
    checkout.write("plugins/pager/target/x.rs", "made");
    assert_eq!(build(), Ok(Done::UpToDate));
}

#[test]
fn every_source_counts() {
    let checkout = Checkout::new();
    let mut seen = vec![sources::hash(&checkout.0).unwrap()];
    for file in [
        "plugins/Cargo.toml",
        "plugins/Cargo.lock",
        "plugins/sdk/src/lib.rs",
        "plugins/pager/Cargo.toml",
        "plugins/pager/src/new.rs",
        "wit/0.1.0/agent.wit",
    ] {
        checkout.write(file, "other");
        seen.push(sources::hash(&checkout.0).unwrap());
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all);
}

#[test]
fn kept_files_that_are_not_what_the_record_says_are_refused() {
    let checkout = Checkout::new();
    assert!(checkout.check().contains("no BUILD.toml"));
    checkout.built();
    checkout.write("plugins/prebuilt/pager.wasm", "tampered");
    assert!(checkout.check().contains("pager.wasm is not the file"));
    checkout.built();
    checkout.write("plugins/sdk/src/lib.rs", "changed");
    assert!(checkout.check().contains("the sources have changed"));
    checkout.built();
    fs::remove_file(checkout.0.join("plugins/prebuilt/pager.wasm")).unwrap();
    assert!(checkout.check().contains("pager.wasm"));
}

#[test]
fn only_libraries_that_are_loaded_are_agents() {
    let guests = guest::all(&Checkout::new().0).unwrap();
    assert_eq!(guests, [Guest { name: "pager".to_owned() }]);
}

#[test]
fn a_record_reads_as_it_was_written() {
    let checkout = Checkout::new();
    checkout.built();
    let record = Record::read(&checkout.0).unwrap().unwrap();
    assert_eq!(record.versions, versions("rustc 1"));
    assert_eq!(record.files["pager.wasm"], sources::sha256(b"component"));
}

#[test]
fn other_versions_are_named_and_a_missing_toolchain_has_a_code_of_its_own() {
    let why = versions("rustc 1.96").difference(&versions("rustc 1.95"));
    assert_eq!(why, "recorded rustc 1.96, present rustc 1.95");
    let done = Done::NotCompared { why, fresh: vec![PathBuf::from("x.wasm")] };
    assert_eq!(
        done.to_string(),
        "bytes not compared: recorded rustc 1.96, present rustc 1.95; fresh build at x.wasm"
    );
    assert_eq!(no_toolchain().exit_code(), 3);
    assert!(no_toolchain().to_string().contains("rustup target add wasm32-unknown-unknown"));
}
