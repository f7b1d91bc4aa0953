//! Folder: everything a demo writes, in one place that can be looked through and thrown away.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::cli::CliError;

/// The agent that talks to the fax service; built from `plugins/webhook`.
const AGENT: &[u8] = include_bytes!("../../../../plugins/prebuilt/webhook.wasm");
/// The config, with the addresses of the parties around the host left open.
const CONFIG: &str = include_str!("postern.toml");

/// A demo's folder.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder: the one that was asked for, which must be empty, or a new one for temporary files.
    ///
    /// # Errors
    /// When it is not empty or cannot be made.
    pub fn make(wanted: Option<&Path>) -> Result<Self, CliError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| CliError::failed(format!("{path}: {error}"))
        };
        let path = match wanted {
            Some(path) => {
                fs::create_dir_all(path).map_err(failed(path))?;
                if fs::read_dir(path).map_err(failed(path))?.next().is_some() {
                    let text = format!("{} is not empty: the demo wants a folder of its own", path.display());
                    return Err(CliError::failed(text));
                }
                fs::canonicalize(path).map_err(failed(path))?
            }
            None => {
                let made = tempfile::Builder::new().prefix("postern-demo-").tempdir();
                made.map_err(failed(&std::env::temp_dir()))?.keep()
            }
        };
        let this = Self { path };
        for folder in
            [this.drop_directory(), this.received("fax"), this.received("pager"), this.received("mail")]
        {
            fs::create_dir_all(&folder).map_err(failed(&folder))?;
        }
        Ok(this)
    }

    /// Writes the config, the agent and the agent's token.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, fax_url: &str, mail_server: SocketAddr, token: &str) -> Result<(), CliError> {
        let config = CONFIG.replace("@FAX_URL@", fax_url).replace("@MAIL_SERVER@", &mail_server.to_string());
        let files: [(PathBuf, &[u8], u32); 3] = [
            (self.config(), config.as_bytes(), 0o644),
            (self.path.join("agents/webhook.wasm"), AGENT, 0o644),
            (self.path.join("secrets/fax-token"), token.as_bytes(), 0o600),
        ];
        for (path, content, mode) in files {
            write(&path, content, mode).map_err(|e| CliError::failed(format!("{}: {e}", path.display())))?;
        }
        Ok(())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The config file.
    pub fn config(&self) -> PathBuf {
        self.path.join("postern.toml")
    }

    /// Queues and tracking.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// What the host says while it works.
    pub fn log(&self) -> PathBuf {
        self.path.join("postern.log")
    }

    /// The file that says that the host is ready.
    pub fn ready(&self) -> PathBuf {
        self.path.join("ready.json")
    }

    /// Where the host leaves files for the pager program.
    pub fn drop_directory(&self) -> PathBuf {
        self.path.join("drop/pager")
    }

    /// Where a party around the host keeps what it got.
    pub fn received(&self, party: &str) -> PathBuf {
        self.path.join("received").join(party)
    }
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_config_has_neither_faults_nor_warnings() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = Folder::make(Some(&scratch.path().join("demo"))).unwrap();
        folder.write("http://127.0.0.1:8080/v1/faxes", "127.0.0.1:2526".parse().unwrap(), "token").unwrap();
        let (config, warnings) =
            crate::config::load(&folder.config()).unwrap_or_else(|r| panic!("{}", r.human()));
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(config.outgoing().count(), 3);
        assert_eq!(config.host.data_directory, folder.data());
        assert_eq!(config.foreign_connectors[0].drop_directory, folder.drop_directory());
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("mine"), "x").unwrap();
        assert!(Folder::make(Some(scratch.path())).is_err());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
