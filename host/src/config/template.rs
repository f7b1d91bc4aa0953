//! Texts that `postern init` writes: a configuration to start from, a service unit, and lines for Postfix.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::checked::Config;

/// A commented configuration that runs as it is, on loopback and below the folder it lies in.
///
/// `host_name` goes into `host.name`; what is not a host name becomes `localhost`.
#[must_use]
pub fn starter(host_name: &str) -> String {
    let name = if super::values::is_host_name(host_name) { host_name } else { "localhost" };
    STARTER.replace("@NAME@", name)
}

/// What a systemd unit is written for. All paths are absolute.
#[derive(Clone, Debug)]
pub struct Service {
    /// The program.
    pub program: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The folder that it lies in.
    pub folder: PathBuf,
    /// As whom the host runs.
    pub user: String,
    /// The folders that the host may write in. They must be there when it starts.
    pub writable: BTreeSet<PathBuf>,
}

impl Service {
    /// A systemd unit that gives the host no more than it needs.
    #[must_use]
    pub fn unit(&self) -> String {
        let writable: Vec<String> = self.writable.iter().map(|path| word(path)).collect();
        let lies_below = |folders: &[&str]| {
            let mut all = self.writable.iter().chain([&self.program, &self.config]);
            all.any(|path| folders.iter().any(|folder| path.starts_with(folder)))
        };
        // What is hidden from the service cannot be part of it.
        let home = if lies_below(&["/home", "/root", "/run/user"]) { "read-only" } else { "yes" };
        let tmp = if lies_below(&["/tmp", "/var/tmp"]) { "no" } else { "yes" };
        let commands = SERVICE_UNIT
            .replace("@PROGRAM@", &argument(&self.program))
            .replace("@CONFIG@", &argument(&self.config));
        commands
            .replace("@FOLDER@", &plain(&self.folder))
            .replace("@USER@", &self.user)
            .replace("@WRITABLE@", &writable.join(" "))
            .replace("@HOME@", home)
            .replace("@TMP@", tmp)
    }
}

/// A path where a unit takes the rest of the line: only specifiers must be off (systemd.unit(5)).
fn plain(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

/// A path as one word of a unit's list (systemd.syntax(7)).
fn word(path: &Path) -> String {
    let text = plain(path);
    if text.contains(|c: char| c.is_whitespace() || "\"'\\".contains(c)) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    text
}

/// A path as one word of a command line, where variables are replaced (systemd.service(5)).
fn argument(path: &Path) -> String {
    word(path).replace('$', "$$")
}

/// Lines for `/etc/postfix/transport` and `main.cf` that send the domains of this configuration here, and say how.
/// Without an SMTP domain or an enabled receive connector there is nothing to say but that.
#[must_use]
pub fn postfix_transport_hint(config: &Config) -> String {
    let Some(address) = reachable_at(config) else {
        return "# No receive connector with a fixed port is enabled, so Postfix cannot send anything here.\n".to_owned();
    };
    let enabled = config.outgoing().filter(|connector| connector.enabled);
    // What goes on by a send connector is the rest of the world, which Postfix serves itself.
    let ours = enabled.filter(|connector| connector.kind != super::ConnectorKind::Send);
    let spaces = ours.flat_map(|connector| &connector.address_spaces);
    let smtp = spaces.filter(|space| space.kind.is_smtp() && !space.takes_all());
    let domains = smtp.map(|space| match space.pattern.strip_prefix('*') {
        Some(below) => below.to_owned(),
        None => space.pattern.clone(),
    });
    let domains: BTreeSet<String> =
        domains.chain(config.rewrites.iter().filter_map(|rule| rule.domain())).collect();
    if domains.is_empty() {
        return "# No connector serves an SMTP domain of its own: add one, or a rewrite like {number}@fax.example.\n"
            .to_owned();
    }
    let mut out = "# /etc/postfix/transport\n".to_owned();
    for domain in domains {
        let _ = writeln!(out, "{domain:<30} smtp:[{}]:{}", address.ip(), address.port());
    }
    out.push_str("\n# then:\n#   postmap /etc/postfix/transport\n");
    out.push_str("#   postconf -e 'transport_maps = hash:/etc/postfix/transport'\n#   postfix reload\n");
    out.push_str("# Leave the domains out of relay_domains: with them there, everybody who can reach this Postfix could\n");
    out.push_str("# send to them, and Postern takes all of its mail for mail of clients on this machine.\n");
    out
}

/// Where a client on this machine reaches the host: an address on every interface is reached by loopback.
fn reachable_at(config: &Config) -> Option<SocketAddr> {
    let enabled = config.receive_connectors.iter().filter(|connector| connector.enabled);
    let address = enabled.flat_map(|connector| &connector.listen).find(|address| address.port() != 0)?;
    let ip = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    Some(SocketAddr::new(ip, address.port()))
}

const STARTER: &str = r#"# Postern: mail in by SMTP, out to whatever is not SMTP.
# Every key and its default is described in docs/config.md. Relative paths count from the folder of this file.
# `postern check` reads this file and tells everything that is wrong with it.

# The systemd unit beside this file lets the host write in the folders data and drop below this one, and nowhere else:
# another data_directory or drop_directory must be listed in its ReadWritePaths.
[host]
name = "@NAME@"
data_directory = "data"

# Metrics and health checks, for this machine only.
[admin]
listen = "127.0.0.1:8025"

# Mail comes in here. Only clients of remote_networks are served. Which connectors they may send to is another
# question: each connector's `submitters`, by default clients on this machine.
[receive_connectors.default]
listen = ["127.0.0.1:2525"]
remote_networks = ["127.0.0.0/8", "::1/128"]
max_message_size = "35MiB"

# Mail for outbox.example, and any address like FILE:name, becomes a file in drop/outbox.
# The program that reads the files takes each one by deleting it or moving it out of the folder.
[foreign_connectors.outbox]
address_spaces = ["SMTP:outbox.example", "FILE:*"]
drop_directory = "drop/outbox"
create_directory = true
profile = "eml"
quota = { bytes = "1GiB", files = 10000 }

# A delivery agent: a sandboxed plugin that hands each message to a web service.
# It can reach nothing but what its grants name. The file lies in the source tree: plugins/prebuilt/webhook.wasm.
#[delivery_agent_connectors.webhook]
#address_spaces = ["SMTP:hook.example"]
#agent = "agents/webhook.wasm"
#settings = { url = "https://hook.example/v1/messages", secret = "webhook-token" }
#grants = { http = ["https://hook.example/v1/"], secrets = ["webhook-token"] }
#retry = { default = "1m*4, 5m*6, 10m", throttled = "30s, 2m*5, 10m" }

# Where DSNs (the reports to senders) and all other mail go. Without it DSNs wait, and other mail is refused.
#[send_connectors.internet]
#address_spaces = ["SMTP:*;50"]
#smart_hosts = ["mail.example:25"]

# Turns addresses into another type: 4930123@fax.example becomes FAX:4930123.
#[[rewrites]]
#match = "{number}@fax.example"
#to = "FAX:{number}"

# Secrets lie in files that other users cannot read, in the environment, or in systemd credentials.
#[secrets]
#webhook-token = { file = "secrets/webhook-token" }
"#;

const SERVICE_UNIT: &str = "\
[Unit]
Description=Postern, mail to delivery agents and drop directories
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStartPre=@PROGRAM@ check --config @CONFIG@
ExecStart=@PROGRAM@ run --config @CONFIG@
ExecReload=@PROGRAM@ reload --config @CONFIG@
User=@USER@
WorkingDirectory=@FOLDER@
UMask=0027
# Exit code 4 among them: the store has stopped after a write or sync that failed, and a new start reads it anew.
Restart=on-failure
RestartSec=2s
TimeoutStopSec=45s
LimitNOFILE=65536

# Ports below 1024, and nothing else that is root's.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes

# The host can write in these folders only, which must be there when it starts: its data directory, and where its drop
# directories lie.
ReadWritePaths=@WRITABLE@
ProtectSystem=strict
ProtectHome=@HOME@
PrivateTmp=@TMP@
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
# MemoryDenyWriteExecute must stay off: agents are compiled to machine code when they are loaded.
MemoryDenyWriteExecute=no

[Install]
WantedBy=multi-user.target
";

#[cfg(test)]
mod tests {
    use super::super::check_text;
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        let path = Path::new("/nonexistent/postern.toml");
        check_text(text, path, path, &|_| None).unwrap_or_else(|report| panic!("{report}")).0
    }

    #[test]
    fn the_starter_is_without_faults_and_names_the_host() {
        assert_eq!(config(&starter("gw1.example")).host.name, "gw1.example");
        assert_eq!(config(&starter("not a name")).host.name, "localhost");
    }

    #[test]
    fn the_starter_stays_without_faults_when_its_examples_are_switched_on() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets");
        std::fs::create_dir(&secrets).unwrap();
        std::fs::write(secrets.join("webhook-token"), "x").unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(secrets.join("webhook-token"), closed).unwrap();
        let on: String = starter("gw1.example")
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(example) if !example.starts_with(' ') => format!("{example}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let path = folder.path().join("postern.toml");
        let (config, _) =
            check_text(&on, &path, &path, &|_| None).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(config.outgoing().count(), 3);
        assert_eq!(config.rewrites.len(), 1);
    }

    fn service(folder: &str) -> Service {
        let folder = Path::new(folder);
        Service {
            program: "/usr/local/bin/postern".into(),
            config: folder.join("postern.toml"),
            folder: folder.to_owned(),
            user: "postern".to_owned(),
            writable: [folder.join("data"), folder.join("drop")].into(),
        }
    }

    /// The value of a key of a unit that has it once.
    fn value<'a>(unit: &'a str, key: &str) -> &'a str {
        let mut all = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let first = all.next().unwrap_or_else(|| panic!("no {key}"));
        assert_eq!(all.next(), None, "{key}");
        first
    }

    #[test]
    fn the_unit_names_the_folders_that_it_is_for_and_hides_none_of_them() {
        let unit = service("/etc/postern").unit();
        assert!(
            !unit.contains('@') || unit.matches('@').count() == 1,
            "only @system-service is left:\n{unit}"
        );
        let run = "/usr/local/bin/postern run --config /etc/postern/postern.toml";
        assert_eq!(value(&unit, "ExecStart"), run);
        assert_eq!(value(&unit, "ReadWritePaths"), "/etc/postern/data /etc/postern/drop");
        assert_eq!((value(&unit, "WorkingDirectory"), value(&unit, "User")), ("/etc/postern", "postern"));
        assert_eq!((value(&unit, "ProtectHome"), value(&unit, "PrivateTmp")), ("yes", "yes"));
        assert_eq!(value(&service("/home/jo/site").unit(), "ProtectHome"), "read-only");
        assert_eq!(value(&service("/homes/jo").unit(), "ProtectHome"), "yes");
        assert_eq!(value(&service("/tmp/site").unit(), "PrivateTmp"), "no");
    }

    #[test]
    fn paths_of_any_form_stay_one_word_in_the_unit() {
        let unit = service("/srv/a b/50%/$HOME/\"q\"").unit();
        assert_eq!(
            value(&unit, "ReadWritePaths"),
            r#""/srv/a b/50%%/$HOME/\"q\"/data" "/srv/a b/50%%/$HOME/\"q\"/drop""#
        );
        let config = r#""/srv/a b/50%%/$$HOME/\"q\"/postern.toml""#;
        assert_eq!(value(&unit, "ExecStart"), format!("/usr/local/bin/postern run --config {config}"));
        assert_eq!(value(&unit, "WorkingDirectory"), r#"/srv/a b/50%%/$HOME/"q""#);
    }

    #[test]
    fn the_unit_stops_later_than_the_grace_of_the_host() {
        let unit = service("/etc/postern").unit();
        let stop = value(&unit, "TimeoutStopSec");
        let stop = super::super::parse_duration(stop).unwrap().unsigned_abs();
        assert!(stop > super::super::host::SHUTDOWN_GRACE);
    }

    #[test]
    fn postfix_is_told_about_the_domains_that_end_here() {
        let hint = postfix_transport_hint(&config(&starter("gw1.example")));
        assert!(hint.contains("outbox.example                 smtp:[127.0.0.1]:2525\n"), "{hint}");
        let with_rewrite =
            starter("gw1.example") + "[[rewrites]]\nmatch = \"{n}@fax.example\"\nto = \"FAX:{n}\"\n";
        assert!(postfix_transport_hint(&config(&with_rewrite)).contains("\nfax.example "));
        let random_port = starter("gw1.example").replace("127.0.0.1:2525", "127.0.0.1:0");
        assert!(postfix_transport_hint(&config(&random_port)).starts_with("# No receive connector"));
    }
}
