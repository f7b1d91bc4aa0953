//! `[agents]`, and the keys of a delivery agent that say which component it must be: its digest, and who must have signed it.

use std::fmt;
use std::path::{Path, PathBuf};

use minisign_verify::{Error, PublicKey, Signature};
use toml::de::DeValue;

use super::raw::{Section, Wrong};
use super::values::{boolean, line, quoted};

/// `[agents]`: what holds for all agents.
#[derive(Clone, Debug, Default)]
pub(super) struct AgentsConfig {
    trusted_keys: Vec<TrustedKey>,
    require_signature: bool,
}

/// What the component of a connector must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authenticity {
    /// The SHA-256 that it must have, in lower-case hex; `None`: any.
    pub sha256: Option<String>,
    /// Who must have signed it; `None`: nobody.
    pub signed: Option<Signed>,
}

/// A signature that is demanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Where it lies.
    pub file: PathBuf,
    /// Whose signatures count: any of these.
    pub keys: Vec<TrustedKey>,
}

/// A public key of minisign.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey(PublicKey);

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustedKey")
    }
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// The text is no signature.
    #[error("it is no signature of minisign")]
    NoSignature,
    /// Whoever made it is not trusted.
    #[error("it was made with a key that is not among trusted_keys")]
    OtherKey,
    /// It is of another file, or was tampered with.
    #[error("it is not the signature of this file")]
    OtherFile,
}

impl Signed {
    /// Whether `text` is a signature of `bytes` with one of the keys: of their hash, as minisign makes them today, or of
    /// themselves, as it did before 0.10.
    ///
    /// # Errors
    /// Why it is not.
    pub fn verify(&self, bytes: &[u8], text: &str) -> Result<(), NotSigned> {
        let signature = Signature::decode(text).map_err(|_| NotSigned::NoSignature)?;
        let mut why = NotSigned::OtherKey;
        for key in &self.keys {
            match key.0.verify(bytes, &signature, true) {
                Ok(()) => return Ok(()),
                Err(Error::UnexpectedKeyId) => {}
                Err(_) => why = NotSigned::OtherFile,
            }
        }
        Err(why)
    }
}

/// Where the signature of a component lies if nobody says otherwise: `NAME.wasm.minisig`, as minisign itself has it.
#[must_use]
pub fn signature_of(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".minisig");
    PathBuf::from(path)
}

impl AgentsConfig {
    pub(super) fn read(root: &Section<'_>) -> Self {
        let section = root.table("agents");
        let trusted_keys = section.list("trusted_keys", key).unwrap_or_default();
        let require_signature = section.or("require_signature", boolean, false);
        section.finish();
        Self { trusted_keys, require_signature }
    }
}

impl Authenticity {
    /// Of the connector whose table this is. A signature is demanded when the connector names one, or keys of its own, or
    /// when `[agents]` demands one of all.
    pub(super) fn read(section: &Section<'_>, agent: Option<&Path>, all: &AgentsConfig) -> Self {
        let sha256 = section.optional("sha256", digest);
        let file = section.optional("signature", line).map(|path| section.document().resolve(&path));
        let own = section.list("trusted_keys", key);
        let demanded = all.require_signature || file.is_some() || own.is_some();
        let keys: Vec<_> = own.into_iter().flatten().chain(all.trusted_keys.iter().cloned()).collect();
        if demanded && keys.is_empty() {
            section.fault(Wrong::hinted(
                "its component must be signed, and there is no key that could have signed it",
                "add trusted_keys = [\"RW...\"], here or under [agents]",
            ));
        }
        let file = file.or_else(|| agent.map(signature_of));
        Self { sha256, signed: file.filter(|_| demanded).map(|file| Signed { file, keys }) }
    }
}

fn digest(value: &DeValue<'_>) -> Result<String, Wrong> {
    let found = line(value)?.to_ascii_lowercase();
    if found.len() == 64 && found.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(found);
    }
    let hint = "write the 64 digits that `postern agent inspect FILE` shows as sha256";
    Err(Wrong::hinted(format!("{} is no SHA-256", quoted(&found)), hint))
}

fn key(value: &DeValue<'_>) -> Result<TrustedKey, Wrong> {
    let found = line(value)?;
    PublicKey::from_base64(&found).map(TrustedKey).map_err(|_| {
        let hint = "write the second line of minisign.pub: \"RW...\"";
        Wrong::hinted(format!("{} is no public key of minisign", quoted(&found)), hint)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Keys, a file, and its signatures, made with another implementation of minisign. They stay as they are.
    fn sample(name: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/samples/signatures");
        fs::read_to_string(root.join(name)).unwrap()
    }

    fn by(keys: &[&str]) -> Signed {
        let key = |name: &&str| TrustedKey(PublicKey::decode(&sample(name)).unwrap());
        Signed { file: PathBuf::new(), keys: keys.iter().map(key).collect() }
    }

    #[test]
    fn signatures_of_a_hash_and_of_the_file_itself_count_for_trusted_keys_only() {
        let file = sample("signed.txt");
        for name in ["prehashed.minisig", "legacy.minisig"] {
            let verify = |keys: &[&str], bytes: &str, text: &str| by(keys).verify(bytes.as_bytes(), text);
            let text = sample(name);
            assert_eq!(verify(&["signer.pub"], &file, &text), Ok(()), "{name}");
            assert_eq!(verify(&["other.pub", "signer.pub"], &file, &text), Ok(()), "{name}");
            assert_eq!(verify(&["other.pub"], &file, &text), Err(NotSigned::OtherKey), "{name}");
            assert_eq!(verify(&[], &file, &text), Err(NotSigned::OtherKey), "{name}");
            let changed = file.replace("not", "now");
            assert_eq!(verify(&["signer.pub"], &changed, &text), Err(NotSigned::OtherFile), "{name}");
            // What minisign itself trusts in the comment is signed, too.
            let changed = text.replace("signed.txt", "other.txt.");
            assert_eq!(verify(&["signer.pub"], &file, &changed), Err(NotSigned::OtherFile), "{name}");
            let cut: String = text.lines().take(2).collect();
            assert_eq!(verify(&["signer.pub"], &file, &cut), Err(NotSigned::NoSignature), "{name}");
        }
        assert_eq!(by(&["signer.pub"]).verify(file.as_bytes(), ""), Err(NotSigned::NoSignature));
    }

    #[test]
    fn a_digest_is_64_digits_in_either_case() {
        let read = |text: &str| digest(DeValue::parse(text).unwrap().get_ref());
        assert_eq!(read(&format!("\"{}\"", "aB".repeat(32))), Ok("ab".repeat(32)));
        for wrong in
            ["\"\"".to_owned(), format!("\"{}\"", "ab".repeat(31)), format!("\"{}\"", "xy".repeat(32))]
        {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_signature_lies_beside_its_component() {
        assert_eq!(signature_of(Path::new("/a/fax.wasm")), Path::new("/a/fax.wasm.minisig"));
    }
}
