//! Part d: the drop directory's writer, beside bare files that are written, synced and renamed, with the syncs of the
//! directory batched alike.

use std::path::Path;

use crate::Fallible;
use crate::options::Scale;
use crate::row::Row;

/// Runs the part in `folder`.
pub fn run(_folder: &Path, _scale: &Scale) -> Fallible<Vec<Row>> {
    Ok(Vec::new())
}
