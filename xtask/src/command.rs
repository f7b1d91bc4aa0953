//! One external command: shown before it runs, timed, stopped when it hangs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// How long one command may take. A clean build on two slow cores stays far below it; a hanging test does not hold up a
/// machine for hours.
pub const COMMAND_LIMIT: Duration = Duration::from_mins(45);

/// How often a running command is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A command that has a name for people.
pub struct Step {
    name: String,
    program: OsString,
    arguments: Vec<OsString>,
    folder: PathBuf,
    environment: Vec<(OsString, Option<OsString>)>,
    limit: Duration,
}

impl Step {
    /// A step called `name` that runs `program` in `folder`.
    pub fn new(name: impl Into<String>, program: impl Into<OsString>, folder: &Path) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            folder: folder.to_path_buf(),
            environment: Vec::new(),
            limit: COMMAND_LIMIT,
        }
    }

    /// A step that runs cargo with the words of `line`, divided at spaces.
    ///
    /// It takes the cargo from `PATH` and not the one named in `CARGO`: the version manager's own cargo keeps all the parts
    /// of the toolchain together.
    pub fn cargo(name: impl Into<String>, line: &str, folder: &Path) -> Self {
        Self::new(name, "cargo", folder).args(line.split_whitespace())
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((key.into(), Some(value.into())));
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(mut self, key: impl Into<OsString>) -> Self {
        self.environment.push((key.into(), None));
        self
    }

    /// Runs the command with this process's output and waits for it.
    ///
    /// # Errors
    /// When it cannot be started, ends with anything but success, or takes longer than its limit (then it is stopped). The
    /// message holds the name of the step and the command line to repeat it.
    pub fn run(&self) -> Result<(), String> {
        println!("==> {}: {}", self.name, self.line());
        let start = Instant::now();
        let mut child = self.command().spawn().map_err(|error| {
            format!("{}: cannot start {}: {error}", self.name, self.program.to_string_lossy())
        })?;
        let ended = wait(&mut child, self.limit).map_err(|error| format!("{}: {error}", self.name))?;
        match ended {
            Some(status) if status.success() => {
                println!("<== {}: done in {:.1} s", self.name, start.elapsed().as_secs_f64());
                Ok(())
            }
            Some(status) => Err(format!("{} failed ({status}); repeat it with: {}", self.name, self.line())),
            None => {
                let limit = self.limit.as_secs();
                Err(format!("{}: stopped after {limit} s, it seems to hang: {}", self.name, self.line()))
            }
        }
    }

    /// Runs the command quietly and returns what it wrote to its standard output.
    ///
    /// # Errors
    /// As for [`Step::run`]; the message holds what it wrote to its standard error output. There is no limit of time here:
    /// it is meant for questions that are answered at once.
    pub fn output(&self) -> Result<String, String> {
        let output =
            self.command().output().map_err(|error| format!("{}: cannot start: {error}", self.name))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{} failed ({}): {}\n{}", self.name, output.status, self.line(), said.trim_end()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.folder);
        for (key, value) in &self.environment {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command
    }

    /// The command as one would type it, without its environment.
    fn line(&self) -> String {
        let mut words = vec![self.program.to_string_lossy().into_owned()];
        words.extend(self.arguments.iter().map(|a| a.to_string_lossy().into_owned()));
        words.join(" ")
    }
}

/// Waits for the child; `None` when it took longer than `limit` and was killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_an_error_that_says_how_to_repeat_it() {
        let step = Step::new("ls of nothing", "ls", Path::new("/")).args(["/does-not-exist"]);
        let fault = step.run().unwrap_err();
        assert!(fault.contains("ls of nothing") && fault.contains("ls /does-not-exist"), "{fault}");
        assert!(step.output().unwrap_err().contains("/does-not-exist"));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let fault = Step::new("nothing", "no-such-program-here", Path::new("/")).run().unwrap_err();
        assert!(fault.contains("cannot start no-such-program-here"), "{fault}");
    }

    #[test]
    fn a_command_that_hangs_is_stopped() {
        let mut step = Step::new("endless", "sleep", Path::new("/")).args(["600"]);
        step.limit = Duration::from_millis(10);
        let fault = step.run().unwrap_err();
        assert!(fault.contains("seems to hang"), "{fault}");
    }

    #[test]
    fn the_environment_reaches_the_command() {
        let step = Step::new("print", "printenv", Path::new("/")).args(["POSTERN_SAMPLE"]);
        assert!(step.output().is_err());
        assert_eq!(step.env("POSTERN_SAMPLE", "seen").output(), Ok("seen\n".to_owned()));
    }
}
