//! Options: the command line, and how much of everything it asks for.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Fallible;

/// Size of every message, in bytes: a short mail with a small attachment, as in design goals.
pub const MESSAGE_BYTES: usize = 5000;

/// What to measure, how much of it, and where the result goes.
#[derive(Debug, Parser)]
#[command(
    name = "postern-bench",
    about = "Measures Postern beside the limit of the machine, or a peer, in the same run"
)]
pub struct Options {
    /// Another verb than measuring.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// Messages of one end-to-end round.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub messages: Option<u64>,
    /// Rounds of everything; the median counts.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=101))]
    pub rounds: Option<u16>,
    /// Only this part; may be given several times.
    #[arg(long, value_name = "PART")]
    pub only: Vec<Part>,
    /// Also writes the result to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Drives this mail server with the same generator on the same disk, taking turns.
    #[arg(long, value_name = "NAME")]
    pub peer: Option<Peer>,
    /// Few messages and rounds: whether it works, not how fast.
    #[arg(long)]
    pub quick: bool,
    /// Where queues and drop directories are made. Default: the folder of this program, so that everything lies on one
    /// file system; not a temporary folder, which may be in memory.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

/// Verbs that the benchmark gives itself.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Hands messages to an SMTP server, and prints how that went as one line of JSON.
    Generate(Load),
    /// Answers HTTP requests until standard input ends, and prints where.
    Serve,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Durable enqueue beside a bare group commit.
    A,
    /// Calls of an agent beside a native function.
    B,
    /// From SMTP to settled.
    C,
    /// The drop directory's writer beside bare files.
    D,
    /// Neighbours of agents that loop, idle connections, and the HTTP door beside a native client.
    E,
    /// A pickup directory beside bare files.
    F,
}

/// A mail server to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// A private Postfix: pipe(8) with a C program, and virtual(8) maildir.
    Postfix,
}

/// What a load generator sends.
#[derive(Clone, Debug, Args)]
pub struct Load {
    /// The server.
    #[arg(long)]
    pub server: SocketAddr,
    /// Whom every message is for.
    #[arg(long)]
    pub recipient: String,
    /// Messages in all.
    #[arg(long)]
    pub messages: u64,
    /// Sessions at one time.
    #[arg(long)]
    pub sessions: u32,
    /// A new connection for each message; otherwise sessions are kept.
    #[arg(long)]
    pub fresh: bool,
    /// How many milliseconds a session waits before its next message.
    #[arg(long, default_value = "0", value_parser = milliseconds)]
    pub pause: Duration,
    /// Size of a message in bytes.
    #[arg(long, default_value_t = MESSAGE_BYTES)]
    pub bytes: usize,
}

fn milliseconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_millis)
}

/// How much of everything is done.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Messages of one end-to-end round.
    pub messages: u64,
    /// Rounds of everything.
    pub rounds: usize,
    /// How long one round of the store or the drop writer takes.
    pub round: Duration,
    /// Warm agent calls in one round.
    pub calls: u32,
}

impl Scale {
    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "{} rounds taking turns, the median counts; {} messages of {MESSAGE_BYTES} bytes in an end-to-end round, \
             {:.1} s for a round of the store",
            self.rounds,
            self.messages,
            self.round.as_secs_f64()
        )
    }

    /// For programs.
    pub fn to_json(self) -> Value {
        json!({
            "rounds": self.rounds,
            "messages": self.messages,
            "message_bytes": MESSAGE_BYTES,
            "round_seconds": self.round.as_secs_f64(),
            "calls": self.calls,
        })
    }
}

impl Options {
    /// Whether a part is to run.
    pub fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How much of everything.
    pub fn scale(&self) -> Scale {
        let (messages, rounds, round, calls) =
            if self.quick { (500, 1, 200, 500) } else { (4000, 5, 1000, 5000) };
        Scale {
            messages: self.messages.unwrap_or(messages),
            rounds: self.rounds.map_or(rounds, usize::from),
            round: Duration::from_millis(round),
            calls,
        }
    }

    /// A folder for everything that the run makes; it goes with the value. Other users can pass through it, since the
    /// peer's programs run as such.
    pub fn make_folder(&self) -> Fallible<TempDir> {
        let program = std::env::current_exe()?;
        let above = match (&self.folder, program.parent()) {
            (Some(folder), _) => folder.as_path(),
            (None, Some(folder)) => folder,
            (None, None) => return Err("the folder of this program is not known; give --folder".into()),
        };
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(above)?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        spread(folder.path());
        Ok(folder)
    }
}

/// Asks the file system (ext4) to lay the folders in this one far apart. Without a journal it looks at each inode that was
/// deleted shortly before, one by one, when it looks for a free one nearby: the files that one server deletes would slow
/// the other one down. Where this cannot be had, nothing is lost.
fn spread(folder: &Path) {
    let Ok(folder) = File::open(folder) else { return };
    if let Ok(flags) = ioctl_getflags(&folder) {
        let _ = ioctl_setflags(&folder, flags | IFlags::TOPDIR);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Options, Part};

    #[test]
    fn all_parts_run_unless_some_are_chosen() {
        let all = Options::try_parse_from(["postern-bench"]).unwrap();
        assert!(
            [Part::A, Part::B, Part::C, Part::D, Part::E, Part::F].into_iter().all(|part| all.wants(part))
        );
        let some = Options::try_parse_from(["postern-bench", "--only", "a", "--only", "c"]).unwrap();
        assert!(some.wants(Part::A) && !some.wants(Part::B) && some.wants(Part::C));
    }

    #[test]
    fn numbers_on_the_command_line_have_precedence_over_quick() {
        let line = ["postern-bench", "--quick", "--messages", "9", "--rounds", "3"];
        let scale = Options::try_parse_from(line).unwrap().scale();
        assert_eq!((scale.messages, scale.rounds), (9, 3));
        assert!(Options::try_parse_from(["postern-bench", "--rounds", "0"]).is_err());
    }
}
