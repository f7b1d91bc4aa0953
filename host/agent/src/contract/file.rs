//! A look into a component file for the version of the contract that it was built for. Nothing is compiled for that.

use std::path::Path;

use postern_model::text::one_line;
use wasmparser::{Parser, Payload};

use crate::LoadError;

/// The longest name of an export that is looked at, in bytes.
const MAX_NAME: usize = 200;

/// Why a component would not be loaded because of the version of the contract that it was built for; `None` when that is
/// served, or cannot be told from the file. Blocking: the file is read, at most `max` bytes of it or nothing.
#[must_use]
pub fn unserved_contract(component: &Path, max: u64) -> Option<LoadError> {
    let size = std::fs::metadata(component).ok()?.len();
    let wasm = (size <= max).then(|| std::fs::read(component).ok())??;
    let exports = exports(&wasm)?;
    let built_for = super::of(&exports).err().filter(|versions| !versions.is_empty())?;
    Some(LoadError::Contract {
        path: component.to_owned(),
        built_for: built_for.into_iter().map(str::to_owned).collect(),
    })
}

/// The names of what a component exports itself; those of the components and modules within it do not count.
fn exports(wasm: &[u8]) -> Option<Vec<String>> {
    let mut depth = 0_u32;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.ok()? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    names.push(one_line(export.ok()?.name.name, MAX_NAME));
                }
            }
            _ => {}
        }
    }
    Some(names)
}
