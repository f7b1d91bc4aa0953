//! Makes components of hand-written `.wat` agents at test time.
//!
//! An agent file holds the functions that matter; what every agent needs (imports, memory, an allocator that only goes
//! forward, helpers) comes from `prelude.wat`, and the exports that the file does not define come from
//! `defaults/<export>.wat`. What only one agent imports stands in its own file, each import on a line. Other crates' tests
//! may include this file with `#[path]`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The exports of the `agent` interface, each with the file that defines it where an agent does not.
const EXPORTS: [&str; 4] = ["describe", "open-connection", "deliver", "close-connection"];

/// The optional interfaces of the contract.
const OPTIONAL: [&str; 5] = ["batch", "session", "receipts", "callback", "probe"];

/// The component that a `.wat` agent makes.
pub fn encode(agent: &Path) -> Vec<u8> {
    let contract = workspace(Path::new(env!("CARGO_MANIFEST_DIR"))).join("wit/0.1.0");
    encode_for(agent, &contract, "0.1.0")
}

/// The component that an agent makes which was written for this version of the contract.
pub fn encode_for(agent: &Path, contract: &Path, version: &str) -> Vec<u8> {
    let root = workspace(Path::new(env!("CARGO_MANIFEST_DIR"))).join("host/agent");
    let read =
        |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let support = root.join("tests/support");
    let body = read(agent.to_owned());
    // The text format wants all imports before anything else.
    let (imports, rest): (Vec<&str>, Vec<&str>) =
        body.lines().partition(|line| line.trim_start().starts_with("(import "));
    let prelude = read(support.join("prelude.wat"));
    let mut text = format!("(module\n{}\n{prelude}\n{}\n", imports.join("\n"), rest.join("\n"));
    for export in EXPORTS.iter().filter(|export| !body.contains(&format!("#{export}\""))) {
        text += &read(support.join(format!("defaults/{export}.wat")));
    }
    text += ")\n";
    let text = text.replace("@0.1.0", &format!("@{version}"));
    let mut core = wat::parse_str(&text).unwrap_or_else(|e| panic!("{}: {e}", agent.display()));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(contract).unwrap();
    let optional: Vec<&str> =
        OPTIONAL.iter().copied().filter(|name| body.contains(&format!("/{name}@"))).collect();
    let (package, world) = if !optional.is_empty() {
        keep_only(&mut resolve, &optional);
        (package, "delivery-agent-full")
    } else if body.contains("\"wasi:") {
        let wit = support.join("wasi.wit");
        (resolve.push_str(&wit, &read(wit.clone())).unwrap(), "wasi-agent")
    } else {
        (package, "delivery-agent")
    };
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    let mut encoder = ComponentEncoder::default().validate(true).module(&core).unwrap();
    encoder.encode().unwrap_or_else(|e| panic!("{}: {e:?}", agent.display()))
}

/// Writes the component of a `.wat` agent into `folder` and gives its path.
pub fn encode_into(agent: &Path, folder: &Path) -> PathBuf {
    let path = folder.join(agent.file_stem().unwrap()).with_extension("wasm");
    fs::write(&path, encode(agent)).unwrap();
    path
}

/// The full world demands every optional interface; these agents implement some of them.
fn keep_only(resolve: &mut Resolve, optional: &[&str]) {
    let names: Vec<_> =
        resolve.interfaces.iter().map(|(id, i)| (id, i.name.clone().unwrap_or_default())).collect();
    for (_, world) in resolve.worlds.iter_mut() {
        world.exports.retain(|key, _| match key {
            wit_parser::WorldKey::Interface(id) => names
                .iter()
                .any(|(known, name)| known == id && (name == "agent" || optional.contains(&name.as_str()))),
            wit_parser::WorldKey::Name(_) => true,
        });
    }
}

fn workspace(here: &Path) -> PathBuf {
    here.ancestors().find(|path| path.join("wit/0.1.0").is_dir()).expect("the workspace").to_owned()
}
