//! Difference: what has to be ended and begun to come from one config to another. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::site::Reloaded;
use crate::config::{Config, DeliveryAgentConfig, FileDoorConfig, ForeignConfig, ReceiveConfig, SendConfig};

/// Names of one sort of connectors, by what becomes of them. A connector that changed is among `ended` and `begun`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Not to be found in the new config as they were.
    pub ended: Vec<Arc<str>>,
    /// Not to be found in the old config as they are.
    pub begun: Vec<Arc<str>>,
    /// The same in both.
    pub kept: Vec<Arc<str>>,
    /// Delivery agents that go on, with another version of their agent.
    pub swapped: Vec<Arc<str>>,
}

/// What differs between two configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Receive connectors, and pickup and replay directories.
    pub doors: Names,
    /// Delivery agents, foreign and send connectors.
    pub ways_out: Names,
}

/// The table of a way in.
#[derive(PartialEq)]
enum Door<'a> {
    Receive(&'a ReceiveConfig),
    Files(&'a FileDoorConfig),
}

/// The table of an outgoing connector.
#[derive(PartialEq)]
enum Table<'a> {
    Agent(&'a DeliveryAgentConfig),
    Foreign(&'a ForeignConfig),
    Send(&'a SendConfig),
}

fn doors(config: &Config) -> BTreeMap<Arc<str>, Door<'_>> {
    let receive = config.receive_connectors.iter().filter(|r| r.enabled);
    let receive = receive.map(|r| (r.name.clone(), Door::Receive(r)));
    let files = config.file_doors.iter().filter(|door| door.enabled);
    receive.chain(files.map(|door| (door.name.clone(), Door::Files(door)))).collect()
}

fn ways_out(config: &Config) -> BTreeMap<Arc<str>, Table<'_>> {
    let agents = config.delivery_agent_connectors.iter().map(|a| (&a.common, Table::Agent(a)));
    let foreign = config.foreign_connectors.iter().map(|f| (&f.common, Table::Foreign(f)));
    let send = config.send_connectors.iter().map(|s| (&s.common, Table::Send(s)));
    let all = agents.chain(foreign).chain(send).filter(|(common, _)| common.enabled);
    all.map(|(common, table)| (common.name.clone(), table)).collect()
}

impl Names {
    fn between<T: PartialEq>(old: &BTreeMap<Arc<str>, T>, new: &BTreeMap<Arc<str>, T>) -> Self {
        let (kept, begun) = new.keys().cloned().partition(|name| old.get(name) == new.get(name));
        let ended = old.keys().filter(|name| old.get(*name) != new.get(*name)).cloned().collect();
        Self { ended, begun, kept, swapped: Vec::new() }
    }

    /// Some of those that were to be kept are begun anew.
    pub fn renew(&mut self, names: Vec<Arc<str>>) {
        self.kept.retain(|name| !names.contains(name));
        self.ended.extend(names.iter().cloned());
        self.begun.extend(names);
    }

    /// Some of those that were to be begun anew only get another version of their agent.
    pub fn swap(&mut self, names: Vec<Arc<str>>) {
        self.ended.retain(|name| !names.contains(name));
        self.begun.retain(|name| !names.contains(name));
        self.swapped.extend(names);
    }
}

impl Difference {
    /// What there is to begin when nothing runs.
    pub fn from_nothing(config: &Config) -> Self {
        let (none, no_tables) = (BTreeMap::new(), BTreeMap::new());
        Self {
            doors: Names::between(&none, &doors(config)),
            ways_out: Names::between(&no_tables, &ways_out(config)),
        }
    }

    /// What there is to end and to begin.
    pub fn between(old: &Config, new: &Config) -> Self {
        Self {
            doors: Names::between(&doors(old), &doors(new)),
            ways_out: Names::between(&ways_out(old), &ways_out(new)),
        }
    }

    /// In the words of the report.
    pub fn into_report(self) -> Reloaded {
        let mut report = Reloaded::default();
        report.swapped.clone_from(&self.ways_out.swapped);
        for names in [self.doors, self.ways_out] {
            let ended: BTreeSet<_> = names.ended.into_iter().collect();
            let (restarted, started): (Vec<_>, _) = names.begun.into_iter().partition(|n| ended.contains(n));
            report.stopped.extend(ended.into_iter().filter(|name| !restarted.contains(name)));
            report.restarted.extend(restarted);
            report.started.extend(started);
        }
        report
    }
}

/// Whether a connector is a delivery agent in both configs, and differs in nothing but its agent's version.
pub fn differs_only_in_version(old: &Config, new: &Config, name: &str) -> bool {
    let find = |config: &Config| {
        let mut agents = config.delivery_agent_connectors.iter();
        agents.find(|agent| &*agent.common.name == name && agent.common.enabled).cloned()
    };
    find(old).zip(find(new)).is_some_and(|(old, new)| old.differs_only_in_version(&new))
}

/// Puts the old values back where a change counts only from the next start on, and names the keys that it found:
/// `[host]`, `[admin]` and `[callback]` are taken up at a start.
pub fn keep_fixed(old: &Config, new: &mut Config) -> Vec<&'static str> {
    let (was, is) = (&old.host, &new.host);
    let changed = [
        ("host.name", was.name != is.name),
        ("host.data_directory", was.data_directory != is.data_directory),
        ("host.postmaster", was.postmaster != is.postmaster),
        ("host.worker_threads", was.worker_threads != is.worker_threads),
        ("host.log_format", was.log_format != is.log_format),
        ("host.shutdown_grace", was.shutdown_grace != is.shutdown_grace),
        ("host.on_store_failure", was.on_store_failure != is.on_store_failure),
        ("host.max_agent_instances", was.max_agent_instances != is.max_agent_instances),
        ("host.max_large_agent_instances", was.max_large_agent_instances != is.max_large_agent_instances),
        ("host.agent_parse_budget", was.agent_parse_budget != is.agent_parse_budget),
        ("host.settle_window", was.settle_window != is.settle_window),
        ("host.content_cache", was.content_cache != is.content_cache),
        ("host.store_reserve", was.store_reserve != is.store_reserve),
        ("host.inline_body_limit", was.inline_body_limit != is.inline_body_limit),
        ("host.receipt_memory", was.receipt_memory != is.receipt_memory),
        ("host.early_receipts", was.early_receipts != is.early_receipts),
        ("host.early_receipt_life", was.early_receipt_life != is.early_receipt_life),
        ("host.quarantine_records", was.quarantine_records != is.quarantine_records),
        ("host.recordings", was.recordings.files != is.recordings.files),
        ("host.recordings_size", was.recordings.bytes != is.recordings.bytes),
        ("host.encapsulation_domains", was.encapsulation_domains != is.encapsulation_domains),
        ("admin.listen", old.admin.listen != new.admin.listen),
        ("admin.token", old.admin.token != new.admin.token),
        ("callback", old.callback != new.callback),
    ];
    new.host = old.host.clone();
    new.admin = old.admin.clone();
    new.callback = old.callback.clone();
    changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::check_text;

    const SITE: &str = "[host]\nname = \"gw.example\"\n\
        [receive_connectors.in]\nlisten = [\"127.0.0.1:2525\"]\n\
        [send_connectors.a]\naddress_spaces = [\"a.example\"]\nsmart_hosts = [\"127.0.0.1:25\"]\n\
        [send_connectors.b]\naddress_spaces = [\"b.example\"]\nsmart_hosts = [\"127.0.0.1:25\"]\n";

    fn config(text: &str) -> Config {
        let checked = check_text(text, Path::new("x"), Path::new("/x"), &|_| None);
        checked.map_err(|report| report.human()).unwrap().0
    }

    fn names(names: &[Arc<str>]) -> Vec<&str> {
        names.iter().map(|name| &**name).collect()
    }

    #[test]
    fn the_same_config_changes_nothing() {
        let difference = Difference::between(&config(SITE), &config(&format!("# a remark\n{SITE}")));
        assert!(difference.doors.begun.is_empty() && difference.doors.ended.is_empty());
        assert!(difference.ways_out.begun.is_empty() && difference.ways_out.ended.is_empty());
        assert_eq!(names(&difference.ways_out.kept), ["a", "b"]);
    }

    #[test]
    fn only_what_differs_is_ended_and_begun() {
        let text = SITE.replace("a.example\"", "a.example;5\"").replace("connectors.b", "connectors.c");
        let report = Difference::between(&config(SITE), &config(&text)).into_report();
        assert_eq!(names(&report.restarted), ["a"]);
        assert_eq!(names(&report.stopped), ["b"]);
        assert_eq!(names(&report.started), ["c"]);
    }

    #[test]
    fn a_connector_that_is_off_counts_as_gone() {
        let text = SITE.replace("[send_connectors.b]", "[send_connectors.b]\nenabled = false");
        let report = Difference::between(&config(SITE), &config(&text)).into_report();
        assert_eq!((names(&report.stopped), report.started.len()), (vec!["b"], 0));
        let back = Difference::between(&config(&text), &config(SITE)).into_report();
        assert_eq!(names(&back.started), ["b"]);
    }

    #[test]
    fn one_that_is_renewed_is_restarted() {
        let mut difference = Difference::between(&config(SITE), &config(SITE));
        difference.ways_out.renew(vec!["b".into()]);
        assert_eq!(names(&difference.into_report().restarted), ["b"]);
    }

    #[test]
    fn only_the_version_of_an_agent_can_be_swapped() {
        let agent = "[delivery_agent_connectors.fax]\naddress_spaces = [\"FAX:*\"]\nagent = \"a.wasm\"\n";
        let old = config(&format!("{SITE}{agent}"));
        let swaps = |from: &str, to: &str| {
            differs_only_in_version(&old, &config(&format!("{SITE}{}", agent.replace(from, to))), "fax")
        };
        assert!(swaps("", ""));
        assert!(swaps("a.wasm", "b.wasm"));
        assert!(swaps("agent =", "canary = { count = 3 }\nagent ="));
        assert!(swaps("agent =", &format!("sha256 = \"{}\"\nagent =", "0a".repeat(32))));
        assert!(!swaps("a.wasm\"", "b.wasm\"\nsettings = { a = 1 }"));
        assert!(!swaps("FAX:*", "FAX:+49*"));
        assert!(!swaps("agent =", "enabled = false\nagent ="));
        assert!(!differs_only_in_version(&old, &old, "a"), "no agent");

        let mut difference = Difference::between(&old, &old);
        difference.ways_out.renew(vec!["fax".into(), "b".into()]);
        difference.ways_out.swap(vec!["fax".into()]);
        let report = difference.into_report();
        assert_eq!((names(&report.swapped), names(&report.restarted)), (vec!["fax"], vec!["b"]));
    }

    #[test]
    fn what_counts_from_the_next_start_on_stays_and_is_named() {
        let mut new = config(&SITE.replace("[host]", "[host]\nsettle_window = 7\ndata_directory = \"x\""));
        let old = config(SITE);
        assert_eq!(keep_fixed(&old, &mut new), ["host.data_directory", "host.settle_window"]);
        assert_eq!(new.host.settle_window, old.host.settle_window);
        assert_eq!(keep_fixed(&old, &mut new), Vec::<&str>::new());
    }
}
