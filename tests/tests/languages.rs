//! Each language: a fresh folder is tested, built, and delivers mail in a real host.
//!
//! Nothing is prebuilt: the components are built here from the very templates that `postern agent new` writes. Where a
//! language's tools are missing, its test is left out and says which.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postern_tests::far_program::is_installed;
use postern_tests::wait::within;
use postern_tests::{Site, TextServer, cli, left_out};
use serde_json::Value;

/// The host compiles a component of 18 MB for the first time, perhaps two of them side by side on a busy machine.
const COMPILING: Duration = Duration::from_mins(4);

/// Enough for collectors of garbage to come to rest.
const CALLS: &str = "2000";

/// The two agents of a language in a folder.
struct Agents {
    folder: tempfile::TempDir,
    language: &'static str,
}

impl Agents {
    /// Makes both folders; `None`, and a report, where the tools of the language are missing.
    fn new(test: &str, language: &'static str) -> Option<Self> {
        let agents = Self { folder: tempfile::tempdir().unwrap(), language };
        for (name, option) in [("greeter", None), ("poster", Some("--http"))] {
            let dir = agents.dir(name);
            let mut words =
                vec!["agent", "new", name, "--language", language, "--dir", dir.to_str().unwrap()];
            words.extend(option);
            let answer = cli::run(&words);
            assert_eq!(answer.code, 0, "{answer:?}");
            assert!(answer.stdout.contains("postern agent build"), "{answer:?}");
            let again = cli::run(&words);
            assert_eq!(again.code, 2, "an existing folder is left alone: {again:?}");
        }
        if !is_installed(test, "sh", "dash") {
            return None;
        }
        let check = agents.postern(&["agent", "build", "greeter", "--check", "--json"]);
        let said: Value = serde_json::from_str(&check.1).unwrap();
        if said["ready"] == true {
            return Some(agents);
        }
        assert_eq!(check.0, 1, "{said}");
        let missing = &said["missing"][0];
        left_out::report(test, missing["what"].as_str().unwrap(), missing["how"].as_str().unwrap());
        None
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The exit code and standard output of the program, run where the folders are.
    fn postern(&self, words: &[&str]) -> (i32, String) {
        let output = self.command(cli::program(), self.folder.path()).args(words).output().unwrap();
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A command that shares what is compiled for Rust agents with other runs of this test.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
        let mut command = Command::new(program);
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cli::root().join("target"), PathBuf::from);
        command
            .current_dir(folder)
            .env("CARGO_TARGET_DIR", target.join("languages"))
            .env_remove("POSTERN_CONFIG");
        command
    }

    fn unit_tests(&self) {
        for name in ["greeter", "poster"] {
            let output = self.command("/bin/sh", &self.dir(name)).arg("test.sh").output().unwrap();
            assert!(output.status.success(), "{}: test.sh of {name}: {output:?}", self.language);
        }
    }

    fn build(&self) {
        for name in ["greeter", "poster"] {
            let (code, said) = self.postern(&["agent", "build", name, "--json"]);
            assert_eq!(code, 0, "{said}");
            let said: Value = serde_json::from_str(&said).unwrap();
            assert_eq!((&said["built"], &said["agent"]["name"]), (&true.into(), &name.into()), "{said}");
            println!("{} {name}: {} bytes, {} ms", self.language, said["bytes"], said["milliseconds"]);
        }
    }

    /// Both agents in a real host, each with a message.
    fn deliver(&self) {
        let server = TextServer::start();
        let connector = |name: &str, more: &str| {
            let agent = self.dir(name).join(format!("build/{name}.wasm"));
            format!(
                "[delivery_agent_connectors.{name}]\naddress_spaces = [\"SMTP:{name}.example\"]\nagent = {agent:?}\n\
                 retry = \"1h\"\n{more}"
            )
        };
        let url = server.url();
        let origin = url.trim_end_matches("send");
        let site = Site::new().section(&connector("greeter", "settings = { greeting = \"moin\" }")).section(
            &connector(
                "poster",
                &format!("settings = {{ url = \"{url}\" }}\ngrants = {{ http = [\"{origin}\"] }}"),
            ),
        );
        let host = site.start();
        let message = b"Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n";
        let (ann, bob) = ("ann@greeter.example", "bob@poster.example");
        host.client().submit("jo@home.example", &[ann], message);
        host.client().submit("jo@home.example", &[bob], message);
        for recipient in [ann, bob] {
            let rows = within(COMPILING, &format!("the delivery to {recipient}"), || {
                let rows = site.track(&["--recipient", recipient]);
                let done = rows.iter().any(|row| row["event"] == "deliver" || row["event"] == "defer");
                done.then_some(rows)
            });
            assert!(
                rows.iter().any(|row| row["event"] == "deliver"),
                "{recipient}: {rows:?}\n{}",
                host.log()
            );
        }
        let sent = &server.wait_for(1)[0];
        assert_eq!((&*sent.line, sent.body.trim_end()), ("POST /send HTTP/1.1", "Grüße"));
        assert_eq!(sent.headers["x-recipient"], bob);
        assert!(sent.headers.contains_key("idempotency-key"), "{sent:?}");
        assert!(host.log().contains("moin, greeter.example"), "{}", host.log());
        host.stop();
        site.audit();
    }

    /// The rules of the contract; nothing is granted, so what is posted comes to nothing.
    fn conforms(&self) {
        for (name, settings) in [("greeter", "{}"), ("poster", r#"{"url": "https://far.example/send"}"#)] {
            let file = format!("{name}/build/{name}.wasm");
            let words = ["agent", "test", &file, "--settings", settings, "--calls", CALLS];
            let (code, said) = self.postern(&words);
            let failed: Vec<&str> = said.lines().filter(|line| line.contains("  failed  ")).collect();
            // Go's collector cannot run in a component (docs/languages/go.md): that rule, and no other, is broken.
            let only_memory = self.language == "go" && failed.iter().all(|line| line.starts_with("AGT-20"));
            assert!(code == 0 || (code == 1 && only_memory && !failed.is_empty()), "{name}: {said}");
        }
    }

    fn is_not_built_twice(&self) {
        let (code, said) = self.postern(&["agent", "build", "greeter"]);
        assert!(code == 0 && said.contains("not built again"), "{said}");
    }
}

fn works(test: &str, language: &'static str) {
    let Some(agents) = Agents::new(test, language) else { return };
    agents.unit_tests();
    agents.build();
    agents.deliver();
    // The suite compiles what it tries anew for each set of limits, which takes minutes for 18 MB.
    if language != "python" {
        agents.conforms();
        agents.is_not_built_twice();
    }
}

#[test]
fn rust() {
    works("rust", "rust");
}

#[test]
fn c() {
    works("c", "c");
}

#[test]
fn javascript() {
    works("javascript", "js");
}

#[test]
fn typescript() {
    works("typescript", "ts");
}

#[test]
fn python() {
    works("python", "python");
}

#[test]
fn go() {
    works("go", "go");
}

#[test]
fn cpp() {
    works("cpp", "cpp");
}
