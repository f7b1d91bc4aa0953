//! Spawn: what the cheapest other way to hand a message to foreign code costs, a process for each message.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Fallible;
use crate::processes::cpu_of_tree;
use crate::programs::compiler;

/// A program that does nothing: what remains is the price of the process.
const PROGRAM: &str = "int main(void) { return 0; }\n";

/// Compiles the program into `folder`, without shared libraries, which would have to be loaded each time.
///
/// # Errors
/// When there is no C compiler, or it fails.
pub fn program(folder: &Path) -> Fallible<PathBuf> {
    let (source, program) = (folder.join("nothing.c"), folder.join("nothing"));
    fs::write(&source, PROGRAM)?;
    let mut command = Command::new(compiler().ok_or("there is no C compiler")?);
    let status = command.args(["-O2", "-static", "-o"]).args([&program, &source]).status()?;
    if status.success() { Ok(program) } else { Err(format!("the C compiler failed: {status}").into()) }
}

/// Microseconds of processor time for starting the program and waiting for it, the kernel's share in both processes
/// included. The standard library uses `posix_spawn` where nothing stands against it, as here.
///
/// The kernel counts it in steps of 10 ms: it takes a thousand times to be exact to a few in a hundred.
///
/// # Errors
/// When it does not start or does not end well.
pub fn cost(program: &Path, times: u32) -> Fallible<f64> {
    let before = cpu_of_tree(std::process::id())?;
    for _ in 0..times {
        let status = Command::new(program).stdin(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("{}: {status}", program.display()).into());
        }
    }
    let used = cpu_of_tree(std::process::id())?.saturating_sub(before);
    Ok(used.as_secs_f64() * 1e6 / f64::from(times.max(1)))
}
