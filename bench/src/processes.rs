//! Processes: the processor time of a server with all its children, from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::Duration;

/// What the kernel says about one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    /// Its own time and that of its children that have ended and were waited for, in clock ticks.
    ticks: u64,
}

/// Processor time of a process and everything below it, whether it still runs or has ended and was waited for.
///
/// The kernel counts it in steps of 10 ms, so it is meant for seconds of work.
pub fn cpu_of_tree(root: u32) -> io::Result<Duration> {
    let mut stats = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        // It may have ended since the folder was listed.
        let Ok(text) = fs::read_to_string(format!("/proc/{}/stat", name.display())) else { continue };
        stats.extend(parse(&text));
    }
    if !stats.iter().any(|stat| stat.pid == root) {
        return Err(io::Error::other(format!("the process {root} has ended")));
    }
    let ticks = ticks_of_tree(&stats, root);
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Ok(Duration::from_millis(ticks * 1000 / per_second))
}

/// Memory of this process that is in use, in bytes (proc(5): `statm`).
pub fn resident_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    let pages = pages.ok_or_else(|| io::Error::other("/proc/self/statm has no second number"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Reads a line of `/proc/PID/stat` (proc(5)): fields 1 and 4, and 14 to 17.
fn parse(line: &str) -> Option<Stat> {
    // The program's name stands in parentheses and may hold anything, parentheses too.
    let (start, rest) = line.rsplit_once(')')?;
    let pid = start.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Stat { pid, parent, ticks })
}

fn ticks_of_tree(stats: &[Stat], root: u32) -> u64 {
    let mut tree = BTreeSet::from([root]);
    loop {
        let below = stats.iter().filter(|stat| tree.contains(&stat.parent)).map(|stat| stat.pid);
        let grown: BTreeSet<u32> = tree.iter().copied().chain(below).collect();
        if grown.len() == tree.len() {
            break;
        }
        tree = grown;
    }
    stats.iter().filter(|stat| tree.contains(&stat.pid)).map(|stat| stat.ticks).sum()
}

#[cfg(test)]
mod tests {
    use super::{Stat, cpu_of_tree, parse, ticks_of_tree};

    #[test]
    fn a_program_name_may_hold_anything() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 1 20 0 1 0 5 6 7";
        assert_eq!(parse(line), Some(Stat { pid: 42, parent: 7, ticks: 124 }));
        assert_eq!(parse("garbage"), None);
    }

    #[test]
    fn grandchildren_belong_to_the_tree_and_others_do_not() {
        let stat = |pid, parent, ticks| Stat { pid, parent, ticks };
        let stats = [stat(9, 8, 1000), stat(4, 3, 1), stat(3, 2, 10), stat(2, 1, 100), stat(1, 0, 7)];
        assert_eq!(ticks_of_tree(&stats, 2), 111);
    }

    #[test]
    fn this_process_has_used_some_time_and_a_missing_one_is_an_error() {
        assert!(cpu_of_tree(std::process::id()).is_ok());
        assert!(cpu_of_tree(u32::MAX).is_err());
    }
}
