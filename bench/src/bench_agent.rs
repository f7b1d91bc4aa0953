//! The agent of the benchmarks: a component made from a hand-written text, which reads every byte and reports every
//! recipient as delivered.

use std::path::{Path, PathBuf};

// The tests' encoder, which panics on faults of the checkout; so may a benchmark.
#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

/// Writes the component into `folder` and gives its path.
pub fn reads_every_byte(folder: &Path) -> PathBuf {
    encode::encode_into(&checkout().join("host/agent/tests/agents/deliver-all.wat"), folder)
}

/// The smallest agent that is made with the SDK, as it is kept in the checkout.
pub fn made_with_sdk() -> PathBuf {
    checkout().join("plugins/prebuilt/hello.wasm")
}

/// The folder of the checkout that this program was built from.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the checkout")
}
