//! Loads machine code that this host compiled itself. The only unsafe code of the crate.

#![allow(unsafe_code)]

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::VettedFile;

/// Maps a precompiled component into memory.
pub(crate) fn load(engine: &Engine, file: &VettedFile) -> wasmtime::Result<Component> {
    // SAFETY: the file is machine code and must come from `Engine::precompile_component`. A `VettedFile` can only be made
    // by the cache, which found the file and its directory owned by our own user and writable by nobody else, and only
    // this crate, running as that user, puts files of that name there: written to a temporary file, synced, then renamed.
    // The file is never changed in place, so the mapping stays valid. wasmtime itself refuses a file of another version
    // or configuration.
    unsafe { Component::deserialize_file(engine, file.path()) }
}
