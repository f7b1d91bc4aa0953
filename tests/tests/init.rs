//! `postern init`: what it writes runs as it is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use postern_tests::{Host, SmtpClient, cli, eventually, gateway, messages};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;

#[test]
fn what_init_writes_can_be_checked_and_run_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    let shown = site.to_str().unwrap();
    let made = cli::run(&["init", shown, "--host-name", "gw.example"]);
    assert_eq!(made.code, 0, "{made:?}");
    let config = site.join("postern.toml");
    let text = fs::read_to_string(&config).unwrap();
    let check = cli::run(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(check.code, 0, "{check:?}");
    let again = cli::run(&["init", shown]);
    assert_eq!(again.code, 3, "{again:?}");
    assert_eq!(fs::read_to_string(&config).unwrap(), text, "a second init changes nothing");

    // The only change: two ports that may be taken on this machine.
    let free = text.replace("127.0.0.1:2525", "127.0.0.1:0").replace("127.0.0.1:8025", "127.0.0.1:0");
    assert_ne!(free, text);
    fs::write(&config, free).unwrap();
    let host = Host::start(folder.path(), &config);
    let message = messages::simple("first");
    SmtpClient::connect(host.smtp()).submit("jo@home.example", &["ann@outbox.example"], &message);
    let drop = site.join("drop/outbox");
    let files =
        eventually("the file in the outbox", || Some(gateway::read(&drop)).filter(|files| !files.is_empty()));
    assert_eq!((files.len(), files[0].message()), (1, &message[..]));
    assert_eq!(postern_tests::http::get(host.admin(), "/livez").0, 200);
    host.stop();
}

/// The value of a key that a unit has once.
fn value(unit: &str, key: &str) -> String {
    let mut all = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let first = all.next().unwrap_or_else(|| panic!("no {key} in {unit}"));
    assert_eq!(all.next(), None, "{key}");
    first.to_owned()
}

/// The user and group of this name; `None` when the machine lists none.
fn account(name: &str) -> Option<(u32, u32)> {
    let listed = fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = listed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.split(':');
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((uid, gid))
}

/// A process that does not outlive its test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs what a unit runs, as whom and where it runs it.
fn run_as_service(unit: &str, owner: Option<(u32, u32)>, ready_file: &Path) -> Service {
    let line = value(unit, "ExecStart");
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg("--ready-file").arg(ready_file).current_dir(value(unit, "WorkingDirectory"));
    command.env_clear().env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null());
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    Service(command.spawn().unwrap())
}

/// Everything below a folder, and the folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(below(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn the_unit_fits_the_config_and_the_service_can_write_where_it_must() {
    let folder = tempfile::tempdir().unwrap();
    // Root gives the folders away; whoever else runs the test is the service's user.
    let owner = if geteuid().is_root() { account("nobody") } else { None };
    let program = folder.path().join("postern");
    fs::copy(cli::program(), &program).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let site = folder.path().join("site");
    let mut init = Command::new(&program);
    init.arg("init").arg(&site).env_remove("POSTERN_CONFIG");
    if owner.is_some() {
        init.args(["--user", "nobody"]);
    }
    assert!(init.output().unwrap().status.success());
    let unit = fs::read_to_string(site.join("postern.service")).unwrap();
    let real = site.canonicalize().unwrap();
    let shown = real.display();
    assert_eq!(value(&unit, "ReadWritePaths"), format!("{shown}/data {shown}/drop"));
    assert_eq!(value(&unit, "WorkingDirectory"), shown.to_string());

    let config = site.join("postern.toml");
    let text = fs::read_to_string(&config).unwrap();
    let free = text.replace("127.0.0.1:2525", "127.0.0.1:0").replace("127.0.0.1:8025", "127.0.0.1:0");
    fs::write(&config, free).unwrap();
    let ready_file = site.join("data/ready.json");
    let mut service = run_as_service(&unit, owner, &ready_file);
    let ready: Value = eventually("the ready file of the service", || {
        assert_eq!(service.0.try_wait().unwrap(), None, "it does not start");
        serde_json::from_str(&fs::read_to_string(&ready_file).ok()?).ok()
    });
    let smtp = ready["receive"]["default"][0].as_str().unwrap().parse().unwrap();
    SmtpClient::connect(smtp).submit("jo@home.example", &["ann@outbox.example"], &messages::simple("served"));
    eventually("the file in the outbox", || {
        (!gateway::files(&site.join("drop/outbox")).is_empty()).then_some(())
    });
    kill_process(Pid::from_child(&service.0), Signal::TERM).unwrap();
    let status = eventually("its end", || service.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let uid = owner.map_or(geteuid().as_raw(), |(uid, _)| uid);
    for path in ["data", "drop"].iter().flat_map(|name| below(&site.join(name))) {
        assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), uid, "{}", path.display());
    }
}
