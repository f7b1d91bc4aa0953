//! Leftovers: what a crash or an earlier version left of agents in the data directory. It is removed at the start, before an
//! agent is loaded: by the names that the host gives such files, and only what no connector and no record has a use for.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::{Consents, VersionRecord, gate};
use crate::config::Config;

/// How old a file in `agents/` must be. A command may be at work there while a host starts.
const AGE: Duration = Duration::from_secs(3600);

/// Removes them. Where a record cannot be read, only files that were never written to their end are: nothing else is known
/// to be of no use. Blocking: components may have to be read. To be called by who holds the lock of the data directory.
pub fn sweep(config: &Config) {
    let data = &config.host.data_directory;
    let (consents, versions) = (Consents::of(data), VersionRecord::of(data));
    let now = SystemTime::now();
    let mut gone = sweep_folder(&data.join(gate::FOLDER), now, |_| false);
    match (consents.names(), versions.names()) {
        (Ok(accepted), Ok(rolled_out)) => {
            gone += consents.sweep(now, &accepted) + versions.sweep(now, &rolled_out);
            let lying = OnceCell::new();
            gone += postern_agent::sweep_cache(&data.join("agent-cache"), |sha256| {
                accepted.contains(sha256)
                    || rolled_out.contains(sha256)
                    || lying.get_or_init(|| components(config)).contains(sha256)
            });
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "compiled agents and copies of agents are not tidied up");
            gone += sweep_folder(&data.join("agents"), now, |_| false);
            gone += sweep_folder(&data.join("agents/versions"), now, |_| false);
            gone += postern_agent::sweep_cache(&data.join("agent-cache"), |_| true);
        }
    }
    if gone > 0 {
        tracing::info!(files = gone, "what earlier runs left of agents was removed");
    }
}

/// Removes the old files of a folder that were never written to their end, and those whose names say that they go.
pub(super) fn sweep_folder(folder: &Path, now: SystemTime, goes: impl Fn(&str) -> bool) -> usize {
    let is_old = |about: &fs::Metadata| {
        about.is_file() && about.modified().is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > AGE))
    };
    let going = fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| {
        let name = entry.file_name();
        let named = name.to_str().is_some_and(|name| is_temporary(name) || goes(name));
        named && entry.metadata().is_ok_and(|about| is_old(&about))
    });
    // One that stays costs its place; it is tried again at the next start.
    going.filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
}

/// Whether a file that was to be written whole has this name until it is: `.tmp` and six letters or digits.
fn is_temporary(name: &str) -> bool {
    let random = name.strip_prefix(".tmp");
    random.is_some_and(|r| r.len() == 6 && r.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// The SHA-256 of the components that lie where the config says, switched off or not, and of those that it names by it.
fn components(config: &Config) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for agent in &config.delivery_agent_connectors {
        found.extend(agent.authenticity.sha256.clone());
        let shadow = agent.shadow.as_ref().map(|shadow| &shadow.agent);
        for file in std::iter::once(&agent.agent).chain(shadow) {
            let size = fs::metadata(file).map_or(u64::MAX, |about| about.len());
            if size <= agent.limits.component_bytes
                && let Ok(bytes) = fs::read(file)
            {
                found.insert(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use jiff::Timestamp;

    use super::super::{Accepted, Rollout, Wishes};
    use super::*;
    use crate::config::check_text;

    /// A data directory with what is needed and what is not; the names of both.
    struct Data {
        folder: tempfile::TempDir,
        config: Config,
        stays: Vec<PathBuf>,
        goes: Vec<PathBuf>,
    }

    fn sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn data() -> Data {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("fax.wasm"), "lies there").unwrap();
        let file = folder.path().join("postern.toml");
        let text = "[host]\nname = \"gw.example\"\n[delivery_agent_connectors.fax]\n\
                    address_spaces = [\"FAX:*\"]\nagent = \"fax.wasm\"\n";
        let (config, _) = check_text(text, &file, &file, &|_| None).unwrap();
        let data = config.host.data_directory.clone();
        let (consents, versions) = (Consents::of(&data), VersionRecord::of(&data));
        let accepted = Accepted {
            sha256: sha256(b"accepted"),
            wishes: Wishes::new(&[], None),
            at: Timestamp::UNIX_EPOCH,
        };
        consents.accept("fax", accepted, b"accepted").unwrap();
        let steady = sha256(b"steady");
        versions.set("fax", || Rollout::of(&steady), Some((&steady, b"steady"))).unwrap();
        let (agents, cache) = (data.join("agents"), data.join("agent-cache"));
        fs::create_dir_all(agents.join("signatures")).unwrap();
        fs::create_dir_all(&cache).unwrap();
        let code = |of: &[u8]| cache.join(format!("0123456789abcdef-{}.cwasm", sha256(of)));
        let goes = vec![
            agents.join(".tmpAb12Cd"),
            agents.join(format!("{}.wasm", sha256(b"of nobody"))),
            agents.join("versions/.tmpAb12Cd"),
            agents.join(format!("versions/{}.wasm", sha256(b"accepted"))),
            agents.join("signatures/.tmp000000"),
            code(b"of nobody"),
            cache.join(".1-0123456789abcdef.tmp"),
        ];
        let mut stays = vec![
            agents.join(".tmpAb12"),
            agents.join("notes.wasm"),
            agents.join("signatures/x.minisig"),
            code(b"lies there"),
            code(b"accepted"),
            code(b"steady"),
        ];
        for file in goes.iter().chain(&stays) {
            fs::write(file, "x").unwrap();
        }
        stays.extend([consents.copy(&sha256(b"accepted")), versions.copy(&sha256(b"steady"))]);
        stays.extend([agents.join("accepted.json"), agents.join("versions/rollouts.json")]);
        let old = SystemTime::now() - AGE * 2;
        for file in goes.iter().chain(&stays) {
            fs::File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
        }
        Data { folder, config, stays, goes }
    }

    #[test]
    fn what_nobody_needs_goes_and_what_the_config_and_the_records_name_stays() {
        let Data { config, stays, goes, folder: _folder } = data();
        let new = config.host.data_directory.join("agents/.tmpFresh1");
        fs::write(&new, "an installation is at work").unwrap();
        sweep(&config);
        assert_eq!(goes.iter().filter(|file| file.exists()).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
        assert_eq!(stays.iter().filter(|file| !file.exists()).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
        assert!(new.exists());
    }

    #[test]
    fn without_a_record_that_can_be_read_only_what_is_half_written_goes() {
        let Data { config, stays, goes, folder: _folder } = data();
        let record = config.host.data_directory.join("agents/versions/rollouts.json");
        fs::write(&record, r#"{"v":9,"rollouts":{}}"#).unwrap();
        sweep(&config);
        for file in &goes {
            let is_half = file.file_name().is_some_and(|name| name.to_str().unwrap().starts_with('.'));
            assert_eq!(file.exists(), !is_half, "{}", file.display());
        }
        assert!(stays.iter().all(|file| file.exists()));
    }
}
