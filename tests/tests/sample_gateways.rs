//! The sample gateways with a real host: what they take arrives, what they refuse is told to the sender.

use std::fs;
use std::path::Path;
use std::process::Command;

use postern_tests::far_program::{FarProgram, is_installed};
use postern_tests::{Site, SmtpSink, cli, dsn, eventually, gateway, messages};
use serde_json::json;

const JO: &str = "jo@home.example";

/// Runs a gateway, which is started by `command` with the drop directory and its own folder as arguments, and sends it a
/// message that it takes and one that it refuses.
fn try_gateway(profile: &str, command: impl FnOnce(&Path) -> Command) {
    let reports = SmtpSink::start();
    let lines = format!("profile = \"{profile}\"\nsuccess_on = \"result\"");
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", &lines).send(
        "back",
        "SMTP:home.example",
        reports.address(),
        "",
    );
    let done = site.folder().join("done");
    fs::create_dir(&done).expect("a folder in our own folder");
    let mut command = command(site.folder());
    command.arg(site.drop_directory("pbx")).arg(&done);
    let program = FarProgram::start(command, &site.folder().join("gateway.log"));
    let host = site.start();
    let message = messages::eight_bit("a sample");
    let notify = |name: &str| format!("{name}@pbx.example> NOTIFY=SUCCESS,FAILURE");
    let told = |count: usize, name: &str| {
        let arrived = eventually("a report", || Some(reports.arrived()).filter(|all| all.len() >= count));
        let texts = arrived.iter().map(|message| message.text().to_string());
        let fields = texts.map(|text| dsn::status_fields(&text));
        let mut about = fields.filter(|fields| dsn::field(fields, "Final-Recipient").contains(name));
        let fields = about.next().unwrap_or_else(|| panic!("no report about {name}: {}", program.said()));
        dsn::field(&fields, "Action").to_owned()
    };
    host.client().submit(JO, &[&notify("ann")], &message);
    assert_eq!(told(1, "ann"), "delivered");
    host.client().submit(JO, &[&notify("refused")], &message);
    assert_eq!(told(2, "refused"), "failed");
    let taken = gateway::read(&done);
    assert_eq!(taken.len(), 1, "{}", program.said());
    assert!(taken[0].bytes.ends_with(&message), "it arrives byte for byte");
    eventually("an empty queue", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    let directory = site.drop_directory("pbx");
    eventually("an empty directory", || gateway::files(&directory).is_empty().then_some(()));
    site.audit();
    host.stop();
}

#[test]
fn the_shell_script_takes_files_and_says_what_became_of_them() {
    if !is_installed("the_shell_script_takes_files_and_says_what_became_of_them", "sed", "sed") {
        return;
    }
    try_gateway("eml", |_| {
        let mut command = Command::new("/bin/sh");
        command.arg(cli::root().join("samples/gateways/gateway.sh"));
        command
    });
}

#[test]
fn the_python_program_takes_sets_and_says_what_became_of_each_recipient() {
    if !is_installed(
        "the_python_program_takes_sets_and_says_what_became_of_each_recipient",
        "python3",
        "python3",
    ) {
        return;
    }
    try_gateway("json", |_| {
        let mut command = Command::new("python3");
        command.arg(cli::root().join("samples/gateways/gateway.py"));
        command
    });
}

#[test]
fn the_rust_program_takes_files_and_says_what_became_of_them() {
    // Built by the tests of the drop crate, and here if those did not run yet.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--offline",
            "-p",
            "postern-drop",
            "--example",
            "gateway",
        ])
        .current_dir(cli::root())
        .status();
    assert!(built.is_ok_and(|status| status.success()), "the sample does not build");
    let program = cli::program().with_file_name("examples").join("gateway");
    try_gateway("eml", |_| Command::new(program));
}
