//! Interrupt: when somebody stops the benchmark, no server and no folder may stay behind. A private Postfix makes a
//! session of its own, so it does not hear the terminal's Ctrl-C.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::Fallible;

/// The exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// How long servers get to end before their folder is removed.
const FAREWELL: Duration = Duration::from_millis(500);

/// The servers that run.
static SERVERS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn servers() -> MutexGuard<'static, Vec<Pid>> {
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on this process is ended with the benchmark.
pub fn started(server: Pid) {
    servers().push(server);
}

/// It has ended: its number may be somebody else's soon.
pub fn ended(server: Pid) {
    servers().retain(|known| *known != server);
}

/// Waits for SIGINT or SIGTERM in a thread of its own; then ends all servers, removes `folder` and ends this process.
///
/// # Errors
/// When there is no thread or no signal to be had.
pub fn watch(folder: PathBuf) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = signals.0.recv() => {}, _ = signals.1.recv() => {} }
        });
        for server in servers().drain(..) {
            // It may just have ended.
            let _ = kill_process(server, Signal::TERM);
        }
        thread::sleep(FAREWELL);
        let _ = fs::remove_dir_all(&folder);
        std::process::exit(INTERRUPTED);
    })?;
    Ok(())
}
