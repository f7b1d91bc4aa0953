//! Submitters: who may hand in messages for a connector. Being served by a receive connector is not being allowed:
//! faxes and text messages cost money.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::address_space::wildcard;
use super::values::{parse_network, quoted};

/// Who hands in a message.
#[derive(Clone, Copy, Debug)]
pub struct Submitter<'a> {
    /// The receive connector or other way in that took it.
    pub connector: &'a str,
    /// The client's address. `None` when it did not come over the network: then neither `loopback` nor a network fits.
    pub client: Option<IpAddr>,
    /// The authenticated user.
    pub user: Option<&'a str>,
    /// The reverse-path, empty for the null one. It is only what the client says.
    pub sender: &'a str,
}

/// One kind of submitters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitterRule {
    /// `receive:NAME`: whoever comes through this receive connector.
    Receive(String),
    /// `network:CIDR`: clients of a network.
    Network(IpNet),
    /// `sender:PATTERN`: messages with such a reverse-path, `*` standing for any text. A claim, not a proof.
    Sender(String),
    /// `user:NAME`: one authenticated user.
    User(String),
    /// `loopback`: clients on this machine.
    Loopback,
    /// `authenticated`: every authenticated user.
    Authenticated,
    /// `anyone`.
    Anyone,
}

impl SubmitterRule {
    /// Whether it fits.
    #[must_use]
    pub fn allows(&self, submitter: &Submitter<'_>) -> bool {
        let client = submitter.client.map(|ip| ip.to_canonical());
        match self {
            Self::Receive(name) => submitter.connector == name,
            Self::Network(network) => client.is_some_and(|ip| network.contains(&ip)),
            Self::Sender(pattern) => !submitter.sender.is_empty() && wildcard(pattern, submitter.sender),
            Self::User(name) => submitter.user == Some(name),
            Self::Loopback => client.is_some_and(|ip| ip.is_loopback()),
            Self::Authenticated => submitter.user.is_some(),
            Self::Anyone => true,
        }
    }
}

impl FromStr for SubmitterRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let wrong = || format!("{} is not a kind of submitters", quoted(text));
        match (text, text.split_once(':')) {
            ("loopback", _) => Ok(Self::Loopback),
            ("authenticated", _) => Ok(Self::Authenticated),
            ("anyone", _) => Ok(Self::Anyone),
            (_, Some((_, ""))) => Err(wrong()),
            (_, Some(("receive", name))) => Ok(Self::Receive(name.to_owned())),
            (_, Some(("network", network))) => parse_network(network)
                .map(Self::Network)
                .ok_or_else(|| format!("{} is not a network", quoted(network))),
            (_, Some(("sender", pattern))) => Ok(Self::Sender(pattern.to_owned())),
            (_, Some(("user", name))) => Ok(Self::User(name.to_owned())),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for SubmitterRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receive(name) => write!(f, "receive:{name}"),
            Self::Network(network) => write!(f, "network:{network}"),
            Self::Sender(pattern) => write!(f, "sender:{pattern}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Loopback => f.write_str("loopback"),
            Self::Authenticated => f.write_str("authenticated"),
            Self::Anyone => f.write_str("anyone"),
        }
    }
}

/// Everyone who may hand in messages for a connector; one fitting rule is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitters(pub Vec<SubmitterRule>);

impl Default for Submitters {
    /// Clients on this machine and authenticated users: no anonymous relay.
    fn default() -> Self {
        Self(vec![SubmitterRule::Loopback, SubmitterRule::Authenticated])
    }
}

impl Submitters {
    /// Whether this submitter is one of them.
    #[must_use]
    pub fn allows(&self, submitter: &Submitter<'_>) -> bool {
        self.0.iter().any(|rule| rule.allows(submitter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Submitter<'_> =
        Submitter { connector: "default", client: None, user: None, sender: "jo@corp.example" };

    fn allows(rules: &[&str], submitter: &Submitter<'_>) -> bool {
        Submitters(rules.iter().map(|rule| rule.parse().unwrap()).collect()).allows(submitter)
    }

    fn from(ip: &str) -> Submitter<'static> {
        Submitter { client: Some(ip.parse().unwrap()), ..STRANGER }
    }

    #[test]
    fn the_default_is_this_machine_and_known_users() {
        let default = Submitters::default();
        assert!(default.allows(&from("127.0.0.1")));
        assert!(default.allows(&from("::1")));
        assert!(default.allows(&from("::ffff:127.0.0.1")));
        assert!(default.allows(&Submitter { user: Some("jo"), ..from("192.0.2.1") }));
        assert!(!default.allows(&from("192.0.2.1")));
        assert!(!default.allows(&STRANGER));
    }

    #[test]
    fn each_rule_is_about_one_thing() {
        assert!(allows(&["network:10.0.0.0/8"], &from("10.1.2.3")));
        assert!(allows(&["network:10.0.0.0/8"], &from("::ffff:10.1.2.3")));
        assert!(!allows(&["network:10.0.0.0/8"], &from("11.1.2.3")));
        assert!(allows(&["receive:default"], &STRANGER));
        assert!(!allows(&["receive:other"], &STRANGER));
        assert!(allows(&["sender:*@Corp.example"], &STRANGER));
        assert!(!allows(&["sender:*"], &Submitter { sender: "", ..STRANGER }));
        assert!(allows(&["user:jo"], &Submitter { user: Some("jo"), ..STRANGER }));
        assert!(!allows(&["user:jo"], &Submitter { user: Some("Jo"), ..STRANGER }));
        assert!(allows(&["anyone"], &STRANGER));
        assert!(!allows(&[], &from("127.0.0.1")));
    }

    #[test]
    fn rules_are_shown_as_they_are_read_and_others_refused() {
        for text in
            ["receive:a", "network:10.0.0.0/8", "sender:*@a", "user:b", "loopback", "authenticated", "anyone"]
        {
            assert_eq!(text.parse::<SubmitterRule>().unwrap().to_string(), text);
        }
        for text in ["", "all", "receive:", "network:x", "user", "Loopback"] {
            assert!(text.parse::<SubmitterRule>().is_err(), "{text}");
        }
    }
}
