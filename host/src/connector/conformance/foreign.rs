//! The far end of a foreign connector: a directory.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::{Connector, FarEnd, Fixture, connector, folder};

/// Lies in a directory that is full.
const OBSTACLE: &str = "obstacle";

pub(super) struct ForeignSite {
    connector: Arc<dyn Connector>,
    directory: PathBuf,
    _folder: TempDir,
}

impl Fixture for ForeignSite {
    async fn start(far_end: FarEnd) -> Option<Self> {
        let (folder, path) = folder();
        let directory = path.join("drop");
        let mut quota = "";
        match far_end {
            FarEnd::Live => fs::create_dir(&directory).unwrap(),
            FarEnd::Refusing => {
                fs::create_dir(&directory).unwrap();
                fs::write(directory.join(OBSTACLE), "x").unwrap();
                quota = "quota = { files = 1 }\n";
            }
            FarEnd::Dead => {}
            // A file system that hangs cannot be made here; the connector's own tests have one.
            FarEnd::Silent => return None,
            FarEnd::Unusable => fs::write(&directory, "no directory").unwrap(),
        }
        let section = format!(
            "[foreign_connectors.subject]\naddress_spaces = [\"FAX:*\"]\ndrop_directory = \"drop\"\n{quota}"
        );
        let connector = connector(&path, &section).await;
        Some(Self { connector, directory, _folder: folder })
    }

    fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    fn arrived(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let files = paths.filter(|path| path.is_file() && !path.ends_with(OBSTACLE));
        files.map(|path| fs::read(path).unwrap()).collect()
    }

    fn distinct(&self) -> Option<usize> {
        Some(self.arrived().len())
    }

    fn mend(&self) {
        fs::remove_file(self.directory.join(OBSTACLE)).unwrap();
    }
}
