//! A gateway in Rust: takes files of the profile `eml` out of a drop directory and says what became of them.
//!
//! Usage: `gateway DIRECTORY DONE`

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postern_drop::reader::{self, Claim};

/// How many files are looked at in one go.
const BATCH: usize = 100;
/// A pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(directory), Some(done)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: gateway DIRECTORY DONE");
        std::process::exit(2);
    };
    // What an earlier run was at when it died. This gateway is alone; of several, each would only take up its own.
    for claim in reader::claimed(&directory)? {
        claim.give_back()?;
    }
    loop {
        for entry in reader::list(&directory, BATCH)?.iter().filter(|entry| entry.name.ends_with(".eml")) {
            if let Some(claim) = reader::take(&directory, &entry.name)? {
                deal_with(claim, &done)?;
            }
        }
        std::thread::sleep(PAUSE);
    }
}

fn deal_with(claim: Claim, done: &Path) -> io::Result<()> {
    match deliver(&claim.read()?, &done.join(claim.name()))? {
        Ok(()) => claim.say("ok", "printed")?,
        Err(why) => claim.say("err", &why)?,
    }
    claim.done()
}

/// Your work goes here. The inner error means that it never will work; it is for the sender.
fn deliver(file: &[u8], to: &Path) -> io::Result<Result<(), String>> {
    let text = String::from_utf8_lossy(file);
    let envelope = text.lines().take_while(|line| !line.starts_with("Received:"));
    let mut recipients = envelope.filter_map(|line| line.strip_prefix("Delivered-To: "));
    if let Some(refused) = recipients.find(|recipient| recipient.starts_with("refused")) {
        return Ok(Err(format!("{refused} is not known here")));
    }
    std::fs::write(to, file).map(Ok)
}
