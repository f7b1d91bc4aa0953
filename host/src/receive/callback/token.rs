//! CallbackKey: what makes the URLs of call-backs impossible to guess.

use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::private;

/// The file in the data directory; without it all URLs that providers know are void.
const FILE: &str = "callback.key";
/// Bytes of a token (in hex twice as many letters).
const TOKEN: usize = 16;

/// The key of this host. Tokens are made of it and of the connector's name, so they stay the same over restarts.
#[derive(Clone)]
pub struct CallbackKey([u8; private::KEY]);

impl CallbackKey {
    /// Reads the key of a data directory, or makes one there (mode 0600).
    ///
    /// # Errors
    /// When it cannot be read or written, or is no key.
    pub fn open(data_directory: &Path) -> io::Result<Self> {
        private::key(data_directory, FILE).map(Self)
    }

    /// The token of a connector, in lower-case hex.
    #[must_use]
    pub fn token_of(&self, connector: &str) -> String {
        let digest = Sha256::new().chain_update(self.0).chain_update(Sha256::digest(connector)).finalize();
        digest.iter().take(TOKEN).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether this is the connector's token. Takes a time that does not tell how much of it was right.
    #[must_use]
    pub fn is_token_of(&self, connector: &str, token: &str) -> bool {
        Sha256::digest(self.token_of(connector)) == Sha256::digest(token)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn tokens_differ_by_connector_and_host_and_stay_over_restarts() {
        let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let key = CallbackKey::open(here.path()).unwrap();
        let token = key.token_of("fax");
        assert_eq!(token.len(), 32);
        assert_eq!(CallbackKey::open(here.path()).unwrap().token_of("fax"), token);
        assert_ne!(key.token_of("sms"), token);
        assert_ne!(CallbackKey::open(there.path()).unwrap().token_of("fax"), token);
        assert!(key.is_token_of("fax", &token));
        for wrong in ["", &token[1..], &key.token_of("sms"), &token.to_uppercase()] {
            assert!(!key.is_token_of("fax", wrong), "{wrong}");
        }
        let mode = fs::metadata(here.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_key_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), b"short").unwrap();
        let error = CallbackKey::open(folder.path()).err().unwrap();
        assert!(error.to_string().contains("callback.key"), "{error}");
    }
}
