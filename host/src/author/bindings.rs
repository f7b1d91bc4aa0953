//! Bindings: the sources that C, C++ and Go need beside the author's own, generated from the contract in `wit/`.

use std::fs;
use std::path::Path;

use wit_bindgen_core::{Files, WorldGenerator};
use wit_parser::{Resolve, WorldId};

use super::language::Language;
use super::project::Project;

/// How the world is called in generated C, whatever its name: the author's code does not change with it.
const C_NAME: &str = "delivery_agent";

/// Writes the bindings of a project, anew; nothing for languages whose tools make their own.
///
/// # Errors
/// When the contract cannot be read, has no such world, or the files cannot be written; in words.
pub fn generate(project: &Project) -> Result<(), String> {
    let mut generator: Box<dyn WorldGenerator> = match project.language {
        Language::C | Language::Cpp => {
            let options = wit_bindgen_c::Opts { rename_world: Some(C_NAME.to_owned()), ..Default::default() };
            options.build()
        }
        Language::Go => {
            let format = wit_bindgen_go::Format::False;
            wit_bindgen_go::Opts { format, ..Default::default() }.build()
        }
        Language::Rust | Language::Js | Language::Ts | Language::Python => return Ok(()),
    };
    let (mut resolve, world) = world(project)?;
    let mut files = Files::default();
    let made = generator.generate(&mut resolve, world, &mut files);
    made.map_err(|error| format!("the bindings cannot be generated: {error:#}"))?;
    let folder = project.generated();
    for (name, bytes) in files.iter() {
        write(&folder.join(name), bytes)?;
    }
    Ok(())
}

/// The contract in the project's `wit/`, and the world that it implements.
///
/// # Errors
/// When it cannot be read, or has no such world; in words.
pub fn world(project: &Project) -> Result<(Resolve, WorldId), String> {
    let wit = project.folder.join("wit");
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", wit.display());
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(&wit).map_err(|error| told(&format!("{error:#}")))?;
    let world = resolve.select_world(&[package], Some(&project.world));
    let world = world.map_err(|error| told(&format!("{error:#}")))?;
    Ok((resolve, world))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, bytes));
    written.map_err(|error| format!("{}: {error}", path.display()))
}
