//! Telling `cargo xtask test` that a test could not run here; the convention stands in `xtask/src/left_out.rs`.

use std::fs::OpenOptions;
use std::io::Write as _;

/// The variable that names a folder of real messages; without it the tests on them are left out.
pub const MAIL_CORPUS: &str = "POSTERN_MAIL_CORPUS";

/// Says that `test` does without something: `missing` is not there, `how` adds it.
///
/// # Panics
/// When nothing may be left out (`POSTERN_TEST_ALL=1`), or the report cannot be written.
pub fn report(test: &str, missing: &str, how: &str) {
    println!("LEFT OUT: {missing} ({test}; {how})");
    eprintln!("LEFT OUT: {missing} ({test}; {how})");
    let all = std::env::var_os("POSTERN_TEST_ALL").is_some_and(|value| value == "1");
    assert!(!all, "{test}: nothing may be left out, but {missing}: {how}");
    if let Some(report) = std::env::var_os("POSTERN_LEFT_OUT") {
        let file = OpenOptions::new().create(true).append(true).open(&report);
        let line = format!("{test}\t{missing}\t{how}\n");
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the report of xtask can be written");
    }
}
