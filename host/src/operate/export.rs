//! Export: an item as a file with its envelope, for a replay directory. The item stays in its queue.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use postern_drop::profile::exchange::Block;
use postern_model::{Content, ItemId, RecipientState};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{OperateError, Operations, show};
use crate::export::{self, Addresses};
use crate::receive::file::import::ImportKey;

/// Bytes of content read at once.
const PIECE: usize = 64 * 1024;

/// Writes an item to a new file, for those of its recipients of whom nothing is decided.
pub async fn item(operations: &Operations, id: ItemId, to: PathBuf) -> Result<Value, OperateError> {
    let failed = |error: io::Error| OperateError::Failed(format!("{}: {error}", to.display()));
    if !to.is_absolute() {
        return Err(OperateError::Failed(format!("{} is not a full path", to.display())));
    }
    let loaded = operations.store().load(id).await?.ok_or_else(|| show::not_queued(id.message))?;
    let open = loaded.item.recipients.iter().filter(|r| !matches!(r.state, RecipientState::Final { .. }));
    let envelope = &loaded.message.envelope;
    let mut block = export::block(envelope, open.map(|r| &r.recipient), Addresses::Envelope);
    block.own_properties = export::own_properties(envelope).map(|own| own.to_value());
    let recipients = block.receivers.len();
    let data = operations.settler.topology().config.host.data_directory.clone();
    let (path, content) = (to.clone(), loaded.content.clone());
    let written = tokio::task::spawn_blocking(move || write(&path, &data, block, &content)).await;
    let bytes = written.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(failed)?;
    Ok(json!({
        "item": id.to_string(), "file": to.display().to_string(), "bytes": bytes, "recipients": recipients,
    }))
}

fn write(path: &Path, data_directory: &Path, mut block: Block, content: &Content) -> io::Result<u64> {
    let key = ImportKey::open(data_directory)?;
    let (mut digest, mut reader, mut piece) = (Sha256::new(), content.reader()?, vec![0; PIECE]);
    loop {
        match reader.read(&mut piece)? {
            0 => break,
            length => digest.update(&piece[..length]),
        }
    }
    block.token = Some(key.token(&block.fields(), &digest.finalize()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = fill(&mut file, &block.to_bytes(), content);
    if written.is_err() {
        // Half a message must not be taken for one.
        let _ = std::fs::remove_file(path);
        return written;
    }
    // Whoever removes the item now relies on the file.
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
    written
}

fn fill(file: &mut File, block: &[u8], content: &Content) -> io::Result<u64> {
    file.write_all(block)?;
    let copied = io::copy(&mut content.reader()?, file)?;
    file.sync_all()?;
    Ok(block.len() as u64 + copied)
}
