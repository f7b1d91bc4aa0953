//! What the config grants an agent, in the words of [`super::Wishes`], so that both can be read side by side.

use bytesize::ByteSize;
use postern_agent::Clocks;

use crate::config::Grants;

/// Everything that is granted, a line each, no secret's value among them.
#[must_use]
pub fn granted(grants: &Grants) -> Vec<String> {
    let mut lines: Vec<String> = grants.http.iter().map(|url| format!("http {url}")).collect();
    lines.extend(grants.tcp.iter().map(|grant| format!("tcp {}", grant.text)));
    lines.extend(grants.secrets.iter().map(|(name, _)| format!("secret {name}")));
    lines.extend(grants.directories.iter().map(|grant| {
        let access = if grant.is_writable() { ":rw" } else { "" };
        format!("directory {}{access} ({})", grant.name(), grant.path().display())
    }));
    lines.extend((grants.state > 0).then(|| format!("state {}", ByteSize(grants.state))));
    for (word, granted) in [("call-backs", grants.callback), ("inbound mail", grants.inbound)] {
        lines.extend(granted.then(|| word.to_owned()));
    }
    lines.extend(match grants.clocks {
        Clocks::Exact => Some("clocks".to_owned()),
        Clocks::Coarse => Some("clocks, coarse".to_owned()),
        Clocks::None => None,
    });
    lines.extend(grants.random.then(|| "random numbers".to_owned()));
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::check_text;

    fn of(grants: &str) -> Vec<String> {
        let text = format!(
            "[host]\nname = \"a\"\n[secrets]\nkey = {{ env = \"A\" }}\n[delivery_agent_connectors.fax]\n\
             address_spaces = [\"FAX:*\"]\nagent = \"a.wasm\"\n{grants}"
        );
        let here = Path::new("/etc/postern/postern.toml");
        let (config, _) = check_text(&text, here, here, &|_| Some("hidden".to_owned())).unwrap();
        granted(&config.delivery_agent_connectors[0].grants)
    }

    #[test]
    fn what_is_granted_is_said_without_secrets() {
        assert_eq!(of(""), ["clocks", "random numbers"]);
        let grants = "grants = { http = [\"https://fax.example/\"], tcp = [\"a.example:1\"], secrets = [\"key\"], \
                      directories = [{ path = \"/var/fax\", as = \"/in\" }, \"/var/spool:rw\"], state = \"1MiB\", \
                      callback = true, inbound = true, clocks = \"coarse\", random = false }";
        let lines = [
            "http https://fax.example/",
            "tcp a.example:1",
            "secret key",
            "directory /in (/var/fax)",
            "directory /spool:rw (/var/spool)",
            "state 1.0 MiB",
            "call-backs",
            "inbound mail",
            "clocks, coarse",
        ];
        assert_eq!(of(grants), lines);
        assert!(!of("grants = { clocks = false }").contains(&"clocks".to_owned()));
    }
}
