//! `grants.directories`: the folders that an agent may use, and which ones no agent gets.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use postern_agent::{Access, DirectoryGrant};
use toml::de::DeValue;

use super::checked::Config;
use super::delivery_agent::DeliveryAgentConfig;
use super::raw::{Document, Section, Wrong};
use super::values::{choice, line, quoted};

/// The words of `access`.
const ACCESS: &[(&str, Access)] = &[("read", Access::Read), ("write", Access::Write)];
/// What the kernel shows of itself and of every process, and devices: no folders that could be jailed.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Reads the list. Names that are there twice are a fault.
pub(super) fn read(section: &Section<'_>) -> Vec<DirectoryGrant> {
    let document = section.document();
    let grants = section.list("directories", |value| grant(value, document)).unwrap_or_default();
    let mut names: Vec<_> = grants.iter().map(DirectoryGrant::name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let message = format!("two directories are {} to the agent", quoted(pair[0]));
        let hint = "give one of them another name: { path = \"...\", as = \"/other\" }";
        section.entry("directories").inspect(|entry| entry.fault(Wrong::hinted(message, hint)));
    }
    grants
}

/// `path`, `path:rw`, or a table with `path`, `as` and `access`.
fn grant(value: &DeValue<'_>, document: &Document<'_>) -> Result<DirectoryGrant, Wrong> {
    let (path, name, access) = match value {
        DeValue::Table(_) => table(value)?,
        _ => short(&line(value)?),
    };
    let path = document.resolve(&path);
    let path = lexical(&path);
    if path.parent().is_none() || SYSTEM.iter().any(|system| path.starts_with(system)) {
        let message = format!("{} is no folder for an agent", quoted(&path.to_string_lossy()));
        return Err(Wrong::hinted(message, "name the folder that it works in"));
    }
    DirectoryGrant::new(path, name.as_deref(), access).map_err(|error| {
        Wrong::hinted(
            format!("{} cannot be granted: {}", quoted(&error.text), error.why),
            "write a folder, \"fax/fonts\" or \"fax/spool:rw\", or { path = \"fax/in\", as = \"/in\", access = \"write\" }",
        )
    })
}

/// `path`, or `path:rw` where the agent may write.
fn short(text: &str) -> (String, Option<String>, Access) {
    match text.rsplit_once(':') {
        Some((path, "rw")) => (path.to_owned(), None, Access::Write),
        Some((path, "ro")) => (path.to_owned(), None, Access::Read),
        _ => (text.to_owned(), None, Access::Read),
    }
}

fn table(value: &DeValue<'_>) -> Result<(String, Option<String>, Access), Wrong> {
    let (mut path, mut name, mut access) = (None, None, Access::Read);
    for (key, value) in value.as_table().into_iter().flatten() {
        let value = value.get_ref();
        match &**key.get_ref() {
            "path" => path = Some(line(value)?),
            "as" => name = Some(line(value)?),
            "access" => access = choice(ACCESS)(value)?,
            other => {
                let message = format!("a directory has no key {}", quoted(other));
                return Err(Wrong::hinted(message, "known are path, as and access"));
            }
        }
    }
    let path = path.ok_or_else(|| Wrong::hinted("a directory needs a path", "add path = \"fax/in\""))?;
    Ok((path, name, access))
}

/// What can only be seen with the whole file in view: whose folders they are.
pub(super) fn check(config: &Config, document: &Document<'_>) {
    for agent in config.delivery_agent_connectors.iter().filter(|agent| agent.common.enabled) {
        let place = format!("delivery_agent_connectors.{}.grants.directories", agent.common.name);
        for grant in &agent.grants.directories {
            match judge(grant, config) {
                Some(Finding::Fault(message)) => {
                    document.fault_at(&place, Wrong::hinted(message, "give the agent a folder of its own"))
                }
                Some(Finding::Doubt(message)) => document.warn_at(&place, Wrong::new(message)),
                None => missing(grant, &place, document),
            }
        }
    }
}

enum Finding {
    Fault(String),
    Doubt(String),
}

fn judge(grant: &DirectoryGrant, config: &Config) -> Option<Finding> {
    let granted = real(grant.path());
    let overlaps = |path: &Path| {
        let path = real(path);
        path.starts_with(&granted) || granted.starts_with(&path)
    };
    let shown = quoted(&grant.path().to_string_lossy());
    if granted.parent().is_none() || SYSTEM.iter().any(|system| granted.starts_with(system)) {
        let message = format!("{shown} leads to {}, which is no folder for an agent", granted.display());
        return Some(Finding::Fault(message));
    }
    if overlaps(&config.host.data_directory) {
        return Some(Finding::Fault(format!("{shown} and the host's data directory overlap")));
    }
    for foreign in config.foreign_connectors.iter().filter(|foreign| foreign.common.enabled) {
        let folders = std::iter::once(&foreign.drop_directory).chain(&foreign.temp_directory);
        if folders.into_iter().any(|folder| overlaps(folder)) {
            let message =
                format!("{shown} and the folders of [foreign_connectors.{}] overlap", foreign.common.name);
            return Some(if grant.is_writable() {
                Finding::Fault(format!("{message}, and the agent could write there"))
            } else {
                Finding::Doubt(format!("{message}: the agent can read the messages there"))
            });
        }
    }
    let lies_there = |file: &&Path| real(file).starts_with(&granted);
    let told = |file: &Path, what: &str| {
        let file = quoted(&file.to_string_lossy());
        format!("{file} lies in {shown}, and the agent could {what}")
    };
    if let Some(file) = closed(config).find(lies_there) {
        return Some(Finding::Fault(told(file, "read it")));
    }
    if grant.is_writable() {
        return trusted(config).find(lies_there).map(|file| Finding::Fault(told(file, "write there")));
    }
    let config_file = Some(config.path.as_path()).filter(lies_there);
    config_file.map(|file| Finding::Doubt(told(file, "read how the host is set up")))
}

/// Files that no agent may read.
fn closed(config: &Config) -> impl Iterator<Item = &Path> {
    let keys = config.callback.tls.iter().map(|tls| tls.private_key.as_path());
    config.secrets.files().chain(keys)
}

/// Files that the host goes by, and that no agent may write.
fn trusted(config: &Config) -> impl Iterator<Item = &Path> {
    let of_agents = config.delivery_agent_connectors.iter().flat_map(|agent: &DeliveryAgentConfig| {
        let signature = agent.authenticity.signed.as_ref().map(|signed| signed.file.as_path());
        let authorities = agent.trusted_certificates.as_deref();
        [Some(agent.agent.as_path()), signature, authorities].into_iter().flatten()
    });
    let certificates = config.callback.tls.iter().map(|tls| tls.certificate.as_path());
    of_agents.chain(certificates).chain([config.path.as_path()])
}

fn missing(grant: &DirectoryGrant, place: &str, document: &Document<'_>) {
    if !grant.path().is_dir() {
        let message = format!("{} is not a folder", quoted(&grant.path().to_string_lossy()));
        let hint = "the connector is off until it is there; messages for it wait";
        document.warn_at(place, Wrong::hinted(message, hint));
    }
}

/// A path without `.` and `..`, by its text alone.
fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// Where a path leads, links followed, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = lexical(path);
    let mut rest: Vec<OsString> = Vec::new();
    let mut there = path.as_path();
    loop {
        if let Ok(found) = fs::canonicalize(there) {
            return rest.into_iter().rev().fold(found, |path, name| path.join(name));
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else { return path };
        rest.push(name.to_owned());
        there = parent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_grants_are_read_only_unless_said() {
        assert_eq!(short("a/fonts"), ("a/fonts".to_owned(), None, Access::Read));
        assert_eq!(short("a/spool:rw"), ("a/spool".to_owned(), None, Access::Write));
        assert_eq!(short("C:ro"), ("C".to_owned(), None, Access::Read));
        let read = |text: &str| table(DeValue::parse(text).unwrap().get_ref());
        let expected = ("in".to_owned(), Some("/in".to_owned()), Access::Write);
        assert_eq!(read("{ path = 'in', as = '/in', access = 'write' }"), Ok(expected));
        assert_eq!(read("{ path = 'in' }"), Ok(("in".to_owned(), None, Access::Read)));
        for wrong in
            ["{}", "{ path = 'in', access = 'rw' }", "{ path = 'in', mode = 'read' }", "{ path = 1 }"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_is_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("data")).unwrap();
        std::os::unix::fs::symlink("data", root.join("link")).unwrap();
        assert_eq!(real(&root.join("link")), root.join("data"));
        assert_eq!(real(&root.join("link/new/deep")), root.join("data/new/deep"));
        assert_eq!(real(&root.join("data/../link/./x")), root.join("data/x"));
    }
}
