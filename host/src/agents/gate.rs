//! Gate: what a component must show before it is loaded: the digest that the config expects, the signature that it demands.
//!
//! What was shown is the digest of the very bytes that were looked at, and nothing else is loaded then: a file that is
//! exchanged in between is refused.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use postern_agent::LoadError;
use sha2::{Digest as _, Sha256};

use crate::config::{Authenticity, Config, DeliveryAgentConfig, Signed, signature_of};
use crate::private;

/// The folder in the data directory, for the signatures of components that are kept there.
pub(super) const FOLDER: &str = "agents/signatures";
/// The longest signature file, in bytes.
const MAX_SIGNATURE: u64 = 8 << 10;

/// The gate of one connector.
#[derive(Clone, Debug)]
pub struct Gate {
    demands: Authenticity,
    /// The largest component, in bytes.
    max_component: u64,
    data_directory: PathBuf,
}

/// What a component has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The only digest that may be loaded, in lower-case hex; `None`: whatever lies there.
    pub sha256: Option<String>,
    /// Its signature, where one is demanded.
    pub signature: Option<String>,
}

impl Gate {
    /// The gate of a connector, for what lies in this data directory.
    #[must_use]
    pub fn new(connector: &DeliveryAgentConfig, data_directory: &Path) -> Self {
        let (demands, max_component) = (connector.authenticity.clone(), connector.limits.component_bytes);
        Self { demands, max_component, data_directory: data_directory.to_owned() }
    }

    /// Whether the config names the digest of the one component that may run: that is an agreement to what it wants.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.demands.sha256.is_some()
    }

    /// Looks at the component that the config names. The signature that was kept of it counts, too: an installation that
    /// was cut off may have left that of the next version beside it. Blocking: the file is read.
    ///
    /// # Errors
    /// Why it may not be loaded.
    pub fn configured(&self, component: &Path) -> Result<Shown, String> {
        let signature = self.demands.signed.as_ref().map(|signed| signed.file.clone());
        self.look(component, signature.as_deref(), self.demands.sha256.as_deref()).or_else(|why| {
            let bytes = read(component, self.max_component).map_err(|_| why.clone())?;
            let kept = self.kept_signature(&digest(&bytes));
            self.look(component, Some(&kept), self.demands.sha256.as_deref()).map_err(|_| why)
        })
    }

    /// Looks at a component that is to be installed, whose signature lies beside it. Blocking: the file is read.
    ///
    /// # Errors
    /// Why it would not be loaded.
    pub fn offered(&self, component: &Path) -> Result<Shown, String> {
        self.look(component, Some(&signature_of(component)), self.demands.sha256.as_deref())
    }

    /// Looks at a copy that the host kept of an earlier version. The digest in the config is that of the one in the file,
    /// but a signature is demanded of all. Blocking: the file is read.
    ///
    /// # Errors
    /// Why it may not be loaded.
    pub fn kept(&self, copy: &Path, sha256: &str) -> Result<(), String> {
        if self.demands.signed.is_some() {
            self.look(copy, Some(&self.kept_signature(sha256)), Some(sha256))?;
        }
        Ok(())
    }

    /// Keeps the signature of a component that has shown one, for the copies that the host makes. Durable when it returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, shown: &Shown) -> io::Result<()> {
        let (Some(sha256), Some(signature)) = (&shown.sha256, &shown.signature) else { return Ok(()) };
        let folder = self.data_directory.join(FOLDER);
        private::make_directory(&folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(signature.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(self.kept_signature(sha256))?;
        fs::File::open(&folder)?.sync_all()?;
        self.forget(&folder, sha256);
        Ok(())
    }

    /// Where the signature of a connector's component belongs; `None` where none is demanded.
    #[must_use]
    pub fn place_of_signature(&self) -> Option<&Path> {
        self.demands.signed.as_ref().map(|signed| signed.file.as_path())
    }

    fn kept_signature(&self, sha256: &str) -> PathBuf {
        self.data_directory.join(FOLDER).join(format!("{sha256}.minisig"))
    }

    /// Deletes signatures of which no copy is left.
    fn forget(&self, folder: &Path, just_kept: &str) {
        let copies = ["agents", "agents/versions"].map(|folder| self.data_directory.join(folder));
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(sha256) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let is_kept = copies.iter().any(|folder| folder.join(format!("{sha256}.wasm")).exists());
            if sha256 != just_kept && !is_kept && path.extension().is_some_and(|e| e == "minisig") {
                // One that stays only takes up room.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn look(&self, component: &Path, signature: Option<&Path>, pin: Option<&str>) -> Result<Shown, String> {
        if pin.is_none() && self.demands.signed.is_none() {
            return Ok(Shown::default());
        }
        let bytes =
            read(component, self.max_component).map_err(|why| format!("{}: {why}", component.display()))?;
        let found = digest(&bytes);
        if let Some(expected) = pin.filter(|expected| *expected != found) {
            let (path, expected) = (component.to_owned(), expected.to_owned());
            return Err(LoadError::Digest { path, expected, found }.to_string());
        }
        let signature = match (&self.demands.signed, signature) {
            (Some(signed), Some(file)) => Some(signed_by(signed, component, &bytes, file)?),
            _ => None,
        };
        Ok(Shown { sha256: Some(found), signature })
    }
}

/// SHA-256, in lower-case hex.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The signature of a component, when it counts.
fn signed_by(signed: &Signed, component: &Path, bytes: &[u8], file: &Path) -> Result<String, String> {
    let component = component.display();
    let text = read(file, MAX_SIGNATURE)
        .map_err(|why| format!("{component} must be signed, and its signature {}: {why}", file.display()))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    signed
        .verify(bytes, &text)
        .map_err(|why| format!("{component} must be signed, and its signature {}: {why}", file.display()))?;
    Ok(text)
}

/// A file of at most so many bytes.
fn read(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > max { Err(format!("more than {max} bytes")) } else { Ok(bytes) }
}

/// What keeps the agents of a config from being loaded that lie where they should: by connector.
#[must_use]
pub fn not_authentic(config: &Config) -> Vec<(String, String)> {
    let agents = config.delivery_agent_connectors.iter().filter(|agent| agent.common.enabled);
    agents
        .filter(|agent| agent.agent.is_file())
        .filter_map(|agent| {
            let gate = Gate::new(agent, &config.host.data_directory);
            Some((agent.common.name.to_string(), gate.configured(&agent.agent).err()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check_text;

    /// Keys and signatures that are kept with the samples of the tests.
    fn samples() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/samples/signatures")
    }

    /// The gate that this much of a connector's table makes, in a folder with a signed file.
    fn gate(folder: &Path, keys: &str) -> Gate {
        for name in ["signed.txt", "prehashed.minisig", "legacy.minisig"] {
            fs::copy(samples().join(name), folder.join(name)).unwrap();
        }
        let text = format!(
            "[host]\nname = \"a\"\n[delivery_agent_connectors.fax]\naddress_spaces = [\"FAX:*\"]\n\
             agent = \"signed.txt\"\n{keys}"
        );
        let file = folder.join("postern.toml");
        let (config, _) = check_text(&text, &file, &file, &|_| None).unwrap();
        Gate::new(&config.delivery_agent_connectors[0], folder)
    }

    fn signer() -> String {
        let text = fs::read_to_string(samples().join("signer.pub")).unwrap();
        format!("trusted_keys = [\"{}\"]\n", text.lines().nth(1).unwrap())
    }

    #[test]
    fn without_demands_nothing_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let gate = gate(folder.path(), "");
        assert_eq!(gate.configured(&folder.path().join("missing")), Ok(Shown::default()));
        assert!(!gate.is_pinned() && gate.place_of_signature().is_none());
    }

    #[test]
    fn another_digest_is_told_with_file_and_both_digests() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signed.txt");
        let pinned = gate(folder.path(), &format!("sha256 = \"{}\"", "ab".repeat(32)));
        let why = pinned.configured(&file).unwrap_err();
        let found = Sha256::digest(fs::read(&file).unwrap());
        let found: String = found.iter().map(|b| format!("{b:02x}")).collect();
        for part in [file.to_str().unwrap(), &"ab".repeat(32), &found] {
            assert!(why.contains(part), "{part}: {why}");
        }
        let pinned = gate(folder.path(), &format!("sha256 = \"{found}\""));
        assert_eq!(pinned.configured(&file).unwrap().sha256, Some(found));
        assert!(pinned.is_pinned());
    }

    #[test]
    fn a_signature_is_looked_for_where_it_belongs() {
        let folder = tempfile::tempdir().unwrap();
        let (file, beside) = (folder.path().join("signed.txt"), folder.path().join("signed.txt.minisig"));
        let named = gate(folder.path(), &format!("{}signature = \"legacy.minisig\"", signer()));
        assert!(named.configured(&file).is_ok());
        let beside_it = gate(folder.path(), &signer());
        assert!(beside_it.configured(&file).unwrap_err().contains("signed.txt.minisig"));
        assert!(named.offered(&file).is_err(), "what is offered has its signature beside it");
        fs::copy(folder.path().join("prehashed.minisig"), &beside).unwrap();
        let shown = beside_it.configured(&file).unwrap();
        assert_eq!((&shown, shown.signature.is_some()), (&named.offered(&file).unwrap(), true));
        fs::write(&file, "tampered with").unwrap();
        assert!(beside_it.configured(&file).unwrap_err().contains("not the signature of this file"));
        fs::write(&beside, vec![b'x'; 10_000]).unwrap();
        assert!(beside_it.configured(&file).unwrap_err().contains("more than 8192 bytes"));
    }

    #[test]
    fn a_component_whose_signature_was_replaced_before_it_still_counts_as_signed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, beside) = (folder.path().join("signed.txt"), folder.path().join("signed.txt.minisig"));
        let gate = gate(folder.path(), &signer());
        fs::copy(folder.path().join("prehashed.minisig"), &beside).unwrap();
        let shown = gate.configured(&file).unwrap();
        gate.keep(&shown).unwrap();
        fs::write(&beside, "of the next version").unwrap();
        assert_eq!(
            gate.configured(&file),
            Ok(shown),
            "an installation ended between signature and component"
        );
        assert!(gate.offered(&file).is_err(), "what is offered has its own signature");
        fs::write(&file, "tampered with").unwrap();
        assert!(gate.configured(&file).unwrap_err().contains("no signature of minisign"));
    }

    #[test]
    fn copies_need_the_signature_that_was_kept_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signed.txt");
        let gate = gate(folder.path(), &format!("{}signature = \"legacy.minisig\"", signer()));
        let shown = gate.configured(&file).unwrap();
        let sha256 = shown.sha256.clone().unwrap();
        assert!(gate.kept(&file, &sha256).is_err());
        gate.keep(&shown).unwrap();
        assert_eq!(gate.kept(&file, &sha256), Ok(()));
        assert!(gate.kept(&file, &"00".repeat(32)).unwrap_err().contains("sha256"));
        // The next one pushes it out, because there is no copy of it.
        gate.keep(&Shown { sha256: Some("cc".to_owned()), ..shown }).unwrap();
        assert!(gate.kept(&file, &sha256).is_err());
    }
}
