//! What the crate logs, for tests. One log serves all tests of a program, so each looks for its own connector.

use std::io;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static START: Once = Once::new();

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        log().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log() -> MutexGuard<'static, Vec<u8>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to keep what is logged, all levels.
pub fn keep() {
    START.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Writer);
        subscriber.with_max_level(tracing::Level::TRACE).init();
    });
}

/// The lines so far that name this connector.
pub fn of(connector: &str) -> Vec<String> {
    let connector = format!("connector=\"{connector}\"");
    let text = String::from_utf8_lossy(&log()).into_owned();
    text.lines().filter(|line| line.contains(&connector)).map(str::to_owned).collect()
}

/// Everything that was logged so far.
pub fn all() -> String {
    String::from_utf8_lossy(&log()).into_owned()
}
