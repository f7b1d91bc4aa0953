//! Drop files whose message is removed or expires: host and gateway never both have one, and what is said of it is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use postern_tests::{Host, Site, SmtpSink, cli, dsn, eventually, gateway, http, messages};
use serde_json::{Value, json};

use crate::load::JO;

const ANN: &str = "ann@pbx.example";

/// A site whose mail counts as handed over when the gateway takes it, and which can tell senders.
struct Folder {
    reports: SmtpSink,
    site: Site,
}

impl Folder {
    fn new(lines: &str) -> Self {
        let reports = SmtpSink::start();
        let site = Site::new()
            .foreign(
                "pbx",
                "SMTP:pbx.example",
                &format!("retry = \"200ms\"\nsuccess_on = \"taken\"\n{lines}"),
            )
            .send("back", "SMTP:home.example", reports.address(), "");
        Self { reports, site }
    }

    /// What goes unnoticed until somebody looks: the gateway is faster than the host.
    fn unwatched() -> Self {
        Self::new("watch = \"poll\"\npoll_interval = \"1h\"")
    }

    /// A message whose file lies there and is waited for.
    fn lying(&self, host: &Host) -> String {
        let id =
            host.client().submit(JO, &[&format!("{ANN}> NOTIFY=SUCCESS,FAILURE")], &messages::simple("m"));
        eventually("a file that is waited for", || {
            (self.site.queue("pbx")?["pending"] == 1 && self.file().is_some()).then_some(())
        });
        id
    }

    fn file(&self) -> Option<PathBuf> {
        gateway::files(&self.drop()).into_iter().next()
    }

    fn drop(&self) -> PathBuf {
        self.site.drop_directory("pbx")
    }

    /// Names in the private folder that tell of files.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.drop().join(".tmp")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".eml")).collect()
    }

    /// The figures of the audit, which must balance: those that are not 0, but for the reports.
    fn figures(&self) -> Value {
        // A report that is on its way counts as queued: it is let through first.
        let audit = eventually("the reports on their way", || {
            let audit = self.site.audit();
            let through = audit["generated"] == self.reports.arrived().len();
            (through && self.site.queue("back").is_none()).then_some(audit)
        });
        let words = ["failed", "expired", "removed", "queued", "pending", "unknown"];
        let all = words
            .iter()
            .filter(|word| audit[**word] != 0)
            .map(|word| ((*word).to_owned(), audit[*word].clone()));
        // Reports are relayed as well.
        let relayed = audit["relayed"].as_u64().unwrap() - self.reports.arrived().len() as u64;
        let relayed = (relayed > 0).then(|| ("relayed".to_owned(), relayed.into()));
        Value::Object(all.chain(relayed).collect())
    }

    fn empty(&self) {
        eventually("an empty queue", || (self.site.ask(&["queue", "list"]) == json!([])).then_some(()));
        // What was settled last leaves the list a moment before it is on the disk.
        eventually("the last settlement", || (self.site.audit()["queued"] == 0).then_some(()));
    }

    /// The one report that came, by its action and the text of its diagnosis.
    fn report(&self) -> (String, String) {
        let report = self.reports.wait_for(1)[0].text();
        let fields = dsn::status_fields(&report);
        let field = |name| dsn::field(&fields, name).to_owned();
        (field("Action"), field("Diagnostic-Code"))
    }

    fn taken(&self) -> usize {
        self.site.events(ANN).iter().filter(|event| *event == "taken").count()
    }

    fn restart(&self, host: Host) -> Host {
        host.stop();
        self.site.start()
    }
}

#[test]
fn a_removed_message_is_out_of_the_gateways_reach() {
    for (words, figures) in [(&["--notify"][..], json!({ "failed": 1 })), (&[], json!({ "removed": 1 }))] {
        let folder = Folder::new("");
        let host = folder.site.start();
        let id = folder.lying(&host);
        let answer = folder.site.ask(&[&["message", "remove", &id], words].concat());
        assert_eq!((&answer["done"], &answer["recipients"]), (&json!(true), &json!(1)), "{answer}");
        assert_eq!(folder.file(), None);
        if !words.is_empty() {
            assert_eq!(folder.report().0, "failed");
        }
        folder.empty();
        assert_eq!(folder.figures(), figures);
        eventually("the end of the withdrawn file", || folder.left().is_empty().then_some(()));
        let (_, text) = http::get(host.admin(), "/metrics");
        assert!(
            text.contains("postern_drop_withdrawals_total{connector=\"pbx\",what=\"withdrawn\"} 1"),
            "{text}"
        );
        let host = folder.restart(host);
        assert_eq!((folder.figures(), folder.taken()), (figures, 0), "nobody took it");
        host.stop();
    }
}

#[test]
fn a_message_that_the_gateway_does_not_take_in_time_expires_and_is_not_sent_any_more() {
    let folder = Folder::new("expire_after = \"5s\"");
    let host = folder.site.start();
    folder.lying(&host);
    let (action, diagnosis) = folder.report();
    assert!(action == "failed" && diagnosis.contains("withdrawn"), "{action} {diagnosis}");
    folder.empty();
    assert_eq!((folder.file(), folder.figures(), folder.taken()), (None, json!({ "expired": 1 }), 0));
    host.stop();
    assert_eq!(folder.figures(), json!({ "expired": 1 }));
}

#[test]
fn what_the_gateway_has_taken_is_not_removed_but_relayed() {
    let folder = Folder::unwatched();
    let host = folder.site.start();
    let id = folder.lying(&host);
    assert_eq!(gateway::take(&folder.drop()).len(), 1);
    let config = folder.site.config();
    let answer = cli::run(&["message", "remove", &id, "--notify", "--config", config.to_str().unwrap()]);
    assert!(
        answer.code == 1 && answer.stdout.contains("already taken by the gateway: not withdrawn"),
        "{answer:?}"
    );
    assert_eq!(folder.report().0, "relayed");
    folder.empty();
    assert_eq!((folder.figures(), folder.taken()), (json!({ "relayed": 1 }), 1));
    host.stop();
    assert_eq!(folder.figures(), json!({ "relayed": 1 }));
}

#[test]
fn what_the_gateway_has_taken_does_not_expire() {
    let folder = Folder::new("watch = \"poll\"\npoll_interval = \"1h\"\nexpire_after = \"5s\"");
    let host = folder.site.start();
    folder.lying(&host);
    assert_eq!(gateway::take(&folder.drop()).len(), 1);
    assert_eq!(folder.report().0, "relayed");
    folder.empty();
    assert_eq!((folder.figures(), folder.taken()), (json!({ "relayed": 1 }), 1));
    host.stop();
}

#[test]
fn what_the_gateway_works_on_is_left_to_it() {
    let folder = Folder::new("");
    let host = folder.site.start();
    let id = folder.lying(&host);
    let file = folder.file().unwrap();
    let claimed = file.with_extension("eml.work");
    fs::rename(&file, &claimed).unwrap();
    let answer = folder.site.cli(&["message", "remove", &id]);
    let name = claimed.file_name().unwrap().to_str().unwrap();
    assert!(answer.code != 0 && answer.text().contains(name), "{answer:?}");
    assert_eq!(folder.figures(), json!({ "pending": 1 }));
    fs::remove_file(&claimed).unwrap();
    folder.empty();
    assert_eq!(folder.figures(), json!({ "relayed": 1 }));
    host.stop();
}

#[test]
fn a_message_is_removed_while_the_host_is_stopped() {
    let folder = Folder::new("");
    let host = folder.site.start();
    let id = folder.lying(&host);
    host.stop();
    folder.site.order(&["message", "remove", &id]);
    assert_eq!((folder.file(), folder.figures()), (None, json!({ "removed": 1 })));
    let host = folder.site.start();
    eventually("the end of the withdrawn file", || folder.left().is_empty().then_some(()));
    assert_eq!((folder.file(), folder.figures(), folder.taken()), (None, json!({ "removed": 1 }), 0));
    host.stop();
}

#[test]
fn a_stopped_host_knows_what_was_taken_and_refuses_what_is_out_of_its_reach() {
    let folder = Folder::new("");
    let host = folder.site.start();
    let id = folder.lying(&host);
    host.stop();
    let away = folder.site.drop_directory("away");
    fs::rename(folder.drop(), &away).unwrap();
    let answer = folder.site.cli(&["message", "remove", &id]);
    assert!(answer.code != 0 && answer.text().contains("bring the drop directory back"), "{answer:?}");
    assert_eq!(folder.figures(), json!({ "pending": 1 }));
    fs::rename(&away, folder.drop()).unwrap();
    assert_eq!(gateway::take(&folder.drop()).len(), 1);
    let answer = folder.site.cli(&["message", "remove", &id]);
    assert_eq!((answer.code, answer.json()["taken"].as_array().map(Vec::len)), (1, Some(1)), "{answer:?}");
    let host = folder.site.start();
    assert_eq!(folder.report().0, "relayed");
    folder.empty();
    assert_eq!((folder.figures(), folder.taken()), (json!({ "relayed": 1 }), 1));
    host.stop();
}

#[test]
fn files_of_a_connector_that_was_disabled_are_withdrawn_too() {
    let mut folder = Folder::new("");
    let host = folder.site.start();
    let id = folder.lying(&host);
    host.stop();
    folder.site.change("success_on = \"taken\"", "success_on = \"taken\"\nenabled = false");
    let host = folder.site.start();
    folder.site.order(&["message", "remove", &id]);
    assert_eq!((folder.file(), folder.figures()), (None, json!({ "removed": 1 })));
    // The same without a stop in between.
    folder.site.change("enabled = false", "enabled = true");
    assert_eq!(folder.site.ask(&["reload"])["started"], json!(["pbx"]));
    let id = folder.lying(&host);
    folder.site.change("enabled = true", "enabled = false");
    assert_eq!(folder.site.ask(&["reload"])["stopped"], json!(["pbx"]));
    folder.site.order(&["message", "remove", &id]);
    assert_eq!((folder.file(), folder.figures()), (None, json!({ "removed": 2 })));
    host.stop();
}

#[test]
fn a_host_that_was_killed_between_withdrawing_and_settling_has_withdrawn_nothing() {
    let folder = Folder::new("");
    let host = folder.site.start();
    let id = folder.lying(&host);
    host.kill();
    // What kill -9 leaves behind that step.
    let file = folder.file().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    fs::rename(&file, folder.drop().join(".tmp").join(format!("{name}.withdrawn"))).unwrap();
    let host = folder.site.start();
    eventually("the file to lie there again", || (folder.file().as_ref() == Some(&file)).then_some(()));
    assert_eq!((folder.figures(), folder.taken()), (json!({ "pending": 1 }), 0));
    // It can be withdrawn as ever, and taken as ever.
    let other = folder.site.ask(&["message", "show", &id])["items"][0]["item"].clone();
    assert_eq!(format!("{}.eml", other.as_str().unwrap()), name);
    assert_eq!(gateway::take(&folder.drop()).len(), 1);
    folder.empty();
    assert_eq!((folder.figures(), folder.taken()), (json!({ "relayed": 1 }), 1));
    host.stop();
}

// ---- kill -9 while a gateway takes and an operator removes ----

/// Rounds of that; the variable `POSTERN_KILL_ROUNDS` asks for more of them.
const ROUNDS: usize = 5;
/// Messages of one round.
const MESSAGES: usize = 24;

/// Moves a file out of the drop directory, by one rename: it has the file, or it does not.
fn move_out(file: &Path, taken: &Path) -> bool {
    fs::rename(file, taken.join(file.file_name().unwrap())).is_ok()
}

/// One round: mail, a gateway that takes some of it, an operator who removes some of it, and the end of the host.
fn kill_amid_removals(folder: &Folder, host: Host, taken: &Path, rng: &mut fastrand::Rng) -> Vec<String> {
    let recipient = format!("{ANN}> NOTIFY=NEVER");
    let mut client = host.client();
    let mut submit = |n: usize| client.submit(JO, &[&recipient], &messages::simple(&n.to_string()));
    let mut ids: Vec<String> = (0..MESSAGES).map(&mut submit).collect();
    let (ended, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let enough = rng.usize(1..MESSAGES);
    let mut choice = rng.fork();
    rng.shuffle(&mut ids);
    thread::scope(|scope| {
        scope.spawn(|| {
            // As fast as the operator, so that both get something.
            let mut got = 0;
            while !ended.load(Ordering::Relaxed) {
                let files = gateway::files(&folder.drop());
                let file = choice.choice(&files).filter(|_| got <= asked.load(Ordering::Relaxed));
                got += usize::from(file.is_some_and(|file| move_out(file, taken)));
                thread::yield_now();
            }
        });
        for half in ids.chunks(MESSAGES / 2) {
            let (ended, asked) = (&ended, &asked);
            scope.spawn(move || {
                for id in half.iter().take_while(|_| !ended.load(Ordering::Relaxed)) {
                    // Whatever the answer is, and whether the host or its store gives it: the tracking knows.
                    let _ = folder.site.cli(&["message", "remove", id]);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("the moment to kill the host", || (asked.load(Ordering::Relaxed) >= enough).then_some(()));
        host.kill();
        ended.store(true, Ordering::Relaxed);
    });
    ids
}

#[test]
fn kill_9_amid_removals_and_pickups_leaves_each_file_to_exactly_one() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let folder = Folder::new("poll_interval = \"100ms\"");
    let taken = folder.site.drop_directory("taken");
    fs::create_dir(&taken).unwrap();
    let rounds = std::env::var("POSTERN_KILL_ROUNDS").ok().map_or(ROUNDS, |text| text.parse().unwrap());
    let mut ids = Vec::new();
    for _ in 0..rounds {
        ids.extend(kill_amid_removals(&folder, folder.site.start(), &taken, &mut rng));
    }
    let host = folder.site.start();
    eventually("the pickups of all that is left", || {
        for file in gateway::files(&folder.drop()) {
            assert!(move_out(&file, &taken), "nobody else takes files any more");
        }
        (folder.site.ask(&["queue", "list"]) == json!([])).then_some(())
    });
    let with = |event: &str| -> BTreeSet<String> {
        let rows = folder.site.ask(&["track", "--event", event, "--recipient", ANN, "--limit", "100000"]);
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row["message_id"].as_str().unwrap().to_owned()).collect()
    };
    let got: BTreeSet<String> = fs::read_dir(&taken)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap().trim_end_matches(".0.eml").to_owned())
        .collect();
    let (relayed, removed) = (with("relay"), with("remove"));
    println!("{} messages, {} taken, {} removed, seed {seed}", ids.len(), got.len(), removed.len());
    assert_eq!(relayed, got, "what was taken is relayed, and nothing else is, seed {seed}");
    assert!(removed.is_disjoint(&got), "what was removed was not taken, seed {seed}");
    assert_eq!(removed.len() + relayed.len(), ids.len(), "all are decided, seed {seed}");
    assert!(!removed.is_empty() && !got.is_empty(), "seed {seed}");
    host.stop();
    let audit = folder.site.audit();
    assert_eq!(audit["accepted"].as_u64(), Some(ids.len() as u64), "{audit}");
}
