//! The agents of the benchmarks: components made from hand-written texts, and one that is made with the SDK.

use std::path::{Path, PathBuf};

// The tests' encoder, which panics on faults of the checkout; so may a benchmark.
#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

/// One that reads every byte and reports every recipient as delivered. Writes the component into `folder` and gives its
/// path.
pub fn reads_every_byte(folder: &Path) -> PathBuf {
    written("agents/deliver-all", folder)
}

/// One that never returns from a delivery.
pub fn loops(folder: &Path) -> PathBuf {
    written("hostile/loop-deliver", folder)
}

/// One that sends a GET request, to the URL that its settings are.
pub fn gets(folder: &Path) -> PathBuf {
    written("agents/http-get", folder)
}

/// One that does the same over `wasi:http`. Its settings are "AUTHORITY/PATH".
pub fn gets_over_wasi(folder: &Path) -> PathBuf {
    written("agents/wasi-http-get", folder)
}

fn written(name: &str, folder: &Path) -> PathBuf {
    encode::encode_into(&checkout().join("host/agent/tests").join(name).with_extension("wat"), folder)
}

/// The smallest agent that is made with the SDK, as it is kept in the checkout.
pub fn made_with_sdk() -> PathBuf {
    checkout().join("plugins/prebuilt/hello.wasm")
}

/// The folder of the checkout that this program was built from.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the checkout")
}
