//! What must hold of a foreign connector, in a real directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use postern_drop::DirectoryId;
use postern_model::RecipientState;
use postern_store::StoreError;
use postern_store::conformance::sample;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;

struct Site {
    folder: tempfile::TempDir,
    connector: ForeignConnector,
    receipts: UnboundedReceiver<(String, Vec<Receipt>)>,
    /// What the queue says of every item.
    queued: Arc<AtomicBool>,
    surroundings: Surroundings,
}

fn connector(folder: &Path, role: Role, surroundings: Surroundings) -> ForeignConnector {
    let path = folder.join("postern.toml");
    // One thread, so that jobs end in the order in which they were given.
    let text = "[host]\nname = \"gw.example\"\n[foreign_connectors.folder]\naddress_spaces = [\"FAX:*\"]\n\
        drop_directory = \"drop\"\ncreate_directory = true\nmax_concurrent_connections = 1\n\
        max_connections_per_destination = 1\n";
    let (config, _) = crate::config::check_text(text, &path, &path, &|_| None).unwrap();
    std::fs::create_dir_all(&config.host.data_directory).unwrap();
    ForeignConnector::new(&config.foreign_connectors[0], &config.host, role, surroundings)
}

impl Site {
    fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), Role::Delivers)
    }

    fn in_folder(folder: tempfile::TempDir, role: Role) -> Self {
        let (sender, receipts) = tokio::sync::mpsc::unbounded_channel();
        let queued = Arc::new(AtomicBool::new(true));
        let is_queued = queued.clone();
        let surroundings = Surroundings {
            receipts: sender,
            settle: Arc::new(|_, _| true),
            metrics: Arc::default(),
            is_queued: Arc::new(move |_| is_queued.load(Ordering::SeqCst)),
            held: HeldFiles::default(),
        };
        let connector = connector(folder.path(), role, surroundings.clone());
        Self { folder, connector, receipts, queued, surroundings }
    }

    /// Ends this run, and begins another one that knows these receipts.
    fn restart(self, known: &[&Item]) -> Self {
        let Self { folder, .. } = self;
        let site = Self::in_folder(folder, Role::Delivers);
        site.begin(known);
        site
    }

    /// Takes up the connector anew, as a reload does. The threads of the old one finish what it has begun.
    fn reload(&mut self, known: &[&Item]) {
        self.connector = connector(self.folder.path(), Role::Delivers, self.surroundings.clone());
        self.begin(known);
    }

    /// What happens to a connector before it delivers.
    fn begin(&self, known: &[&Item]) {
        let known: Vec<_> = known.iter().map(|item| (name(item), Timestamp::now())).collect();
        self.connector.watch(&known);
        self.connector.refresh();
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("drop")
    }

    /// Publishes a new item; its file's name.
    async fn deliver(&self) -> String {
        name(&self.publish().await)
    }

    /// Publishes a new item.
    async fn publish(&self) -> Item {
        let item = sample::small(&sample::hop("FAX:*"));
        let request = DeliveryRequest {
            message: item.message,
            item: Arc::new(item.items[0].clone()),
            content: item.content,
            attempt: 1,
        };
        let mut line = self.connector.open(&sample::hop("FAX:*")).await.ok().unwrap();
        let report = line.deliver(&request).await;
        assert_eq!(report.watched.len(), 1, "{report:?}");
        item.items[0].clone()
    }

    /// Publishes a new item whose recipients wait for its file.
    async fn publish_and_wait(&self) -> Item {
        let item = waiting(self.publish().await);
        self.connector.watch(&[(name(&item), Timestamp::now())]);
        item
    }

    /// Returns when all jobs that were given before are done.
    async fn settle_down(&self) {
        let other = sample::small(&sample::hop("FAX:*")).items[0].clone();
        let _ = self.connector.withdraw(&other).await;
    }

    /// The next pickup that is told.
    async fn picked_up(&mut self) -> String {
        let limit = Duration::from_secs(60);
        let (_, receipts) = tokio::time::timeout(limit, self.receipts.recv()).await.unwrap().unwrap();
        receipts[0].id.clone()
    }

    fn marker(&self, name: &str) -> PathBuf {
        self.directory().join(".tmp").join(format!("{name}.ready"))
    }

    fn withdrawn(&self, name: &str) -> PathBuf {
        self.directory().join(".tmp").join(format!("{name}.withdrawn"))
    }

    fn lies(&self, item: &Item) -> bool {
        self.directory().join(name(item)).exists()
    }

    fn id(&self) -> String {
        let settings = DropSettings::new(self.directory());
        DirectoryId::look(&settings).unwrap().unwrap().to_string()
    }

    fn record(&self) -> Record {
        Record::read(&self.connector.shared.record).unwrap()
    }

    /// Puts an empty directory in the place of this one, which is moved there.
    fn replace(&self, there: &str) {
        std::fs::rename(self.directory(), self.folder.path().join(there)).unwrap();
        std::fs::create_dir(self.directory()).unwrap();
    }

    /// Puts this directory in its place again; the other one is moved there.
    fn bring_back(&self, here: &str, there: &str) {
        std::fs::rename(self.directory(), self.folder.path().join(there)).unwrap();
        std::fs::rename(self.folder.path().join(here), self.directory()).unwrap();
    }
}

fn name(item: &Item) -> String {
    format!("{}.eml", item.id)
}

/// The item, with its recipients waiting for its file.
fn waiting(item: Item) -> Item {
    let mut item = sample::pending(item, sample::time(600));
    let file = name(&item);
    for recipient in &mut item.recipients {
        if let RecipientState::Pending { receipt_ids, .. } = &mut recipient.state {
            *receipt_ids = vec![file.clone()];
        }
    }
    item
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

// ---- withdrawing ----

#[tokio::test]
async fn a_withdrawn_file_is_deleted_once_it_is_settled() {
    let mut site = Site::new();
    let item = site.publish_and_wait().await;
    let withdrawal = site.connector.withdraw(&item).await;
    assert_eq!(withdrawal.whereabouts, Whereabouts::Withdrawn { file: name(&item) });
    assert!(!site.lies(&item) && site.withdrawn(&name(&item)).exists());
    withdrawal.held.unwrap().hand_in().settled();
    site.settle_down().await;
    assert!(!site.lies(&item) && !site.withdrawn(&name(&item)).exists());
    assert!(site.receipts.try_recv().is_err(), "nobody took it");
}

#[tokio::test]
async fn what_is_not_settled_lies_there_again_and_is_watched() {
    type Ends = fn(Held);
    let ends: [Ends; 2] = [drop, |held| held.hand_in().refused(&StoreError::Full("no room".to_owned()))];
    let mut site = Site::new();
    for end in ends {
        let item = site.publish_and_wait().await;
        end(site.connector.withdraw(&item).await.held.unwrap());
        site.settle_down().await;
        assert!(site.lies(&item) && !site.withdrawn(&name(&item)).exists());
        take(&site.directory(), &name(&item));
        assert_eq!(site.picked_up().await, name(&item));
    }
}

#[tokio::test]
async fn a_store_that_stopped_leaves_it_withdrawn_and_the_next_start_asks_the_queue() {
    for is_queued in [true, false] {
        let site = Site::new();
        let item = site.publish_and_wait().await;
        let held = site.connector.withdraw(&item).await.held.unwrap();
        held.hand_in().refused(&StoreError::Poisoned("a sync failed".to_owned()));
        site.settle_down().await;
        assert!(site.withdrawn(&name(&item)).exists());
        // Opened anew in the same run, it is still ours.
        lock(&site.connector.shared.open).take();
        site.settle_down().await;
        assert!(site.withdrawn(&name(&item)).exists());
        let known: &[&Item] = if is_queued { &[&item] } else { &[] };
        let mut site = site.restart(known);
        site.queued.store(is_queued, Ordering::SeqCst);
        site.connector.refresh();
        site.settle_down().await;
        assert_eq!((site.lies(&item), site.withdrawn(&name(&item)).exists()), (is_queued, false));
        assert!(site.receipts.try_recv().is_err(), "nobody took it");
        if is_queued {
            take(&site.directory(), &name(&item));
            assert_eq!(site.picked_up().await, name(&item));
        }
    }
}

#[tokio::test]
async fn a_crash_between_withdrawal_and_settlement_leaves_a_file_that_can_be_withdrawn_again() {
    let site = Site::new();
    let item = site.publish_and_wait().await;
    // As kill -9 does, it ends nothing.
    std::mem::forget(site.connector.withdraw(&item).await.held);
    let site = site.restart(&[&item]);
    let withdrawal = site.connector.withdraw(&item).await;
    assert_eq!(withdrawal.whereabouts, Whereabouts::Withdrawn { file: name(&item) });
    withdrawal.held.unwrap().hand_in().settled();
    site.settle_down().await;
    assert!(!site.lies(&item) && !site.withdrawn(&name(&item)).exists());
}

#[tokio::test]
async fn a_reload_in_the_middle_of_a_withdrawal_neither_puts_back_nor_loses_what_is_held() {
    let mut site = Site::new();
    let (settled, refused) = (site.publish_and_wait().await, site.publish_and_wait().await);
    let settled_later = site.connector.withdraw(&settled).await.held.unwrap();
    let refused_later = site.connector.withdraw(&refused).await.held.unwrap();
    site.reload(&[&settled, &refused]);
    site.settle_down().await;
    assert!(!site.lies(&settled) && !site.lies(&refused), "the other connector holds them");
    drop(refused_later);
    while !site.lies(&refused) {
        tokio::task::yield_now().await;
    }
    site.connector.forget(&[name(&settled)]);
    settled_later.hand_in().settled();
    while site.withdrawn(&name(&settled)).exists() {
        tokio::task::yield_now().await;
    }
    site.connector.refresh();
    site.settle_down().await;
    let told = site.receipts.try_recv().ok();
    assert_eq!(told, None, "nobody took {} or {}", name(&settled), name(&refused));
    take(&site.directory(), &name(&refused));
    assert_eq!(site.picked_up().await, name(&refused));
    assert!(site.receipts.try_recv().is_err());
}

#[tokio::test]
async fn a_connector_that_does_not_run_withdraws_beside_one_that_begins() {
    let mut site = Site::new();
    let item = site.publish_and_wait().await;
    let idle = connector(site.folder.path(), Role::Withdraws, site.surroundings.clone());
    // The worst case: the other one watches already.
    site.settle_down().await;
    let held = idle.withdraw(&item).await.held.unwrap();
    // It sees the file gone, and tells that before what happens next.
    lock(&site.connector.shared.open).as_ref().unwrap().directory.rescan().unwrap();
    let other = site.deliver().await;
    take(&site.directory(), &other);
    assert_eq!(site.picked_up().await, other, "the first we took ourselves");
    held.hand_in().settled();
}

#[tokio::test]
async fn before_it_is_started_a_connector_withdraws_without_watching() {
    let site = Site::new();
    let (wanted, other) = (site.publish_and_wait().await, site.publish_and_wait().await);
    site.settle_down().await;
    let Site { folder, .. } = site;
    let mut site = Site::in_folder(folder, Role::Delivers);
    // A settlement of before ends now; the receipts of all others are still being read.
    site.connector.watch(&[(name(&wanted), Timestamp::now())]);
    site.connector.withdraw(&wanted).await.held.unwrap().hand_in().settled();
    site.settle_down().await;
    assert!(lock(&site.connector.shared.open).is_none() && !site.lies(&wanted));
    site.begin(&[&other]);
    take(&site.directory(), &name(&other));
    assert_eq!(site.picked_up().await, name(&other));
}

#[tokio::test]
async fn a_gateway_that_was_faster_is_believed() {
    let site = Site::new();
    let (taken, claimed) = (site.publish_and_wait().await, site.publish_and_wait().await);
    take(&site.directory(), &name(&taken));
    let Whereabouts::Taken(receipt) = site.connector.withdraw(&taken).await.whereabouts else {
        panic!("it was taken")
    };
    assert!(receipt.id == name(&taken) && matches!(receipt.state, ReceiptState::Relayed(_)), "{receipt:?}");
    let new = format!("{}.work", name(&claimed));
    std::fs::rename(site.directory().join(name(&claimed)), site.directory().join(&new)).unwrap();
    let withdrawal = site.connector.withdraw(&claimed).await;
    assert_eq!(withdrawal.whereabouts, Whereabouts::Claimed { file: name(&claimed), new });
    assert!(withdrawal.held.is_none());
}

#[tokio::test]
async fn an_item_that_was_never_published_has_nothing_to_withdraw_whether_the_directory_is_there_or_not() {
    let site = Site::new();
    let item = sample::small(&sample::hop("FAX:*")).items[0].clone();
    assert_eq!(site.connector.withdraw(&item).await.whereabouts, Whereabouts::Nothing);
    let (published, waits) = (site.publish().await, site.publish_and_wait().await);
    std::fs::rename(site.directory(), site.folder.path().join("away")).unwrap();
    std::fs::write(site.directory(), "no directory").unwrap();
    assert_eq!(site.connector.withdraw(&item).await.whereabouts, Whereabouts::Nothing);
    // Of these it is known that their files lie somewhere.
    for item in [published, waits] {
        let whereabouts = site.connector.withdraw(&item).await.whereabouts;
        assert!(matches!(whereabouts, Whereabouts::Unreachable { .. }), "{whereabouts:?}");
    }
}

#[tokio::test]
async fn a_file_system_that_hangs_counts_as_out_of_reach_and_nothing_is_withdrawn_behind_anybodys_back() {
    let mut site = Site::new();
    site.connector.patience = Duration::from_millis(20);
    let item = site.publish_and_wait().await;
    site.settle_down().await;
    let shared = site.connector.shared.clone();
    let ((hangs, hanging), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
    let file_system = thread::spawn(move || {
        let _open = lock(&shared.open);
        hangs.send(()).unwrap();
        ended.recv().unwrap();
    });
    hanging.recv().unwrap();
    // The second one does not even wait.
    for patience in [site.connector.patience, Duration::from_secs(3600)] {
        site.connector.patience = patience;
        let whereabouts = site.connector.withdraw(&item).await.whereabouts;
        assert!(matches!(whereabouts, Whereabouts::Unreachable { .. }), "{whereabouts:?}");
    }
    end.send(()).unwrap();
    file_system.join().unwrap();
    // One thread does one job after the other: when the second delivery is done, what was given up has ended, too.
    site.deliver().await;
    site.deliver().await;
    assert!(site.lies(&item) && !site.withdrawn(&name(&item)).exists());
    let withdrawal = site.connector.withdraw(&item).await;
    assert_eq!(withdrawal.whereabouts, Whereabouts::Withdrawn { file: name(&item) });
}

#[tokio::test]
async fn a_stopped_host_withdraws_and_changes_nothing_else() {
    let site = Site::new();
    let (wanted, withdrawn, taken) =
        (site.publish_and_wait().await, site.publish_and_wait().await, site.publish_and_wait().await);
    site.settle_down().await;
    std::mem::forget(site.connector.withdraw(&withdrawn).await.held);
    take(&site.directory(), &name(&taken));
    let record = site.record();
    let Site { folder, .. } = site;
    let mut stopped = Site::in_folder(folder, Role::Withdraws);
    // The queue of a stopped host is read, but nobody has told the connector of its receipts.
    let found = stopped.connector.withdraw(&wanted).await;
    assert_eq!(found.whereabouts, Whereabouts::Withdrawn { file: name(&wanted) });
    found.held.unwrap().hand_in().settled();
    let found = stopped.connector.withdraw(&taken).await.whereabouts;
    assert!(matches!(found, Whereabouts::Taken(_)), "{found:?}");
    stopped.settle_down().await;
    assert!(stopped.withdrawn(&name(&withdrawn)).exists(), "that is for the next start");
    assert!(!stopped.withdrawn(&name(&wanted)).exists());
    assert!(stopped.receipts.try_recv().is_err());
    stopped.replace("old");
    let found = stopped.connector.withdraw(&taken).await.whereabouts;
    assert!(matches!(found, Whereabouts::Vanished { .. }), "{found:?}");
    assert_eq!(stopped.record(), record);
}

#[tokio::test]
async fn a_stopped_host_makes_nothing_in_the_place_of_a_directory_that_is_missing() {
    let site = Site::new();
    let item = site.publish_and_wait().await;
    site.settle_down().await;
    // It would make the directory anew.
    let Site { folder, connector, .. } = site;
    drop(connector);
    let stopped = Site::in_folder(folder, Role::Withdraws);
    std::fs::rename(stopped.directory(), stopped.folder.path().join("away")).unwrap();
    let found = stopped.connector.withdraw(&item).await.whereabouts;
    assert!(matches!(found, Whereabouts::Unreachable { .. }), "{found:?}");
    assert!(!stopped.directory().exists(), "not even where a start would make it");
    // An empty mount point.
    std::fs::create_dir(stopped.directory()).unwrap();
    let found = stopped.connector.withdraw(&item).await.whereabouts;
    assert!(matches!(found, Whereabouts::Unreachable { .. }), "{found:?}");
    assert_eq!(std::fs::read_dir(stopped.directory()).unwrap().count(), 0);
}

// ---- which directory it is ----

#[tokio::test]
async fn a_restart_onto_another_directory_takes_nothing_for_taken_until_theirs_is_back() {
    let site = Site::new();
    let (lost, gone) = (site.publish_and_wait().await, site.publish_and_wait().await);
    site.settle_down().await;
    let first = site.id();
    assert_eq!(site.record(), Record::new(&first, [].into_iter()));
    site.replace("old");
    let mut site = site.restart(&[&lost, &gone]);
    let new = site.publish_and_wait().await;
    site.settle_down().await;
    assert!(site.receipts.try_recv().is_err(), "nobody can tell whether they were taken");
    let whereabouts = site.connector.withdraw(&lost).await.whereabouts;
    assert_eq!(whereabouts, Whereabouts::Vanished { file: name(&lost) });
    let second = site.id();
    let elsewhere = [name(&lost), name(&gone)];
    let expected = Record::new(&second, elsewhere.iter().map(|name| (name.as_str(), first.as_str())));
    assert_eq!(site.record(), expected);

    // And once more: the second directory is the known one now, and the first is not forgotten.
    take(&site.directory(), &name(&new));
    let mut site = site.restart(&[&lost, &gone, &new]);
    assert_eq!(site.picked_up().await, name(&new));
    site.settle_down().await;
    assert!(site.receipts.try_recv().is_err());

    // With the first directory its files are back, but for one that a gateway took meanwhile.
    take(&site.folder.path().join("old"), &name(&gone));
    site.bring_back("old", "second");
    let mut site = site.restart(&[&lost, &gone]);
    assert_eq!(site.picked_up().await, name(&gone));
    take(&site.directory(), &name(&lost));
    assert_eq!(site.picked_up().await, name(&lost));
}

#[tokio::test]
async fn a_directory_that_is_replaced_in_the_middle_is_on_record_before_its_first_file_is_reported() {
    let mut site = Site::new();
    let (lost, gone) = (site.publish_and_wait().await, site.publish_and_wait().await);
    site.settle_down().await;
    let first = site.id();
    site.replace("old");
    let new = site.publish().await;
    let elsewhere = [name(&lost), name(&gone)];
    let expected = Record::new(&site.id(), elsewhere.iter().map(|name| (name.as_str(), first.as_str())));
    assert_eq!(site.record(), expected);
    // The first comes back, without a restart; what was in between is left behind in its place.
    take(&site.folder.path().join("old"), &name(&gone));
    site.bring_back("old", "second");
    site.deliver().await;
    assert_eq!(site.picked_up().await, name(&gone));
    take(&site.directory(), &name(&lost));
    assert_eq!(site.picked_up().await, name(&lost));
    let whereabouts = site.connector.withdraw(&waiting(new.clone())).await.whereabouts;
    assert_eq!(whereabouts, Whereabouts::Vanished { file: name(&new) });
}

#[tokio::test]
async fn a_file_is_not_reported_before_the_record_of_its_directory_can_be_written() {
    let site = Site::new();
    let lost = site.publish_and_wait().await;
    site.settle_down().await;
    site.replace("old");
    // What stands in the way of the record, as a full disk does.
    let record = site.connector.shared.record.clone();
    let obstacle = record.with_extension("tmp");
    std::fs::create_dir(&obstacle).unwrap();
    let put = sample::small(&sample::hop("FAX:*"));
    let request = DeliveryRequest {
        message: put.message,
        item: Arc::new(put.items[0].clone()),
        content: put.content,
        attempt: 1,
    };
    let mut line = site.connector.open(&sample::hop("FAX:*")).await.ok().unwrap();
    for _ in 0..2 {
        let report = line.deliver(&request).await;
        assert!(report.watched.is_empty() && report.refusal.is_some(), "{report:?}");
    }
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(line.deliver(&request).await.watched.len(), 1);
    assert_eq!(site.record().directory_of(&name(&lost)), Some(old_id(&site).as_str()));
    assert_eq!(site.record().directory_of(&name(&request.item)), Some(site.id().as_str()));
    std::fs::remove_file(&record).unwrap();
    site.publish_and_wait().await;
    assert!(!record.exists(), "it is written when something changes, not for each file");
}

/// The id of the directory that was moved to `old`.
fn old_id(site: &Site) -> String {
    let settings = DropSettings::new(site.folder.path().join("old"));
    DirectoryId::look(&settings).unwrap().unwrap().to_string()
}

#[tokio::test]
async fn files_that_came_along_to_another_directory_are_watched_there() {
    let site = Site::new();
    let item = site.publish_and_wait().await;
    site.settle_down().await;
    site.replace("old");
    std::fs::copy(site.folder.path().join("old").join(name(&item)), site.directory().join(name(&item)))
        .unwrap();
    let mut site = site.restart(&[&item]);
    site.connector.refresh();
    site.settle_down().await;
    take(&site.directory(), &name(&item));
    assert_eq!(site.picked_up().await, name(&item));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_the_directory_closed_and_says_so() {
    let site = Site::new();
    let record = site.connector.shared.record.clone();
    std::fs::create_dir_all(record.parent().unwrap()).unwrap();
    std::fs::write(&record, r#"{"v":99,"directory":"x"}"#).unwrap();
    assert!(site.connector.shared.directory().is_err());
    let ConnectorState::Disabled(why) = site.connector.state() else { panic!("it may not be used") };
    assert!(why.contains("version 99") && why.contains("folder.json"), "{why}");
    assert!(site.receipts.is_empty());
}
