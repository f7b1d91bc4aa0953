//! What the file system is like: its clock, its names, its links, how it takes syncs.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use super::Finding;
use crate::directory::Folders;
use crate::name::MAX_FILE_NAME;

/// A file system whose clock differs by more than this is told of. Two seconds are what the coarsest keep (FAT).
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(3);
/// A sync that takes longer than this is told of: with it, few files a second are published.
pub const SLOW_SYNC: Duration = Duration::from_secs(1);
/// What a gateway may put behind a name (`.work`, `.result`), and what the temp folder does (`.withdrawn`), in bytes.
const SUFFIX_ROOM: usize = 12;

/// Checks all of it with a probe file in the temp folder, which is gone afterwards.
pub(super) fn check(folders: &Folders) -> Vec<Finding> {
    let name = format!(".postern-probe-Aa-{}", std::process::id());
    let (mut findings, temp) = (Vec::new(), &folders.temp);
    let Ok(mut file) = temp.create(&name) else { return findings };
    let started = Instant::now();
    let written = file.write_all(b"probe").and_then(|()| file.sync_all()).is_ok();
    if written {
        findings.push(sync(started.elapsed()));
        findings.extend(directory_sync(folders));
        if let Ok(Some(looked)) = temp.look(&name) {
            findings.push(clock(looked.modified.0, SystemTime::now()));
        }
        if let Ok(other) = temp.look(name.to_lowercase()) {
            findings.push(case(other.is_some()));
        }
        findings.push(links(folders, &name));
    }
    if let Ok(space) = temp.space() {
        findings.push(names(space.f_namemax));
    }
    // A probe that cannot be removed is hidden, and the next check makes it anew.
    let _ = temp.remove(&name);
    findings
}

fn sync(took: Duration) -> Finding {
    let text = format!("a small file was durable after {} ms", took.as_millis());
    if took <= SLOW_SYNC {
        return Finding::good("fsync", text);
    }
    let advice = "Expect few files a second: see whether the disk is busy, or use another one.";
    Finding::warning("fsync", text, advice)
}

fn directory_sync(folders: &Folders) -> Option<Finding> {
    let synced = folders.drop.try_sync();
    matches!(synced, Err(Errno::INVAL | Errno::OPNOTSUPP)).then(|| {
        Finding::warning(
            "fsync",
            "the file system cannot make names durable: after a power cut files may be missing or come twice",
            "Use a local file system, or live with it where the gateway does not mind a file twice.",
        )
    })
}

fn clock(modified: i64, now: SystemTime) -> Finding {
    let now = i64::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
    let skew = modified.abs_diff(now);
    if skew <= MAX_CLOCK_SKEW.as_secs() {
        return Finding::good("clock", "the file system and this machine agree about the time");
    }
    let side = if modified > now { "ahead of" } else { "behind" };
    Finding::warning(
        "clock",
        format!("the file system's clock is {skew} s {side} this machine's: ages of files are wrong by that"),
        "Let both set their clocks (NTP). Gateways that wait for a file's age are fooled, too.",
    )
}

fn case(folds: bool) -> Finding {
    if folds {
        let advice = "Our own names differ in more than case; see that the gateway's do, too.";
        return Finding::warning(
            "case",
            "names that differ only in upper and lower case are one file here",
            advice,
        );
    }
    Finding::good("case", "upper and lower case are told apart in names")
}

fn links(folders: &Folders, name: &str) -> Finding {
    let second = format!("{name}-link");
    let made = folders.temp.link(name, &second);
    let _ = folders.temp.remove(&second);
    match made {
        Ok(()) => Finding::good("links", "a file can have a second name"),
        Err(errno) => Finding::warning(
            "links",
            format!("a file cannot have a second name ({errno}): markers are files of their own"),
            "It works; after a crash a file that the gateway replaced under its name is not told apart.",
        ),
    }
}

fn names(longest: u64) -> Finding {
    let needed = MAX_FILE_NAME + SUFFIX_ROOM;
    // Some file systems do not say.
    if longest == 0 || longest >= needed as u64 {
        return Finding::good("names", format!("names may have {longest} bytes"));
    }
    Finding::warning(
        "names",
        format!("names may have {longest} bytes only, and {needed} may be needed"),
        "Use a file system with long names, or a profile with short ones.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn a_clock_that_differs_is_told_of_with_its_side() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        assert_eq!(clock(1000 - 3, now).level, Level::Good);
        let (behind, ahead) = (clock(900, now), clock(1100, now));
        assert_eq!((behind.level, ahead.level), (Level::Warning, Level::Warning));
        assert!(behind.meaning.contains("100 s behind") && ahead.meaning.contains("100 s ahead of"));
    }

    #[test]
    fn what_is_unusual_is_a_warning_that_says_what_to_do() {
        for finding in [sync(SLOW_SYNC * 2), case(true), names(64)] {
            assert_eq!(finding.level, Level::Warning, "{finding:?}");
            assert!(!finding.what_to_do.is_empty());
        }
        for finding in [sync(Duration::ZERO), case(false), names(255), names(0)] {
            assert_eq!(finding.level, Level::Good, "{finding:?}");
        }
    }
}
