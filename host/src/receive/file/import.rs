//! ImportKey: how the host knows its own exports again. Whoever can write a file into a replay directory can claim anything in
//! it; only who has the key in the data directory can make the token that goes with it.

use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::private;

/// The file in the data directory; without it earlier exports count as anybody's files.
const FILE: &str = "import.key";
/// How a token begins: the version of what it is made of.
const VERSION: &str = "v1";
/// Bytes that SHA-256 takes at once (FIPS 180-4), to which HMAC pads its key.
const BLOCK: usize = 64;

/// The key of this host.
#[derive(Clone)]
pub struct ImportKey([u8; private::KEY]);

impl ImportKey {
    /// Reads the key of a data directory, or makes one there (mode 0600).
    ///
    /// # Errors
    /// When it cannot be read or written, or is no key.
    pub fn open(data_directory: &Path) -> io::Result<Self> {
        private::key(data_directory, FILE).map(Self)
    }

    /// The token of an export: of the fields of its block as [`postern_drop::profile::exchange::Block::fields`] writes them,
    /// and of the SHA-256 of the message behind the block.
    #[must_use]
    pub fn token(&self, fields: &str, message: &[u8]) -> String {
        let mac = self.mac(&[fields.as_bytes(), b"\0", message]);
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{VERSION} {hex}")
    }

    /// Whether this is that token. Takes a time that does not tell how much of it was right.
    #[must_use]
    pub fn is_token(&self, fields: &str, message: &[u8], token: &str) -> bool {
        Sha256::digest(self.token(fields, message)) == Sha256::digest(token)
    }

    /// HMAC (RFC 2104) with SHA-256.
    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let pad = |with: u8| {
            let mut block = [with; BLOCK];
            block.iter_mut().zip(self.0).for_each(|(byte, key)| *byte ^= key);
            block
        };
        let inner =
            parts.iter().fold(Sha256::new_with_prefix(pad(0x36)), |hash, part| hash.chain_update(part));
        Sha256::new_with_prefix(pad(0x5c)).chain_update(inner.finalize()).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_for_one_block_one_message_and_one_host() {
        let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let key = ImportKey::open(here.path()).unwrap();
        let token = key.token("X-Sender: <a@b>\r\n", b"hash");
        assert!(ImportKey::open(here.path()).unwrap().is_token("X-Sender: <a@b>\r\n", b"hash", &token));
        assert!(!key.is_token("X-Sender: <a@c>\r\n", b"hash", &token));
        assert!(!key.is_token("X-Sender: <a@b>\r\n", b"Hash", &token));
        assert!(!key.is_token("X-Sender: <a@b>\r\n", b"hash", &token[..token.len() - 1]));
        assert!(!ImportKey::open(there.path()).unwrap().is_token("X-Sender: <a@b>\r\n", b"hash", &token));
    }

    /// RFC 4231, test case 2, has a short key; HMAC pads keys with zeros.
    #[test]
    fn the_mac_is_hmac_sha256() {
        let mut key = [0; private::KEY];
        key[..4].copy_from_slice(b"Jefe");
        let mac = ImportKey(key).mac(&[b"what do ya want ", b"for nothing?"]);
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
