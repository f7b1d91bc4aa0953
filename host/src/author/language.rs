//! Language: the languages that `postern agent new` has a folder for.

use serde::{Deserialize, Serialize};

/// A language that delivery agents are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, for `wasm32-unknown-unknown`.
    Rust,
    /// C, by clang or zig.
    C,
    /// JavaScript, in QuickJS.
    Js,
    /// TypeScript, in QuickJS.
    Ts,
    /// Python, in CPython.
    Python,
    /// Go, with its own compiler.
    Go,
    /// C++, by clang or zig.
    Cpp,
}

/// Where a set of embedded files goes in an author's folder: from a folder of the checkout, to one of the author's.
pub type Part = (&'static str, &'static str);

impl Language {
    /// All of them, in the order in which they are documented.
    pub const ALL: [Self; 7] = [Self::Rust, Self::C, Self::Js, Self::Ts, Self::Python, Self::Go, Self::Cpp];

    /// The word for it on the command line and in `build.toml`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Js => "js",
            Self::Ts => "ts",
            Self::Python => "python",
            Self::Go => "go",
            Self::Cpp => "cpp",
        }
    }

    /// What helps its authors, beside the template.
    #[must_use]
    pub fn sdk(self) -> &'static [Part] {
        match self {
            Self::Rust => &[("plugins/sdk", "sdk")],
            Self::C | Self::Cpp => &[("plugins/languages/c/sdk", "sdk")],
            Self::Js | Self::Ts => &[("plugins/languages/js/sdk", "sdk")],
            Self::Python => {
                &[("plugins/languages/python/sdk", "sdk"), ("plugins/languages/python/testing", "testing")]
            }
            Self::Go => &[("plugins/languages/go/sdk", "sdk")],
        }
    }
}
