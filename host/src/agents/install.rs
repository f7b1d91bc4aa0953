//! Installing a version of an agent for a connector.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use jiff::Timestamp;
use postern_agent::Agent;

use super::{Accepted, Consents, Gate, Manifest, Shown, Verdict, Wishes, judge, load};

/// A version that is about to be installed.
pub struct Candidate {
    /// SHA-256, in lower-case hex.
    pub sha256: String,
    /// All that it wants.
    pub wishes: Wishes,
    /// Whether that was agreed to.
    pub verdict: Verdict,
    bytes: Vec<u8>,
    manifest: Option<Vec<u8>>,
    shown: Shown,
}

impl Candidate {
    /// Looks at a component that was loaded from `file` after it had shown this, for a connector.
    ///
    /// # Errors
    /// When the file, its manifest or the record of what was agreed to cannot be read.
    pub fn of(
        agent: &Agent,
        file: &Path,
        shown: Shown,
        connector: &str,
        consents: &Consents,
    ) -> Result<Self, String> {
        let text = |error: io::Error| format!("{}: {error}", file.display());
        let wishes = load::wishes(agent, file)?;
        let bytes = agent.component_in(file).map_err(text)?;
        if shown.sha256.as_deref().is_some_and(|shown| shown != agent.digest()) {
            return Err(format!("{} changed while it was looked at", file.display()));
        }
        let manifest = match fs::read(Manifest::path_of(file)) {
            Ok(manifest) => Some(manifest),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{}: {error}", Manifest::path_of(file).display())),
        };
        let accepted = consents.accepted(connector).map_err(|error| error.to_string())?;
        let sha256 = agent.digest().to_owned();
        let verdict = judge(accepted.as_ref(), &sha256, &wishes);
        Ok(Self { sha256, wishes, verdict, bytes, manifest, shown })
    }

    /// Puts it in the place of the connector's component, with its manifest and signature, and records that it is agreed to.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn install(
        self,
        connector: &str,
        place: &Path,
        gate: &Gate,
        consents: &Consents,
    ) -> Result<(), String> {
        // Agreed to first: a file whose wishes are not on record would be held back.
        let accepted = Accepted { sha256: self.sha256, wishes: self.wishes, at: Timestamp::now() };
        consents.accept(connector, accepted, &self.bytes).map_err(|error| error.to_string())?;
        let manifest = Manifest::path_of(place);
        let written = match self.manifest {
            Some(text) => replace(&manifest, &text),
            None => match fs::remove_file(&manifest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        written.map_err(|error| format!("{}: {error}", manifest.display()))?;
        if let (Some(signature), Some(place)) = (&self.shown.signature, gate.place_of_signature()) {
            let written = replace(place, signature.as_bytes());
            written.map_err(|error| format!("{}: {error}", place.display()))?;
        }
        replace(place, &self.bytes).map_err(|error| format!("{}: {error}", place.display()))
    }
}

/// Writes a file whole or not at all; its name leads to the new bytes only after they are synced.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    // The service reads it, whoever installs it.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(folder)?.sync_all()
}
