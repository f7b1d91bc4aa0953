//! `postern demo`: what it leaves behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Child, Command, Stdio};

use postern_tests::{cli, eventually};

/// A process that does not outlive its test.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_demo_that_is_killed_takes_its_host_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("demo");
    let mut command = Command::new(cli::program());
    command.args(["demo", "--keep", "--directory"]).arg(&directory).env_remove("POSTERN_CONFIG");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut demo = Demo(command.spawn().unwrap());
    let socket = directory.join("data/control.sock");
    eventually("a host that runs", || {
        assert_eq!(demo.0.try_wait().unwrap(), None, "the demo ended");
        (directory.join("ready.json").exists() && socket.exists()).then_some(())
    });
    drop(demo);
    eventually("the end of the host in good order", || {
        let log = std::fs::read_to_string(directory.join("postern.log")).unwrap();
        log.lines().last().is_some_and(|line| line.ends_with("stopped")).then_some(())
    });
    assert!(!socket.exists());
}
