//! What must hold of a foreign connector, in a real directory.

use std::path::Path;

use postern_store::conformance::sample;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;

struct Site {
    folder: tempfile::TempDir,
    connector: ForeignConnector,
    receipts: UnboundedReceiver<(String, Vec<Receipt>)>,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postern.toml");
        // One thread, so that jobs end in the order in which they were given.
        let text = "[host]\nname = \"gw.example\"\n[foreign_connectors.folder]\naddress_spaces = [\"FAX:*\"]\n\
            drop_directory = \"drop\"\ncreate_directory = true\nmax_concurrent_connections = 1\n\
            max_connections_per_destination = 1\n";
        let (config, _) = crate::config::check_text(text, &path, &path, &|_| None).unwrap();
        let (sender, receipts) = tokio::sync::mpsc::unbounded_channel();
        let config = &config.foreign_connectors[0];
        let connector =
            ForeignConnector::new(config, "gw.example", sender, Arc::default(), Arc::new(|_| true));
        Self { folder, connector, receipts }
    }

    fn directory(&self) -> std::path::PathBuf {
        self.folder.path().join("drop")
    }

    /// Publishes a new item; its file's name.
    async fn deliver(&self) -> String {
        let put = sample::small(&sample::hop("FAX:*"));
        let request = DeliveryRequest {
            message: put.message,
            item: Arc::new(put.items[0].clone()),
            content: put.content,
            attempt: 1,
        };
        let mut line = self.connector.open(&sample::hop("FAX:*")).await.ok().unwrap();
        let report = line.deliver(&request).await;
        assert_eq!(report.watched.len(), 1, "{report:?}");
        report.watched[0].clone()
    }

    /// The next pickup that is told.
    async fn picked_up(&mut self) -> String {
        let limit = Duration::from_secs(60);
        let (_, receipts) = tokio::time::timeout(limit, self.receipts.recv()).await.unwrap().unwrap();
        receipts[0].id.clone()
    }

    fn marker(&self, name: &str) -> std::path::PathBuf {
        self.directory().join(".tmp").join(format!("{name}.ready"))
    }
}

fn take(directory: &Path, name: &str) {
    std::fs::remove_file(directory.join(name)).unwrap();
}

#[tokio::test]
async fn files_are_watched_on_when_the_directory_is_opened_anew() {
    let mut site = Site::new();
    let (recorded, in_flight) = (site.deliver().await, site.deliver().await);
    site.connector.watch(&[(recorded.clone(), Timestamp::now())]);
    // As a fault of the directory does.
    lock(&site.connector.shared.open).take();
    let later = site.deliver().await;
    for name in [recorded, in_flight, later] {
        take(&site.directory(), &name);
        assert_eq!(site.picked_up().await, name);
    }
}

#[tokio::test]
async fn a_file_that_is_taken_while_the_directory_is_closed_is_noticed() {
    let mut site = Site::new();
    let name = site.deliver().await;
    lock(&site.connector.shared.open).take();
    take(&site.directory(), &name);
    site.connector.refresh();
    assert_eq!(site.picked_up().await, name);
}

#[tokio::test]
async fn a_file_system_that_hangs_holds_up_only_the_threads_that_write() {
    let site = Site::new();
    assert!(matches!(site.connector.state(), ConnectorState::Disabled(_)));
    let name = site.deliver().await;
    assert_eq!(site.connector.state(), ConnectorState::Ready);
    assert!(site.marker(&name).exists());
    let shared = site.connector.shared.clone();
    // Whoever opens the directory holds this, for as long as the file system likes.
    let hanging = lock(&shared.open);
    for _ in 0..10 {
        site.connector.refresh();
    }
    site.connector.watch(&[(name.clone(), Timestamp::now())]);
    assert_eq!(site.connector.state(), ConnectorState::Ready);
    drop(hanging);
    site.deliver().await;
    assert!(!site.marker(&name).exists(), "the confirmation was only put off");
}

#[tokio::test]
async fn a_confirmation_opens_a_closed_directory() {
    let site = Site::new();
    let name = site.deliver().await;
    lock(&site.connector.shared.open).take();
    site.connector.watch(&[(name.clone(), Timestamp::now())]);
    site.deliver().await;
    assert!(!site.marker(&name).exists());
}

#[tokio::test]
async fn the_state_says_why_the_directory_cannot_be_used_and_when_it_can_again() {
    let site = Site::new();
    site.deliver().await;
    let shared = &site.connector.shared;
    lock(&shared.open).take();
    std::fs::rename(site.directory(), site.folder.path().join("away")).unwrap();
    std::fs::write(site.directory(), "no directory").unwrap();
    assert!(shared.directory().is_err());
    assert!(matches!(site.connector.state(), ConnectorState::Disabled(_)));
    std::fs::remove_file(site.directory()).unwrap();
    std::fs::rename(site.folder.path().join("away"), site.directory()).unwrap();
    site.deliver().await;
    assert_eq!(site.connector.state(), ConnectorState::Ready);
}
