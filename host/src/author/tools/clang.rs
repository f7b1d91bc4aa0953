//! Clang: compilers for C and C++: LLVM's from Debian, or zig, which brings all it needs.

use std::path::{Path, PathBuf};

use super::{Missing, Search, Tools, ask, version};

/// The releases of LLVM that are looked for, the one that was tried first.
const RELEASES: [&str; 4] = ["19", "20", "21", "18"];
const TARGET: &str = "--target=wasm32-wasi";
/// Linkers make a library that is called by its host, without WASI's `main`, and a stack of 64 KiB.
const LINK: &str = "-mexec-model=reactor -Wl,-z,stack-size=65536";
const ZIG_VERSION: &str = "0.17.1";

/// C or C++.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    C,
    Cpp,
}

/// A compiler with a linker and a C library for WebAssembly.
pub(super) fn find(search: &Search, dialect: Dialect) -> Result<Tools, Vec<Missing>> {
    let found = RELEASES.iter().find_map(|release| llvm(search, release, dialect));
    let found = found.or_else(|| zig_as_compiler(search, dialect));
    found.ok_or_else(|| {
        let (what, more) = match dialect {
            Dialect::C => ("a C compiler for WebAssembly", ""),
            Dialect::Cpp => {
                ("a C++ compiler for WebAssembly", " libc++-19-dev-wasm32 libc++abi-19-dev-wasm32")
            }
        };
        let how = format!(
            "on Debian, as root: apt-get install --no-install-recommends clang-19 lld-19 \
             libclang-rt-19-dev-wasm32 wasi-libc{more}; or: {}",
            zig_by_pip()
        );
        vec![Missing::new(what, how)]
    })
}

fn zig_by_pip() -> String {
    format!("python3 -m venv .venv && .venv/bin/pip install ziglang=={ZIG_VERSION}")
}

/// LLVM's compiler of one release, if the linker, the C library and the compiler's own library for WebAssembly are here too.
fn llvm(search: &Search, release: &str, dialect: Dialect) -> Option<Tools> {
    let name = match dialect {
        Dialect::C => "clang",
        Dialect::Cpp => "clang++",
    };
    let compiler = search.program(&format!("{name}-{release}"))?;
    search.program(&format!("wasm-ld-{release}"))?;
    search.place("/usr/include/wasm32-wasi/stdio.h")?;
    let library = ask(&compiler, &[TARGET, "-print-libgcc-file-name"])?;
    Path::new(&library).is_file().then_some(())?;
    if dialect == Dialect::Cpp {
        search.place("/usr/lib/wasm32-wasi/libc++.a")?;
    }
    Some(tools(&compiler, TARGET, "clang"))
}

/// zig as a compiler for C and C++.
fn zig_as_compiler(search: &Search, dialect: Dialect) -> Option<Tools> {
    let zig = zig(search)?;
    let verb = match dialect {
        Dialect::C => "cc",
        Dialect::Cpp => "c++",
    };
    Some(tools(&zig, &format!("{verb} -target wasm32-wasi"), "zig"))
}

fn tools(compiler: &Path, arguments: &str, name: &str) -> Tools {
    let mut tools = Tools::default();
    let ask = if name == "zig" { "version" } else { "--version" };
    tools.versions.push(version(name, compiler, &[ask]));
    tools.environment.insert("CC", compiler.into());
    tools.environment.insert("CC_FLAGS", arguments.into());
    tools.environment.insert("LINK_FLAGS", LINK.into());
    tools
}

/// zig, or the wrapper by which Python's package calls it.
fn zig(search: &Search) -> Option<PathBuf> {
    search.program("zig").or_else(|| search.program("python-zig"))
}
