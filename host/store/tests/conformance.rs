//! The embedded store passes the suite that every backend must pass.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::sync::Arc;

use postern_store::conformance::{Subject, run};
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{Store, StoreError};

struct Sqlite {
    directory: tempfile::TempDir,
    options: SqliteOptions,
}

impl Subject for Sqlite {
    fn open(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(SqliteStore::open(&self.directory.path().join(name), self.options.clone())?))
    }

    fn incoming(&self, name: &str) -> PathBuf {
        self.directory.path().join(name).join("incoming")
    }
}

#[tokio::test]
async fn sqlite_conforms() {
    let directory = tempfile::tempdir().unwrap();
    run(&Sqlite { directory, options: SqliteOptions::default() }).await;
}

#[tokio::test]
async fn sqlite_conforms_with_nothing_in_memory_and_most_bodies_in_files() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        inline_limit: 512,
        fresh_bytes: 0,
        log_bytes: 1,
        spare_pages: 0,
        readers: 1,
        ..SqliteOptions::default()
    };
    run(&Sqlite { directory, options }).await;
}
