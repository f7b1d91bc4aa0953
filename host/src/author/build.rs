//! Build: from an author's folder to a component.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::bindings;
use super::component;
use super::project::Project;
use super::record::Record;
use super::tools::Tools;

/// The script of every project that makes a component, or a core module of which this makes one.
pub const SCRIPT: &str = "build.sh";

/// A component that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Where it is.
    pub component: PathBuf,
    /// Bytes.
    pub size: u64,
    /// How long it took; `None` where sources and tools were unchanged and nothing was built.
    pub took: Option<Duration>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum BuildFault {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The build script failed; what it says stands above.
    #[error("{SCRIPT} failed ({0})")]
    Script(String),
    /// It made nothing, or something that is no component for the contract.
    #[error("{0}")]
    Result(String),
}

/// Builds a project with these tools; nothing is done where the component was built from just these sources, unless `force`
/// is set. What the build script says goes to this process's standard error output.
///
/// # Errors
/// When the script fails, or what it makes is no component.
pub fn build(project: &Project, tools: &Tools, force: bool) -> Result<Built, BuildFault> {
    let record = Record::of(project, tools).map_err(BuildFault::Result)?;
    if !force && record.is_built(project) {
        return built(project, None);
    }
    let start = Instant::now();
    let output = project.output();
    remove_old(project)?;
    fs::create_dir_all(&output).map_err(failed(&output))?;
    bindings::generate(project).map_err(BuildFault::Result)?;
    run_script(project, tools)?;
    if project.module().exists() {
        component::encode(project).map_err(BuildFault::Result)?;
    } else if !project.component().exists() {
        let (module, component) = (project.module(), project.component());
        let text = format!("{SCRIPT} made neither {} nor {}", component.display(), module.display());
        return Err(BuildFault::Result(text));
    }
    // What the agent asks for lies beside the component under its name; `postern agent install` reads it there.
    let (manifest, beside) = (project.folder.join("agent.toml"), project.component().with_extension("toml"));
    if manifest.exists() {
        fs::copy(&manifest, &beside).map_err(failed(&manifest))?;
    }
    record.write(project).map_err(failed(&output))?;
    built(project, Some(start.elapsed()))
}

fn built(project: &Project, took: Option<Duration>) -> Result<Built, BuildFault> {
    let component = project.component();
    let size = fs::metadata(&component).map_err(failed(&component))?.len();
    Ok(Built { component, size, took })
}

/// Removes what an earlier build made, so that nothing of it is taken for the new one's.
fn remove_old(project: &Project) -> Result<(), BuildFault> {
    for file in [project.component(), project.module()] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&file)(error)),
            _ => {}
        }
    }
    let folder = project.generated();
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&folder)(error)),
        _ => Ok(()),
    }
}

fn run_script(project: &Project, tools: &Tools) -> Result<(), BuildFault> {
    let script = project.folder.join(SCRIPT);
    // Standard output is for the answer of this program.
    let errors = io::stderr().as_fd().try_clone_to_owned().map_err(failed(&script))?;
    // By its usual place: PATH is for the tools of the script.
    let status = Command::new("/bin/sh")
        .arg(SCRIPT)
        .current_dir(&project.folder)
        .env("NAME", &project.name)
        .env("WORLD", &project.world)
        .envs(&tools.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::from(errors))
        .status()
        .map_err(failed(&script))?;
    if status.success() { Ok(()) } else { Err(BuildFault::Script(status.to_string())) }
}

fn failed(path: &std::path::Path) -> impl FnOnce(io::Error) -> BuildFault + use<> {
    let path = path.to_owned();
    move |error| BuildFault::File { path, error }
}

#[cfg(test)]
mod tests {
    use super::super::Language;
    use super::*;

    fn project(script: &str) -> (tempfile::TempDir, Project) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(SCRIPT), script).unwrap();
        let project = Project {
            folder: folder.path().to_owned(),
            name: "a".to_owned(),
            language: Language::Js,
            world: "delivery-agent".to_owned(),
        };
        (folder, project)
    }

    #[test]
    fn a_script_makes_the_component_and_runs_again_only_when_something_changed() {
        let (folder, project) = project("echo once >>runs.log\necho $TOOL >build/$NAME.wasm\nrm runs.log\n");
        fs::write(folder.path().join("agent.toml"), "v = 1\n").unwrap();
        let mut tools = Tools::default();
        tools.environment.insert("TOOL", "some tool".into());
        let first = build(&project, &tools, false).unwrap();
        assert!(first.took.is_some() && first.component.ends_with("build/a.wasm"));
        assert_eq!(fs::read_to_string(&first.component).unwrap(), "some tool\n");
        assert_eq!(fs::read_to_string(folder.path().join("build/a.toml")).unwrap(), "v = 1\n");
        assert_eq!(build(&project, &tools, false).unwrap().took, None);
        assert!(build(&project, &tools, true).unwrap().took.is_some(), "forced");
        fs::write(folder.path().join("agent.js"), "new").unwrap();
        assert!(build(&project, &tools, false).unwrap().took.is_some());
    }

    #[test]
    fn a_failing_or_idle_script_leaves_no_component() {
        let (_folder, idle) = project("true\n");
        fs::create_dir_all(idle.output()).unwrap();
        fs::write(idle.component(), "old").unwrap();
        let fault = build(&idle, &Tools::default(), false).unwrap_err().to_string();
        assert!(fault.contains("made neither") && fault.contains("a.core.wasm"), "{fault}");
        assert!(!idle.component().exists(), "an old component is not taken for a new one");
        let (_folder, broken) = project("exit 7\n");
        let fault = build(&broken, &Tools::default(), false).unwrap_err().to_string();
        assert!(fault.contains("build.sh failed") && fault.contains('7'), "{fault}");
    }
}
