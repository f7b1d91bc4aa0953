//! Part f: files that come in through a pickup directory, until they are committed, beside bare files that are read and
//! renamed by one thread.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::end_to_end::Server as _;
use crate::host::Host;
use crate::options::Scale;
use crate::row::{Bound, Row};
use crate::statistics::{float, median, median_ratio};

/// Size of a file in bytes: a short message of a program.
const FILE_BYTES: usize = 2000;

/// How often the host is asked how far it is.
const POLL: Duration = Duration::from_millis(4);

/// How long it may take.
const LIMIT: Duration = Duration::from_mins(5);

/// Where the messages wait: a smart host that is not there, so that nothing but the way in is measured.
const NOWHERE: &str = "[send_connectors.nowhere]\naddress_spaces = [\"SMTP:pickup.example\"]\n\
    smart_hosts = [\"127.0.0.1:9\"]\nretry = \"1d\"\nexpire_after = \"3d\"\n\
    [pickup_directories.files]\ndirectory = \"pickup\"\nmax_messages_per_minute = \"unlimited\"\nsettle_time = \"0s\"\n";

/// Runs the part in `folder`.
pub fn run(folder: &Path, scale: &Scale) -> Fallible<Row> {
    // 10,000 files where 4,000 messages are sent.
    let files = scale.messages * 5 / 2;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=scale.rounds {
        bare.push(bare_round(folder, files)?);
        ours.push(pickup_round(folder, files)?);
        let (bare, ours) = (bare[round - 1], ours[round - 1]);
        println!("f: round {round}: bare {bare:.0}/s, pickup directory {ours:.0}/s");
    }
    Ok(Row::new(format!("pickup directory, {files} files of 2 KB, committed"), "bare read + rename")
        .with("ratio", median_ratio(&ours, &bare), "")
        .with("pickup directory", median(&ours), "files/s")
        .with("bare", median(&bare), "files/s")
        .goal("ratio", Bound::AtLeast(0.5)))
}

fn bare_round(folder: &Path, files: u64) -> Fallible<f64> {
    let folder = tempfile::tempdir_in(folder)?.keep();
    let (filled, taken) = (folder.join("pickup"), folder.join("taken"));
    fill(&filled, files)?;
    fs::create_dir(&taken)?;
    let begun = Instant::now();
    let mut content = Vec::with_capacity(FILE_BYTES);
    for entry in fs::read_dir(&filled)? {
        let entry = entry?;
        content.clear();
        File::open(entry.path())?.read_to_end(&mut content)?;
        fs::rename(entry.path(), taken.join(entry.file_name()))?;
    }
    Ok(float(files) / begun.elapsed().as_secs_f64())
}

fn pickup_round(folder: &Path, files: u64) -> Fallible<f64> {
    let folder = tempfile::tempdir_in(folder)?.keep();
    let staged = folder.join("staged");
    fill(&staged, files)?;
    let host = Host::start_with(&folder, NOWHERE)?;
    // The host finds the directory with everything in it: what is measured begins when it begins to take.
    fs::rename(&staged, folder.join("pickup"))?;
    let (mut begun, deadline) = (Instant::now(), Instant::now() + LIMIT);
    loop {
        let now = Instant::now();
        match host.accepted()? {
            0 => begun = now,
            accepted if accepted >= files => break,
            _ => {}
        }
        if now > deadline {
            return Err("the host does not take the files".into());
        }
        thread::sleep(POLL);
    }
    let seconds = begun.elapsed().as_secs_f64();
    Box::new(host).stop()?;
    Ok(float(files) / seconds)
}

fn fill(folder: &Path, files: u64) -> Fallible<()> {
    fs::create_dir(folder)?;
    let header = "From: app@home.example\nTo: ann@pickup.example\nSubject: a report\n\n";
    let line = format!("{}\n", "x".repeat(71));
    let text = format!("{header}{}", line.repeat((FILE_BYTES - header.len()) / line.len() + 1));
    for number in 0..files {
        fs::write(folder.join(format!("{number:06}.eml")), &text.as_bytes()[..FILE_BYTES])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::bare_round;

    #[test]
    fn the_bare_side_takes_all_files() {
        let folder = tempfile::tempdir().unwrap();
        assert!(bare_round(folder.path(), 30).unwrap() > 0.0);
        let round = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        assert_eq!(std::fs::read_dir(round.join("taken")).unwrap().count(), 30);
    }
}
