//! What can only be seen with the whole file in view: names used twice, ports taken twice, connectors nobody can reach.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::checked::Config;
use super::directories;
use super::file_door::{self, FileDoorConfig};
use super::outgoing::{ConnectorKind, Outgoing};
use super::raw::{Document, Wrong};
use super::receive::ReceiveConfig;
use super::report::nearest;
use super::submitters::SubmitterRule;
use super::values::{parse_network, quoted};

/// Notes everything that is wrong or doubtful between tables.
pub(super) fn check(config: &Config, document: &Document<'_>) {
    names(config, document);
    listeners(config, document);
    submitters(config, document);
    drop_directories(config, document);
    directories::check(config, document);
    file_door::check(config, document);
    if !document.has_faults() {
        // A connector that could not be read is missing here, so that what follows could be wrong.
        ways_through(config, document);
    }
    address_spaces(config, document);
    open_networks(config, document);
    loops(config, document);
}

fn place(connector: &Outgoing, key: &str) -> String {
    let table = connector.kind.table();
    if key.is_empty() {
        format!("{table}.{}", connector.name)
    } else {
        format!("{table}.{}.{key}", connector.name)
    }
}

/// An outgoing connector's name is half the identity of its queues, so kinds must not share one.
fn names(config: &Config, document: &Document<'_>) {
    let mut seen: BTreeMap<&str, &Outgoing> = BTreeMap::new();
    for connector in config.outgoing() {
        if let Some(first) = seen.insert(&connector.name, connector) {
            let message = format!("the name is already taken by [{}]", place(first, ""));
            let hint = "outgoing connectors of all kinds need names of their own";
            document.fault_at(&place(connector, ""), Wrong::hinted(message, hint));
        }
    }
}

/// Two listeners cannot have one port, and one on every address has the port on each.
fn listeners(config: &Config, document: &Document<'_>) {
    let admin = config.admin.listen.iter().map(|address| ("admin".to_owned(), *address));
    let enabled = config.receive_connectors.iter().filter(|connector| connector.enabled);
    let receive = enabled.flat_map(|connector| {
        connector.listen.iter().map(|address| (format!("receive_connectors.{}", connector.name), *address))
    });
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    for (table, address) in admin.chain(receive) {
        let clash = taken.iter().find(|(_, other)| clashes(*other, address));
        if let Some((other, _)) = clash {
            let message = format!("{address} is already taken by [{other}]");
            document.fault_at(&format!("{table}.listen"), Wrong::hinted(message, "choose another port"));
        }
        taken.push((table, address));
    }
}

fn clashes(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && a.is_ipv4() == b.is_ipv4() && (everywhere || a.ip() == b.ip())
}

/// `receive:NAME` must name a receive connector, and somebody must be able to come in.
fn submitters(config: &Config, document: &Document<'_>) {
    let known = || {
        let receive = config.receive_connectors.iter().map(|connector| &*connector.name);
        receive.chain(config.file_doors.iter().map(|door| &*door.name))
    };
    for connector in config.outgoing() {
        for rule in &connector.submitters.0 {
            let SubmitterRule::Receive(name) = rule else { continue };
            if !known().any(|known| known == name) {
                let hint = match nearest(name, known()) {
                    Some(near) => format!("did you mean \"receive:{near}\"?"),
                    None => format!("known receive connectors: {}", known().collect::<Vec<_>>().join(", ")),
                };
                let message = format!("there is no receive connector {}", quoted(name));
                document.fault_at(&place(connector, "submitters"), Wrong::hinted(message, hint));
            }
        }
        let doors = || config.receive_connectors.iter().filter(|receive| receive.enabled);
        let reachable =
            doors().any(|door| connector.submitters.0.iter().any(|rule| comes_through(rule, door)));
        let mut files = config.file_doors.iter().filter(|door| door.enabled);
        let reachable = reachable
            || files.any(|door| connector.submitters.0.iter().any(|rule| comes_through_file(rule, door)));
        if connector.enabled && doors().next().is_some() && !reachable {
            let rules: Vec<_> = connector.submitters.0.iter().map(ToString::to_string).collect();
            let message =
                format!("no receive connector lets in anyone who may submit here ({})", rules.join(", "));
            let hint =
                "add the clients to submitters, for example \"network:10.0.0.0/8\" or \"receive:NAME\"";
            document.warn_at(&place(connector, "submitters"), Wrong::hinted(message, hint));
        }
    }
}

/// Whether a client that the receive connector serves can fit the rule. Receive connectors do not offer AUTH, so no
/// client of theirs is an authenticated user.
fn comes_through(rule: &SubmitterRule, door: &ReceiveConfig) -> bool {
    let admits = |wanted: &IpNet| {
        door.remote_networks.iter().any(|network| network.contains(wanted) || wanted.contains(network))
    };
    match rule {
        SubmitterRule::Receive(name) => *name == *door.name,
        SubmitterRule::Network(network) => admits(network),
        SubmitterRule::Loopback => {
            ["127.0.0.0/8", "::1/128"].iter().filter_map(|net| parse_network(net)).any(|net| admits(&net))
        }
        SubmitterRule::Sender(_) | SubmitterRule::Anyone => true,
        SubmitterRule::User(_) | SubmitterRule::Authenticated => false,
    }
}

/// Whether a file of a directory can fit the rule: whoever may put one there is on this machine, and where each submitter
/// has a folder, is one of them.
fn comes_through_file(rule: &SubmitterRule, door: &FileDoorConfig) -> bool {
    let mut submitters = door.folders.iter().filter_map(|folder| folder.submitter.as_deref());
    match rule {
        SubmitterRule::Receive(name) => *name == *door.name,
        SubmitterRule::Network(network) => network.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)),
        SubmitterRule::User(name) => submitters.any(|submitter| submitter == name),
        SubmitterRule::Authenticated => submitters.next().is_some(),
        SubmitterRule::Loopback | SubmitterRule::Sender(_) | SubmitterRule::Anyone => true,
    }
}

/// Two connectors in one directory would count, expire and report each other's files.
fn drop_directories(config: &Config, document: &Document<'_>) {
    let mut taken: BTreeMap<&std::path::Path, String> = BTreeMap::new();
    for connector in config.foreign_connectors.iter().filter(|connector| connector.common.enabled) {
        let drop = Some((connector.drop_directory.as_path(), "drop_directory"));
        let temp = connector.temp_directory.as_deref().map(|path| (path, "temp_directory"));
        for (path, key) in drop.into_iter().chain(temp) {
            if let Some(other) = taken.insert(path, place(&connector.common, key))
                && !other.starts_with(&place(&connector.common, ""))
            {
                let message = format!("the folder is already used by {other}");
                let hint = "each foreign connector needs folders of its own";
                document.fault_at(&place(&connector.common, key), Wrong::hinted(message, hint));
            }
        }
    }
}

/// Something must come in and go out, and DSNs must leave.
fn ways_through(config: &Config, document: &Document<'_>) {
    let by_file = config.file_doors.iter().any(|door| door.enabled);
    if !by_file && !config.receive_connectors.iter().any(|connector| connector.enabled) {
        let hint = "add [receive_connectors.default] with listen = [\"127.0.0.1:2525\"]";
        document.warn_at(
            "receive_connectors",
            Wrong::hinted("no receive connector is enabled, so nothing comes in", hint),
        );
    }
    if !config.outgoing().any(|connector| connector.enabled) {
        document.warn_at("", Wrong::new("no outgoing connector is enabled, so nothing can be delivered"));
        return;
    }
    let serves_all = |connector: &Outgoing| {
        let mut spaces = connector.address_spaces.iter();
        connector.enabled && spaces.any(|space| space.kind.is_smtp() && space.takes_all())
    };
    if !config.send_connectors.iter().any(|connector| serves_all(&connector.common)) {
        let hint = "add [send_connectors.internet] with address_spaces = [\"SMTP:*;50\"] and smart_hosts";
        let message = "no enabled send connector serves SMTP:*, so DSNs to senders would wait";
        document.warn_at("send_connectors", Wrong::hinted(message, hint));
    }
    for connector in config.outgoing().filter(|connector| !connector.enabled) {
        document.warn_at(&place(connector, "enabled"), Wrong::new("this connector is off"));
    }
    for connector in config.receive_connectors.iter().filter(|connector| !connector.enabled) {
        let place = format!("receive_connectors.{}.enabled", connector.name);
        document.warn_at(&place, Wrong::new("this connector is off"));
    }
}

/// Of two connectors with the same address space at the same cost, the name decides, which is rarely meant.
fn address_spaces(config: &Config, document: &Document<'_>) {
    let mut seen: BTreeMap<String, &Outgoing> = BTreeMap::new();
    let mut enabled: Vec<_> = config.outgoing().filter(|connector| connector.enabled).collect();
    enabled.sort_by(|a, b| a.name.cmp(&b.name));
    for connector in enabled {
        for space in &connector.address_spaces {
            let first = *seen.entry(space.to_string().to_lowercase()).or_insert(connector);
            if !std::ptr::eq(first, connector) {
                let message =
                    format!("[{}] has {space} as well and comes first by its name", place(first, ""));
                let hint = "give one of them a higher cost";
                document.warn_at(&place(connector, "address_spaces"), Wrong::hinted(message, hint));
            }
        }
        let mut own: Vec<_> =
            connector.address_spaces.iter().map(|space| (&space.kind, &space.pattern)).collect();
        own.sort_unstable();
        if let Some(pair) = own.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("{}:{} is listed twice", pair[0].0, pair[0].1);
            document.warn_at(&place(connector, "address_spaces"), Wrong::new(message));
        }
    }
}

/// Listening to the world is right only behind a firewall, and relaying for it never.
fn open_networks(config: &Config, document: &Document<'_>) {
    for connector in config.receive_connectors.iter().filter(|connector| connector.enabled) {
        let place = format!("receive_connectors.{}.remote_networks", connector.name);
        let open = connector.remote_networks.iter().any(|network| network.prefix_len() == 0);
        let reachable = connector.listen.iter().any(|address| !address.ip().is_loopback());
        let foreign = connector.remote_networks.iter().any(|network| !network.network().is_loopback());
        if reachable && open {
            let hint = "list the networks of the hosts that send mail here";
            document.warn_at(&place, Wrong::hinted("every address of the internet is served", hint));
            for served in config.outgoing().filter(|served| served.enabled) {
                let anyone = |rule: &SubmitterRule| match rule {
                    SubmitterRule::Anyone => true,
                    SubmitterRule::Receive(name) => *name == *connector.name,
                    _ => false,
                };
                if served.submitters.0.iter().any(anyone) {
                    let what = if served.kind == ConnectorKind::Send {
                        "an open relay"
                    } else {
                        "open to the world"
                    };
                    let message =
                        format!("with [receive_connectors.{}] this connector is {what}", connector.name);
                    let hint = "name the networks or users that may submit here";
                    document.warn_at(&self::place(served, "submitters"), Wrong::hinted(message, hint));
                }
            }
        } else if reachable && !foreign {
            let hint = "add remote_networks = [\"10.0.0.0/8\"], or listen on 127.0.0.1";
            document.warn_at(
                &place,
                Wrong::hinted("it listens to other machines and turns all of them away", hint),
            );
        }
    }
}

/// A smart host that is ourselves would send every message round and round.
fn loops(config: &Config, document: &Document<'_>) {
    let listening = || {
        config
            .receive_connectors
            .iter()
            .filter(|connector| connector.enabled)
            .flat_map(|connector| &connector.listen)
    };
    for connector in config.send_connectors.iter().filter(|connector| connector.common.enabled) {
        for smart_host in &connector.smart_hosts {
            let local = |address: &&SocketAddr| {
                let host = &smart_host.host;
                let named = *host == config.host.name || host == "localhost";
                let same = host.parse().is_ok_and(|ip: std::net::IpAddr| {
                    ip == address.ip() || (address.ip().is_unspecified() && ip.is_loopback())
                });
                address.port() == smart_host.port && (named || same)
            };
            if listening().any(|address| local(&address)) {
                let message = format!("{smart_host} is this host itself, so mail would go in circles");
                document.warn_at(&place(&connector.common, "smart_hosts"), Wrong::new(message));
            }
        }
    }
}
