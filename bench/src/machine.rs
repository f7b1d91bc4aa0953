//! Machine: what the numbers were measured on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// A short description of this machine.
pub struct Machine {
    processors: usize,
    model: String,
    kernel: String,
    load: String,
    device: String,
}

impl Machine {
    /// This machine, and the file system that `folder` lies on.
    pub fn of(folder: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name").and_then(|rest| rest.split_once(':')))
            .map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned());
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            model,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            device: file_system(folder, &read("/proc/self/mounts")),
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "{} processors ({}), Linux {}, {}, load {}",
            self.processors, self.model, self.kernel, self.device, self.load
        )
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "processors": self.processors,
            "model": self.model,
            "kernel": self.kernel,
            "file_system": self.device,
            "load_at_end": self.load,
        })
    }
}

/// The kind of the file system that a folder lies on: that of the longest mount point above it.
fn file_system(folder: &Path, mounts: &str) -> String {
    let fields = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, point, kind) = (words.next()?, words.next()?, words.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    // Of two on the same point the later one hides the earlier.
    fields.max_by_key(|(length, _)| *length).map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::file_system;

    #[test]
    fn the_longest_mount_point_is_the_one() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n";
        assert_eq!(file_system(Path::new("/tmp/disk/x"), mounts), "xfs");
        assert_eq!(file_system(Path::new("/tmp/x"), mounts), "tmpfs");
        assert_eq!(file_system(Path::new("/tmporary"), mounts), "ext4");
    }
}
