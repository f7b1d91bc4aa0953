//! What must hold of the outbox, over a real store.

use postern_model::{DsnKind, Return};
use postern_store::Settle;
use postern_store::conformance::sample;
use postern_store::sqlite::{SqliteOptions, SqliteStore};

use super::*;

struct Site {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    outbox: Outbox,
    shown: Arc<CurrentWaiting>,
    stop: CancellationToken,
}

impl Site {
    /// With these outgoing connectors.
    fn new(connectors: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[host]\nname = \"gw.example\"\n{connectors}");
        let path = folder.path().join("postern.toml");
        let (config, _) = crate::config::check_text(&text, &path, &path, &|_| None).unwrap();
        let store = SqliteStore::open(&folder.path().join("store"), SqliteOptions::default()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let topology = Arc::new(CurrentTopology::new(Topology::build(config)));
        let metrics = Arc::new(Metrics::default());
        let submitter = Arc::new(Submitter::new(store.clone(), topology.clone(), metrics.clone()));
        let bad_mail = folder.path().join("badmail");
        let shown = Arc::<CurrentWaiting>::default();
        let outbox =
            Outbox::new(store.clone(), submitter, topology, metrics, Arc::default(), bad_mail, shown.clone());
        Self { folder, store, outbox, shown, stop: CancellationToken::new() }
    }

    /// A report is owed to this sender, who sent from this address; the message was as long as that.
    async fn owe(&self, sender: &str, client: &str, length: usize) -> String {
        let put = sample::small(&sample::hop("gone"));
        let item = put.items[0].clone();
        let mut dsn = sample::dsn(&item, &put.message, DsnKind::Failed);
        let envelope = &mut dsn.message.envelope;
        envelope.reverse_path = sender.to_owned();
        envelope.client = Some(client.parse().unwrap());
        envelope.ret = Some(Return::Full);
        let mut content = b"Subject: hello\r\n\r\n".to_vec();
        content.extend(b"a line of thirty-two bytes ....\r\n".iter().cycle().take(length));
        dsn.content = Some(content);
        let key = dsn.key.clone();
        self.store.put(put).await.unwrap();
        let settle = Settle { dsns: vec![dsn], ..Settle::gone_silently(item.id) };
        self.store.settle(settle).await.unwrap();
        key
    }

    async fn work(&mut self) {
        let stop = self.stop.clone();
        self.outbox.work(&stop).await;
    }

    /// The keys of the requests that are still there.
    async fn left(&self) -> Vec<String> {
        self.store.outbox(10_000).await.unwrap().into_iter().map(|r| r.key).collect()
    }

    /// The connectors and sizes of the reports in the queue.
    fn queued(&self) -> Vec<(String, u64)> {
        let views = self.store.index().item_views(None, None, 10_000);
        views.into_iter().map(|v| (v.next_hop.connector.to_string(), v.size)).collect()
    }

    fn bad_mail(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.folder.path().join("badmail")) else { return Vec::new() };
        files.map(|f| std::fs::read_to_string(f.unwrap().path()).unwrap()).collect()
    }
}

const FOLDER: &str = "[foreign_connectors.folder]\naddress_spaces = [\"SMTP:folder.example\"]\n\
    drop_directory = \"drop\"\ncreate_directory = true\n";
const INTERNET: &str =
    "[send_connectors.internet]\naddress_spaces = [\"SMTP:*;50\"]\nsmart_hosts = [\"mail.example:25\"]\n";
const HERE: &str = "127.0.0.1";
const STRANGER: &str = "192.0.2.1";

#[tokio::test]
async fn reports_that_no_connector_takes_do_not_hold_up_those_behind_them() {
    let mut site = Site::new(FOLDER);
    let mut waiting = Vec::new();
    for n in 0..3 * BATCH {
        waiting.push(site.owe(&format!("jo-{n}@nowhere.example"), HERE, 0).await);
    }
    site.owe("jo@folder.example", HERE, 0).await;
    site.work().await;
    assert_eq!(site.queued().len(), 1);
    assert_eq!(site.left().await, waiting);
    site.owe("ann@folder.example", HERE, 0).await;
    site.work().await;
    assert_eq!(site.queued().len(), 2);
    assert_eq!(site.left().await, waiting);
    assert!(site.bad_mail().is_empty());
}

#[tokio::test]
async fn those_that_wait_are_tried_again_after_a_pause_and_under_another_topology() {
    let mut site = Site::new(FOLDER);
    site.owe("jo@nowhere.example", HERE, 0).await;
    site.work().await;
    let topology = site.outbox.topology.get();
    assert!(!site.outbox.waiting.is_over(&topology));
    assert!(site.outbox.waiting.is_over(&Arc::new(Topology::build(topology.config.clone()))));
    site.outbox.waiting.since = Instant::now().checked_sub(PAUSE.unsigned_abs()).unwrap();
    assert!(site.outbox.waiting.is_over(&topology));
    site.work().await;
    assert_eq!(site.outbox.waiting.dsns.len(), 1);
    assert!(!site.outbox.waiting.is_over(&topology));
}

#[tokio::test]
async fn what_waits_is_shown_with_its_reason_until_it_waits_no_more() {
    let mut site = Site::new(FOLDER);
    site.owe("jo@nowhere.example", HERE, 0).await;
    site.owe("ann@folder.example", HERE, 0).await;
    site.owe("ben@nowhere.example", HERE, 0).await;
    site.work().await;
    let of = |waiting: &WaitingDsns| -> Vec<_> {
        let told = |d: &WaitingDsn| (d.to.clone(), d.reason.clone().unwrap_or_default());
        waiting.dsns.iter().map(told).collect()
    };
    let shown = site.shown.get();
    let expected = ["jo", "ben"].map(|name| {
        let to = format!("{name}@nowhere.example");
        let why = format!("no connector has an address space for SMTP:{to}");
        (to, why)
    });
    let sorted = |mut all: Vec<_>| {
        all.sort();
        all
    };
    assert_eq!(sorted(of(&shown)), sorted(expected.into()));
    assert!(shown.next_try.is_some());
    assert!(site.outbox.metrics.render(&[], true).contains("postern_waiting_dsns 2\n"));
    // The same from the store of a host that is stopped.
    let stopped = WaitingDsns::read(&site.store, &site.outbox.topology.get()).await.unwrap();
    assert_eq!(sorted(of(&stopped)), sorted(of(&shown)));

    let path = site.outbox.topology.get().config.path.clone();
    let text = format!("[host]\nname = \"gw.example\"\n{INTERNET}");
    let (config, _) = crate::config::check_text(&text, &path, &path, &|_| None).unwrap();
    site.outbox.topology.swap(Topology::build(config));
    site.work().await;
    assert!(site.shown.get().dsns.is_empty());
    assert!(site.outbox.metrics.render(&[], true).contains("postern_waiting_dsns 0\n"));
}

#[tokio::test]
async fn a_report_that_is_too_large_gives_back_the_headers_only() {
    let mut site = Site::new(&format!("{FOLDER}max_message_size = \"64KiB\"\n"));
    site.owe("jo@folder.example", HERE, 100_000).await;
    site.owe("ann@folder.example", HERE, 10_000).await;
    site.work().await;
    assert!(site.left().await.is_empty());
    assert!(site.bad_mail().is_empty());
    let mut sizes: Vec<u64> = site.queued().into_iter().map(|(_, size)| size).collect();
    sizes.sort_unstable();
    assert!(sizes.len() == 2 && sizes[0] < 10_000 && sizes[1] > 10_000, "{sizes:?}");
}

#[tokio::test]
async fn a_report_that_can_never_be_routed_goes_to_bad_mail() {
    let rewrite = "[[rewrites]]\nmatch = \"{n}@fax.example\"\nto = \"FAX:{n}\"\n";
    let mut site = Site::new(&format!("{FOLDER}{rewrite}"));
    site.owe("4930@fax.example", HERE, 0).await;
    site.work().await;
    assert!(site.left().await.is_empty());
    assert!(site.queued().is_empty());
    assert_eq!(site.bad_mail().len(), 1);
}

#[tokio::test]
async fn a_report_goes_only_where_the_sender_was_allowed_to_send() {
    // The folder has the default submitters: this machine and authenticated users.
    let mut site = Site::new(&format!("{FOLDER}{INTERNET}"));
    site.owe("+4930123@folder.example", STRANGER, 0).await;
    site.work().await;
    assert!(site.queued().is_empty());
    assert_eq!(site.bad_mail().len(), 1);

    site.owe("+4930123@folder.example", HERE, 0).await;
    site.work().await;
    assert_eq!(site.queued().len(), 1);
    assert_eq!(site.queued()[0].0, "folder");

    site.owe("jo@elsewhere.example", STRANGER, 0).await;
    site.work().await;
    assert!(site.queued().iter().any(|(connector, _)| connector == "internet"), "{:?}", site.queued());
    assert_eq!(site.bad_mail().len(), 1);
    assert!(site.left().await.is_empty());
}

#[tokio::test]
async fn bad_mail_that_cannot_be_written_holds_up_nothing_else() {
    let mut site = Site::new(FOLDER);
    std::fs::write(site.folder.path().join("badmail"), "no folder").unwrap();
    let stuck = site.owe("+4930123@folder.example", STRANGER, 0).await;
    site.owe("jo@folder.example", HERE, 0).await;
    site.work().await;
    assert_eq!(site.left().await, [stuck]);
    assert_eq!(site.queued().len(), 1);
}
