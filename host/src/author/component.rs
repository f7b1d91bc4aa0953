//! Component: what a compiler made becomes a component.

use std::fs;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as WASI_PREVIEW_1, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding};

use super::bindings;
use super::language::Language;
use super::project::Project;

/// The calls of WASI preview 1 that C libraries make to print and to exit. They fail (8 is "bad descriptor"): there is
/// nothing to print to, and so a component needs no WASI at all.
const NO_WASI: &str = r#"(module
    (func (export "fd_close") (param i32) (result i32) i32.const 8)
    (func (export "fd_fdstat_get") (param i32 i32) (result i32) i32.const 8)
    (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) i32.const 8)
    (func (export "fd_write") (param i32 i32 i32 i32) (result i32) i32.const 8)
    (func (export "proc_exit") (param i32) unreachable))"#;

/// Makes a component of the core module of a project, and writes it in its place.
///
/// # Errors
/// When the module cannot be read, is none, or does not fit the contract; in words.
pub fn encode(project: &Project) -> Result<(), String> {
    let file = project.module();
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut module = fs::read(&file).map_err(|error| told(&error))?;
    if project.language == Language::Go {
        let (resolve, world) = bindings::world(project)?;
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .map_err(|error| told(&format!("{error:#}")))?;
    }
    let component = bytes(project.language, &module).map_err(|error| told(&error))?;
    fs::write(project.component(), component).map_err(|error| format!("{}: {error}", file.display()))
}

fn bytes(language: Language, module: &[u8]) -> Result<Vec<u8>, String> {
    let told = |error| format!("{error:#}");
    let encoder = ComponentEncoder::default().validate(true).module(module).map_err(told)?;
    let encoder = match language {
        // Go's own runtime reads clocks and random bytes, and its libraries more; it gets all of WASI.
        Language::Go => encoder.adapter(WASI_PREVIEW_1, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
        _ => {
            let stub = wat::parse_str(NO_WASI).map_err(|error| error.to_string())?;
            encoder.adapter(WASI_PREVIEW_1, &stub)
        }
    };
    encoder.map_err(told)?.encode().map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_not_encoded() {
        assert!(bytes(Language::C, b"not wasm").is_err());
    }

    #[test]
    fn the_calls_of_a_c_library_need_no_wasi() {
        let module = r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1))"#;
        let component = bytes(Language::C, &wat::parse_str(module).unwrap()).unwrap();
        let text = String::from_utf8_lossy(&component);
        assert!(!text.contains("wasi:"), "no interface of WASI is imported");
    }
}
