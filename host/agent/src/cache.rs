//! The cache of precompiled components: a directory that only the service user can write.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::precompiled;

/// The cache directory, found safe when it was opened.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
}

/// A file in the cache that is ours alone.
pub(crate) struct VettedFile(PathBuf);

impl VettedFile {
    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Cache {
    /// Creates the directory (0700) where it is missing, and checks that it is ours alone.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let cache = Self { directory: directory.to_owned() };
        cache.vet()?;
        Ok(cache)
    }

    /// The component with this digest, compiled now if it is not in the cache.
    pub(crate) fn component(
        &self,
        engine: &Engine,
        wasm: &[u8],
        digest: &str,
    ) -> wasmtime::Result<Component> {
        let path = self.directory.join(file_name(engine, digest));
        if path.exists() {
            // Checked every time: what was safe at start need not be so now.
            match self
                .vetted(path.clone())
                .map_err(Into::into)
                .and_then(|file| precompiled::load(engine, &file))
            {
                Ok(component) => return Ok(component),
                Err(error) => {
                    tracing::warn!(target: "postern::agent", file = %path.display(), %error, "compiling again: the cached code cannot be used");
                    fs::remove_file(&path)?;
                }
            }
        }
        self.write(&path, &engine.precompile_component(wasm)?)?;
        // What another engine made of the same component is of no use any more.
        remove_others(&self.directory, |name| is_code(name) == Some(digest) && !path.ends_with(name));
        precompiled::load(engine, &self.vetted(path)?)
    }

    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let temporary =
            self.directory.join(format!(".{}-{:016x}.tmp", std::process::id(), fastrand::u64(..)));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(code)?;
                // A file that a power cut left half written must not be run.
                file.sync_all()
            })
            .and_then(|()| fs::rename(&temporary, path))
            .and_then(|()| File::open(&self.directory)?.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn vet(&self) -> io::Result<()> {
        require_ours(&self.directory, &fs::metadata(&self.directory)?)
    }

    fn vetted(&self, path: PathBuf) -> io::Result<VettedFile> {
        self.vet()?;
        let about = fs::symlink_metadata(&path)?;
        if !about.is_file() {
            return Err(io::Error::other(format!("{} is not a plain file", path.display())));
        }
        require_ours(&path, &about)?;
        Ok(VettedFile(path))
    }
}

/// Removes from a cache what a crash left half written, and the code of components that nobody needs, by their digests. Files
/// of other names are left alone. To be called while no runtime uses the directory. Gives how many files are gone.
pub fn sweep_cache(directory: &Path, is_needed: impl Fn(&str) -> bool) -> usize {
    let gone = |name: &str| is_temporary(name) || is_code(name).is_some_and(|digest| !is_needed(digest));
    remove_others(directory, gone)
}

fn remove_others(directory: &Path, goes: impl Fn(&str) -> bool) -> usize {
    let names = fs::read_dir(directory).into_iter().flatten().flatten();
    let going = names.filter(|entry| {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        is_file && entry.file_name().to_str().is_some_and(&goes)
    });
    // One that stays costs its place; it is tried again at the next start.
    going.filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digest in the name of a file of code.
fn is_code(name: &str) -> Option<&str> {
    let (engine, digest) = name.strip_suffix(".cwasm")?.split_once('-')?;
    (is_hex(engine, 16) && is_hex(digest, 64)).then_some(digest)
}

/// Whether [`Cache::write`] gave a file this name before it was whole.
fn is_temporary(name: &str) -> bool {
    let parts = || name.strip_prefix('.')?.strip_suffix(".tmp")?.split_once('-');
    parts().is_some_and(|(pid, random)| pid.parse::<u32>().is_ok() && is_hex(random, 16))
}

/// Code of another engine, processor or configuration has another name, so it is never even opened.
fn file_name(engine: &Engine, digest: &str) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}-{digest}.cwasm", hasher.finish())
}

fn require_ours(path: &Path, about: &fs::Metadata) -> io::Result<()> {
    let us = rustix::process::geteuid().as_raw();
    if about.uid() != us {
        let text = format!("{} belongs to user {}, not to us ({us})", path.display(), about.uid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    if about.mode() & 0o022 != 0 {
        let text = format!(
            "{} can be written by others (mode {:o}): run chmod go-w",
            path.display(),
            about.mode() & 0o777
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_sweep_takes_what_is_half_written_or_needed_by_nobody_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (needed, other) = ("a".repeat(64), "b".repeat(64));
        let code = |digest: &str| format!("0123456789abcdef-{digest}.cwasm");
        let goes = [code(&other), ".4711-0123456789abcdef.tmp".to_owned()];
        let stays = [
            code(&needed),
            format!("0123456789abcdef-{}.cwasm", "b".repeat(63)),
            ".4711-0123456789abcdeg.tmp".to_owned(),
            ".x-0123456789abcdef.tmp".to_owned(),
            "notes.txt".to_owned(),
        ];
        for name in goes.iter().chain(&stays) {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir(folder.path().join(".1-0123456789abcdef.tmp")).unwrap();
        assert_eq!(sweep_cache(folder.path(), |digest| digest == needed), 2);
        for name in &goes {
            assert!(!folder.path().join(name).exists(), "{name}");
        }
        for name in &stays {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        assert_eq!(sweep_cache(&folder.path().join("missing"), |_| false), 0);
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        Cache::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Cache::open(&path).unwrap_err().to_string();
        assert!(error.contains("can be written by others"), "{error}");
    }
}
